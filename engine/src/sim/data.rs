//! The rows of the simulated sources, a pure function of their place, and the answers that the
//! pipelines must give, by plain loops.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, Int64Array, RecordBatch, TimestampMicrosecondArray};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Field, Int64Type, Schema, SchemaRef, TimeUnit};

/// Microseconds of event time from one row of a split to the next.
pub(super) const STEP: i64 = 100;
/// How far a row may be out of order.
pub(super) const JITTER: i64 = 250;
/// The length of windows.
pub(super) const WINDOW: i64 = 700;
/// How far apart the rows of a pair may be.
pub(super) const APART: i64 = 300;

/// A row as results are compared: every column as a number.
pub(super) type Line = Vec<Option<i64>>;
/// Rows with how often they are there.
pub(super) type Bag = BTreeMap<Line, i64>;

/// One row of a source.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Row {
    pub(super) split: i64,
    pub(super) seq: i64,
    pub(super) ts: i64,
    pub(super) key: Option<i64>,
    pub(super) value: i64,
}

/// How large the input is.
#[derive(Debug, Clone, Copy)]
pub(super) struct Size {
    pub(super) splits: i64,
    pub(super) batches: i64,
    pub(super) rows: i64,
}

impl Size {
    pub(super) fn rows_of_split(self) -> i64 {
        self.batches * self.rows
    }

    /// All rows of a source.
    pub(super) fn all(self, source: i64) -> Vec<Row> {
        let splits = 0..self.splits;
        let rows = splits.flat_map(|split| (0..self.rows_of_split()).map(move |seq| (split, seq)));
        rows.map(|(split, seq)| row(source, split, seq)).collect()
    }
}

fn mix(numbers: [i64; 3]) -> i64 {
    let mut hash = 0x9e37_79b9_7f4a_7c15_u64;
    for number in numbers {
        hash = (hash ^ number.cast_unsigned()).wrapping_mul(0xff51_afd7_ed55_8ccd);
        hash ^= hash >> 32;
    }
    i64::try_from(hash >> 2).unwrap()
}

/// The row at a place.
pub(super) fn row(source: i64, split: i64, seq: i64) -> Row {
    let hash = mix([source, split, seq]);
    let key = hash % 7;
    Row {
        split,
        seq,
        ts: seq * STEP + (hash >> 8) % JITTER,
        key: (key > 0).then_some(key),
        value: (hash >> 20) % 1_000,
    }
}

pub(super) fn schema() -> SchemaRef {
    let time = DataType::Timestamp(TimeUnit::Microsecond, None);
    Arc::new(Schema::new(vec![
        Field::new("split", DataType::Int64, false),
        Field::new("seq", DataType::Int64, false),
        Field::new("ts", time, false),
        Field::new("key", DataType::Int64, true),
        Field::new("value", DataType::Int64, false),
    ]))
}

pub(super) fn batch(rows: &[Row]) -> RecordBatch {
    let ints = |of: fn(&Row) -> i64| -> ArrayRef {
        Arc::new(Int64Array::from_iter_values(rows.iter().map(of)))
    };
    let ts = TimestampMicrosecondArray::from_iter_values(rows.iter().map(|row| row.ts));
    let key = Int64Array::from_iter(rows.iter().map(|row| row.key));
    let columns = vec![
        ints(|row| row.split),
        ints(|row| row.seq),
        Arc::new(ts),
        Arc::new(key),
        ints(|row| row.value),
    ];
    RecordBatch::try_new(schema(), columns).unwrap()
}

/// The rows of a batch as lines.
pub(super) fn lines(batch: &RecordBatch) -> Vec<Line> {
    let columns: Vec<ArrayRef> = batch
        .columns()
        .iter()
        .map(|column| cast(column, &DataType::Int64).unwrap())
        .collect();
    let cell = |column: &ArrayRef, at: usize| {
        let column = column.as_primitive::<Int64Type>();
        column.is_valid(at).then(|| column.value(at))
    };
    (0..batch.num_rows())
        .map(|at| columns.iter().map(|column| cell(column, at)).collect())
        .collect()
}

pub(super) fn bag(lines: impl IntoIterator<Item = Line>) -> Bag {
    let mut bag = Bag::new();
    for line in lines {
        *bag.entry(line).or_default() += 1;
    }
    bag
}

pub(super) fn line(row: &Row) -> Line {
    vec![
        Some(row.split),
        Some(row.seq),
        Some(row.ts),
        row.key,
        Some(row.value),
    ]
}

/// Whether the filter of the pipeline without state lets a row through.
pub(super) fn passes(row: &Row) -> bool {
    row.value % 2 == 1
}

/// The rows that pass the filter.
pub(super) fn filtered(size: Size) -> Bag {
    bag(size.all(0).iter().filter(|row| passes(row)).map(line))
}

/// Count and sum by window and key.
pub(super) fn windowed(size: Size) -> Bag {
    let mut groups = BTreeMap::<(i64, Option<i64>), (i64, i64)>::new();
    for row in size.all(0) {
        let start = row.ts.div_euclid(WINDOW) * WINDOW;
        let (count, sum) = groups.entry((start, row.key)).or_default();
        (*count, *sum) = (*count + 1, *sum + row.value);
    }
    let result = |((start, key), (count, sum)): ((i64, Option<i64>), (i64, i64))| {
        vec![
            Some(start),
            Some(start + WINDOW),
            key,
            Some(count),
            Some(sum),
        ]
    };
    bag(groups.into_iter().map(result))
}

/// Pairs of two sources.
pub(super) fn joined(size: Size) -> Bag {
    let rights = size.all(1);
    let mut pairs = Vec::new();
    for left in size.all(0) {
        for right in &rights {
            let near = (left.ts - right.ts).abs() <= APART;
            if near && left.key.is_some() && left.key == right.key {
                let mut pair = line(&left);
                pair.extend(line(right));
                pairs.push(pair);
            }
        }
    }
    bag(pairs)
}

/// Count and sum by key.
pub(super) fn grouped(size: Size) -> Bag {
    let mut groups = BTreeMap::<Option<i64>, (i64, i64)>::new();
    for row in size.all(0) {
        let (count, sum) = groups.entry(row.key).or_default();
        (*count, *sum) = (*count + 1, *sum + row.value);
    }
    let result = |(key, (count, sum))| vec![key, Some(count), Some(sum)];
    bag(groups.into_iter().map(result))
}

/// What is left of a changelog whose last column is the kind of each row; nothing may be taken
/// back that is not there at the end of it all.
pub(super) fn net(bag: &Bag) -> Bag {
    let mut net = Bag::new();
    for (line, times) in bag {
        let (kind, row) = line.split_last().unwrap();
        let sign = match kind {
            Some(0 | 2) => 1,
            _ => -1,
        };
        *net.entry(row.to_vec()).or_default() += sign * times;
    }
    net.retain(|_, times| *times != 0);
    net
}
