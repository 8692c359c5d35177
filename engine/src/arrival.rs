//! How the rows of a source come: whether they are late or out of order, and where the watermark and the clock are.
//!
//! It is told of each row by what its file or partition has given before it. So it depends neither on how rows are put
//! into batches nor on who reads which file: rows in one order are told the same in batch and in streaming. A source
//! that is read as a stream has a watermark of its own besides, which may be further: by it rows are late of a file that
//! is found later, or of a partition that was idle.

use std::sync::Arc;

use arrow::array::{
    ArrayRef, BooleanArray, RecordBatch, TimestampMicrosecondArray, new_null_array,
};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Field, FieldRef, Schema, SchemaRef, TimeUnit};
use datafusion_physical_expr::PhysicalExpr;

use crate::error::Result;
use crate::message::EventTime;
use crate::window::times::micros;

/// One thing that is told of how a row comes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Coming {
    /// Whether it is behind the watermark.
    Late,
    /// Whether it is behind the greatest time of its file or partition.
    Disordered,
    /// The watermark with it.
    Watermark,
    /// The clock.
    Clock,
    /// Its time, that of the watermark if it is late: the window that is open when it comes.
    Time,
}

impl Coming {
    /// All of them, with names that no column of a script has by chance.
    pub const ALL: [(Self, &str); 5] = [
        (Self::Late, "_arrival.late"),
        (Self::Disordered, "_arrival.disordered"),
        (Self::Watermark, "_arrival.watermark"),
        (Self::Clock, "_arrival.clock"),
        (Self::Time, "_arrival.time"),
    ];

    /// The column that tells it, of rows whose event time has a type.
    pub fn field(self, name: &str, time: &DataType) -> FieldRef {
        let data_type = match (self, time) {
            (Self::Late | Self::Disordered, _) => DataType::Boolean,
            (Self::Time, DataType::Timestamp(..)) => time.clone(),
            _ => DataType::Timestamp(TimeUnit::Microsecond, None),
        };
        Arc::new(Field::new(name, data_type, true))
    }
}

/// What is told of the rows of a scan, in columns behind its own.
#[derive(Debug, Clone)]
pub struct Arrivals {
    /// The event time, over the read columns.
    pub time: Arc<dyn PhysicalExpr>,
    /// What is told.
    pub columns: Vec<(Coming, FieldRef)>,
}

/// What is known before some rows of a file or partition.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Before {
    /// The watermark that its rows have given so far.
    pub(crate) passed: EventTime,
    /// The watermark of the source.
    pub(crate) source: EventTime,
    /// The least watermark of all other files and partitions.
    pub(crate) others: EventTime,
    /// The clock, in microseconds since 1970.
    pub(crate) now: i64,
}

impl Arrivals {
    /// Tells of rows by their event time.
    pub fn new(time: Arc<dyn PhysicalExpr>, columns: Vec<(Coming, FieldRef)>) -> Self {
        Self { time, columns }
    }

    /// Puts the columns behind rows. `read` are the same rows as they were read, of which `watermark` gives the
    /// watermark after each. Gives the watermark of the file or partition after the last of them too.
    pub(crate) fn tell(
        &self,
        rows: &RecordBatch,
        read: &RecordBatch,
        watermark: &Arc<dyn PhysicalExpr>,
        before: Before,
    ) -> Result<(RecordBatch, EventTime)> {
        let count = rows.num_rows();
        let times = |expr: &Arc<dyn PhysicalExpr>| micros(&expr.evaluate(read)?.into_array(count)?);
        let (times, watermarks) = (times(&self.time)?, times(watermark)?);
        let mut passed = before.passed;
        let (mut late, mut disordered) = (Vec::new(), Vec::new());
        let (mut counted, mut reached) = (Vec::new(), Vec::new());
        for (time, watermark) in times.iter().zip(&watermarks) {
            let behind = passed.max(before.source).0;
            late.push(time.map(|time| time < behind));
            disordered.push(watermark.map(|watermark| watermark < passed.0));
            counted.push(time.map(|time| time.max(behind)));
            passed = passed.max(watermark.map_or(EventTime::MIN, EventTime));
            let all = before.source.max(passed.min(before.others));
            reached.push((all > EventTime::MIN).then_some(all.0));
        }
        let moments = |moments: Vec<Option<i64>>| -> ArrayRef {
            Arc::new(TimestampMicrosecondArray::from(moments))
        };
        let mut columns = rows.columns().to_vec();
        for (arrival, field) in &self.columns {
            let told = match arrival {
                Coming::Late => Arc::new(BooleanArray::from(late.clone())),
                Coming::Disordered => Arc::new(BooleanArray::from(disordered.clone())),
                Coming::Watermark => moments(reached.clone()),
                Coming::Clock => moments(vec![Some(before.now); count]),
                Coming::Time => cast(&moments(counted.clone()), field.data_type())?,
            };
            columns.push(told);
        }
        let rows = RecordBatch::try_new(self.behind(&rows.schema()), columns)?;
        Ok((rows, passed))
    }

    /// Rows of which nothing is known.
    pub(crate) fn unknown(&self, rows: &RecordBatch) -> Result<RecordBatch> {
        let told = self.columns.iter();
        let told = told.map(|(_, field)| new_null_array(field.data_type(), rows.num_rows()));
        let columns = rows.columns().iter().map(Arc::clone).chain(told).collect();
        Ok(RecordBatch::try_new(self.behind(&rows.schema()), columns)?)
    }

    /// The columns of rows, and these.
    pub(crate) fn behind(&self, schema: &Schema) -> SchemaRef {
        let told = self.columns.iter().map(|(_, field)| Arc::clone(field));
        let fields = schema.fields().iter().map(Arc::clone).chain(told);
        Arc::new(Schema::new(fields.collect::<Vec<_>>()))
    }
}

#[cfg(test)]
mod tests {
    use arrow::array::{AsArray, Int64Array};
    use arrow::datatypes::TimestampMicrosecondType;
    use datafusion_physical_expr::expressions::{Column, binary, lit};

    use super::*;

    const BOUND: i64 = 10;

    fn read(times: &[Option<i64>]) -> RecordBatch {
        let times: ArrayRef = Arc::new(TimestampMicrosecondArray::from(times.to_vec()));
        RecordBatch::try_from_iter_with_nullable([("ts", times, true)]).unwrap()
    }

    fn arrivals() -> (Arrivals, Arc<dyn PhysicalExpr>) {
        let time: Arc<dyn PhysicalExpr> = Arc::new(Column::new("ts", 0));
        let micros = DataType::Timestamp(TimeUnit::Microsecond, None);
        let columns = Coming::ALL.map(|(told, name)| (told, told.field(name, &micros)));
        let schema = read(&[]).schema();
        let bound = lit(datafusion_common::ScalarValue::DurationMicrosecond(Some(
            BOUND,
        )));
        let infix = datafusion_expr::Operator::Minus;
        let watermark = binary(Arc::clone(&time), infix, bound, &schema).unwrap();
        let columns = columns.to_vec();
        (Arrivals { time, columns }, watermark)
    }

    fn start() -> Before {
        Before {
            passed: EventTime::MIN,
            source: EventTime::MIN,
            others: EventTime::MAX,
            now: 77,
        }
    }

    /// Rows of one file, told in batches of some rows; each as late, out of order, watermark and time.
    fn told(times: &[Option<i64>], rows: usize, mut before: Before) -> Vec<String> {
        let (arrivals, watermark) = arrivals();
        let mut all = Vec::new();
        for part in times.chunks(rows) {
            let read = read(part);
            let (told, passed) = arrivals.tell(&read, &read, &watermark, before).unwrap();
            before.passed = passed;
            for row in 0..told.num_rows() {
                let moment = |at: usize| {
                    let column = told.column(at).as_primitive::<TimestampMicrosecondType>();
                    column.iter().nth(row).flatten()
                };
                let truth = |at: usize| told.column(at).as_boolean().iter().nth(row).flatten();
                assert_eq!(moment(4), Some(77));
                let line = (truth(1), truth(2), moment(3), moment(5));
                all.push(format!("{line:?}"));
            }
        }
        all
    }

    #[test]
    fn a_row_is_told_by_those_before_it_however_they_come() {
        let times = [100, 105, 96, 94, 0, 200, 190, 189].map(Some);
        let mut times = times.to_vec();
        times.insert(4, None);
        let expected = [
            "(Some(false), Some(false), Some(90), Some(100))",
            "(Some(false), Some(false), Some(95), Some(105))",
            "(Some(false), Some(true), Some(95), Some(96))",
            "(Some(true), Some(true), Some(95), Some(95))",
            "(None, None, Some(95), None)",
            "(Some(true), Some(true), Some(95), Some(95))",
            "(Some(false), Some(false), Some(190), Some(200))",
            "(Some(false), Some(true), Some(190), Some(190))",
            "(Some(true), Some(true), Some(190), Some(190))",
        ];
        for rows in 1..=times.len() {
            assert_eq!(told(&times, rows, start()), expected, "{rows} rows each");
        }
    }

    #[test]
    fn the_source_may_be_further_and_others_hold_it_back() {
        let before = Before {
            source: EventTime(150),
            others: EventTime(170),
            ..start()
        };
        let expected = [
            "(Some(true), Some(false), Some(150), Some(150))",
            "(Some(false), Some(false), Some(170), Some(200))",
        ];
        assert_eq!(told(&[Some(149), Some(200)], 2, before), expected);
    }

    #[test]
    fn nothing_is_told_of_no_row_and_of_rows_that_come_back() {
        assert_eq!(told(&[], 1, start()), Vec::<String>::new());
        let (arrivals, _) = arrivals();
        let numbers: ArrayRef = Arc::new(Int64Array::from(vec![1, 2]));
        let rows = RecordBatch::try_from_iter([("n", numbers)]).unwrap();
        let unknown = arrivals.unknown(&rows).unwrap();
        assert_eq!(unknown.num_columns(), 6);
        assert_eq!(unknown.column(1).null_count(), 2);
    }
}
