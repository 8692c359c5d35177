//! A window table function on its own: each row once per window that holds it.
//!
//! Where an aggregation by the window follows, the planner does not use this: the aggregation
//! assigns windows itself and counts each row once.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, Int64Array, PrimitiveArray, UInt32Array};
use arrow::compute::{filter_record_batch, take_arrays};
use arrow::datatypes::{DataType, Field, Int64Type, Schema, SchemaRef};
use arrow::record_batch::RecordBatch;

use super::emit::Firing;
use super::spec::WindowSpec;
use super::{late, times};
use crate::error::{Error, Kind, Result, codes};
use crate::job::TaskContext;
use crate::key_group::KeyGroups;
use crate::late::LateRows;
use crate::message::EventTime;
use crate::operator::{Consumes, Extent, Operator, OperatorFactory, Output, StateBatches};

/// Rows that one batch may become: what a batch gives is in memory at once.
const EXPANDED_ROWS_MAX: usize = 1 << 24;

/// Appends `window_start` and `window_end`, in the types of the last two fields of `out_schema`:
/// one row per row and window, windows of a row in order of their ends. Rows without a time, or
/// with one that is outside of all calendars, are dropped.
pub fn expand(
    batch: &RecordBatch,
    time_column: usize,
    spec: &WindowSpec,
    out_schema: &SchemaRef,
) -> Result<RecordBatch> {
    let fields = out_schema.fields();
    if fields.len() != batch.num_columns() + 2 || time_column >= batch.num_columns() {
        return Err(Error::internal(
            "a window table function's schema does not fit its input",
        ));
    }
    let times = times::micros(batch.column(time_column))?;
    let Expanded { rows, starts, ends } = windows(&times, spec)?;
    let mut columns = match rows {
        Some(rows) => take_arrays(batch.columns(), &rows, None)?,
        None => batch.columns().to_vec(),
    };
    let [.., start, end] = &fields[..] else {
        return Err(Error::internal(
            "a window table function's schema has no window columns",
        ));
    };
    columns.push(times::timestamps(starts, start.data_type())?);
    columns.push(times::timestamps(ends, end.data_type())?);
    Ok(RecordBatch::try_new(Arc::clone(out_schema), columns)?)
}

/// The windows of the rows of a batch; `rows` is `None` when each row has exactly one.
struct Expanded {
    rows: Option<UInt32Array>,
    starts: Vec<i64>,
    ends: Vec<i64>,
}

fn windows(times: &PrimitiveArray<Int64Type>, spec: &WindowSpec) -> Result<Expanded> {
    let per_row = usize::try_from(spec.windows_per_row()).unwrap_or(usize::MAX);
    let room = times.len().saturating_mul(per_row);
    if room > EXPANDED_ROWS_MAX.max(times.len()) {
        return Err(Error::new(
            Kind::Limit,
            codes::LIMIT,
            format!(
                "{spec} makes up to {room} rows of one batch of {}",
                times.len()
            ),
        )
        .detail(format!("at most {EXPANDED_ROWS_MAX} are held at once"))
        .hint(
            "group by the window in the same SELECT: then each row is counted once, not copied",
        ));
    }
    let (mut starts, mut ends) = (Vec::with_capacity(room), Vec::with_capacity(room));
    let mut rows = Vec::new();
    let whole = per_row == 1 && times.null_count() == 0;
    for (row, time) in (0_u32..).zip(times.values()) {
        if times.is_null(row as usize) || !WindowSpec::accepts(*time) {
            continue;
        }
        for window in spec.windows(*time) {
            starts.push(window.start);
            ends.push(window.end);
            if !whole {
                rows.push(row);
            }
        }
    }
    if whole && starts.len() < times.len() {
        rows = (0_u32..)
            .zip(times.values())
            .filter_map(|(row, time)| WindowSpec::accepts(*time).then_some(row))
            .collect();
    }
    let rows = (!whole || starts.len() < times.len()).then(|| UInt32Array::from(rows));
    Ok(Expanded { rows, starts, ends })
}

/// Makes the operators of a window table function. A row goes into the windows that the watermark
/// has not passed by more than is allowed; it is late when there is none. The watermark is all that
/// is kept.
#[derive(Debug)]
pub struct ExpandFactory {
    spec: WindowSpec,
    firing: Firing,
    time_column: usize,
    out_schema: SchemaRef,
    sources: Arc<str>,
}

impl ExpandFactory {
    /// `out_schema` is the input's, then `window_start` and `window_end` of any timestamp type.
    pub fn new(spec: WindowSpec, time_column: usize, out_schema: SchemaRef) -> Self {
        Self {
            spec,
            firing: Firing::default(),
            time_column,
            out_schema,
            sources: "".into(),
        }
    }

    /// Keeps windows for so many microseconds after their ends.
    #[must_use]
    pub fn with_lateness(mut self, micros: i64) -> Self {
        self.firing.allowed_lateness = micros;
        self
    }

    /// Names the source or sources that feed the node: late rows are kept under it.
    #[must_use]
    pub fn with_sources(self, sources: Arc<str>) -> Self {
        Self { sources, ..self }
    }
}

impl OperatorFactory for ExpandFactory {
    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.out_schema)
    }

    fn create(&self, context: &TaskContext) -> Result<Box<dyn Operator>> {
        Ok(Box::new(Expand {
            spec: self.spec,
            firing: self.firing,
            time_column: self.time_column,
            out_schema: Arc::clone(&self.out_schema),
            batch_rows: context.job.batch_rows.max(1),
            watermark: i64::MIN,
            late: LateRows::new(context, &self.sources),
        }))
    }

    fn describe(&self) -> String {
        let time = self.out_schema.fields().get(self.time_column);
        let time = time.map_or("?", |f| f.name());
        format!("Window {} on {time}{}", self.spec, self.firing)
    }

    fn fingerprint(&self) -> Option<String> {
        Some(format!("watermark of {}", self.spec))
    }

    fn consumes(&self) -> Consumes {
        Consumes::Folds
    }
}

#[derive(Debug)]
struct Expand {
    spec: WindowSpec,
    firing: Firing,
    time_column: usize,
    out_schema: SchemaRef,
    batch_rows: usize,
    watermark: i64,
    late: LateRows,
}

impl Operator for Expand {
    fn process(&mut self, _input: usize, batch: RecordBatch, out: &mut Output) -> Result<()> {
        let times = times::micros(batch.column(self.time_column))?;
        let open = |time: &i64| {
            WindowSpec::accepts(*time)
                && self.firing.gone(self.spec.last_end(*time)) > self.watermark
        };
        let live: Vec<bool> = times
            .iter()
            .map(|time| time.as_ref().is_some_and(open))
            .collect();
        self.late
            .keep(&batch, &live, EventTime(self.watermark), |row| {
                late::of_time(&times, row, &self.spec)
            })?;
        let batch = if live.contains(&false) {
            filter_record_batch(&batch, &live.into())?
        } else {
            batch
        };
        let mut rows = expand(&batch, self.time_column, &self.spec, &self.out_schema)?;
        if let Some(ends) = rows.columns().last() {
            // Of a row that is not late some windows may be over.
            let ends = times::micros(ends)?;
            let open = |end: &i64| self.firing.gone(*end) > self.watermark;
            if !ends.values().iter().all(open) {
                let open = ends.values().iter().map(|end| Some(open(end)));
                rows = filter_record_batch(&rows, &open.collect())?;
            }
        }
        for offset in (0..rows.num_rows()).step_by(self.batch_rows) {
            out.send(rows.slice(offset, self.batch_rows.min(rows.num_rows() - offset)));
        }
        Ok(())
    }

    fn watermark(&mut self, watermark: EventTime, _out: &mut Output) -> Result<()> {
        self.watermark = self.watermark.max(watermark.0);
        Ok(())
    }

    fn snapshot(&mut self, _extent: Extent, _out: &mut Output) -> Result<StateBatches> {
        let watermark: ArrayRef = Arc::new(Int64Array::from(vec![self.watermark]));
        let batch = RecordBatch::try_new(state_schema(), vec![watermark])?;
        Ok(Box::new(std::iter::once(Ok(batch))))
    }

    fn restore(
        &mut self,
        state: &mut dyn Iterator<Item = Result<RecordBatch>>,
        _groups: &KeyGroups,
    ) -> Result<()> {
        let mut last = i64::MIN;
        for batch in state {
            let batch = batch?;
            if batch.schema_ref() != &state_schema() {
                return Err(super::state::unreadable("it is not a watermark".to_owned()));
            }
            let watermarks = batch.column(0).as_primitive::<Int64Type>();
            last = watermarks.values().iter().copied().fold(last, i64::max);
        }
        // Of several subtasks the one furthest behind: the operators that follow decide again.
        self.watermark = match self.watermark {
            i64::MIN => last,
            other => other.min(last),
        };
        Ok(())
    }

    fn end(&mut self, _out: &mut Output) -> Result<()> {
        Ok(())
    }
}

fn state_schema() -> SchemaRef {
    let watermark = Field::new("watermark", DataType::Int64, false);
    let version = ("weir.window.expand".to_owned(), "1".to_owned());
    Arc::new(Schema::new_with_metadata(vec![watermark], [version].into()))
}
