//! Random rows whose event time stays in the watermark's bound, in random files.

use std::sync::Arc;

use arrow::array::{
    ArrayRef, BooleanArray, Decimal128Array, Float64Array, Int32Array, Int64Array, RecordBatch,
    StringArray, TimestampMicrosecondArray,
};
use arrow::datatypes::SchemaRef;
use rand::Rng as _;
use rand::rngs::StdRng;
use rand::seq::IndexedRandom as _;

use crate::program::Place;

/// 2026-01-01T00:00:00Z in microseconds.
const START: i64 = 1_767_225_600_000_000;
const SECOND: i64 = 1_000_000;

/// The rows of a case.
#[derive(Debug)]
pub(super) struct Input {
    /// `parquet`, `csv` or `json`.
    pub(super) format: &'static str,
    /// The rows of each file, in the order of their names.
    files: Vec<RecordBatch>,
    /// How far a row may be behind the latest before it, in seconds.
    delay: i64,
    /// The time that all rows span, in seconds.
    pub(super) span: i64,
}

impl Input {
    /// Draws rows. Each is a base time that never goes back, less at most the delay: so none is
    /// ever behind the watermark `ts - delay`.
    pub(super) fn random(random: &mut StdRng) -> Self {
        let rows = *[0, 1, 13, 100, 400, 1500, 1500, 4000]
            .choose(random)
            .unwrap();
        let delay = *[0, 1, 5, 60].choose(random).unwrap();
        let span = *[10, 120, 3_600, 86_400].choose(random).unwrap();
        let keys = *[1, 3, 40].choose(random).unwrap();
        let files = random.random_range(1..=4);
        let format = *["parquet", "csv", "json"].choose(random).unwrap();
        let mut base: Vec<i64> = (0..rows)
            .map(|_| random.random_range(0..span * SECOND))
            .collect();
        base.sort_unstable();
        if random.random_bool(0.2) {
            // Whole seconds, so that rows lie exactly on the edges of windows.
            base.iter_mut().for_each(|time| *time -= *time % SECOND);
        }
        let times: Vec<i64> = base
            .iter()
            .map(|time| START + time - random.random_range(0..=delay * SECOND))
            .collect();
        let mut cuts: Vec<usize> = (1..files).map(|_| random.random_range(0..=rows)).collect();
        cuts.extend([0, rows]);
        cuts.sort_unstable();
        let files = cuts
            .windows(2)
            .map(|cut| batch(random, cut[0], &times[cut[0]..cut[1]], keys))
            .collect();
        Self {
            format,
            files,
            delay,
            span,
        }
    }

    /// Counts the rows.
    pub(super) fn rows(&self) -> usize {
        self.files.iter().map(RecordBatch::num_rows).sum()
    }

    /// The rows, for the oracle.
    pub(super) fn batches(&self) -> Vec<RecordBatch> {
        self.files.clone()
    }

    /// Their schema.
    pub(super) fn schema(&self) -> SchemaRef {
        self.files[0].schema()
    }

    /// The source as a statement.
    pub(super) fn source(&self) -> String {
        format!(
            "CREATE SOURCE t (id BIGINT, k1 VARCHAR, k2 INT, v BIGINT, x DOUBLE, d DECIMAL(12,2), b BOOLEAN, \
             ts TIMESTAMP, WATERMARK FOR ts AS ts - INTERVAL '{} seconds') \
             WITH (connector = 'file', path = 'in/*.{}', format = '{}', on_error = 'fail');",
            self.delay, self.format, self.format
        )
    }

    /// Writes the files into `in/`.
    pub(super) fn write(&self, place: &Place) {
        for (number, batch) in self.files.iter().enumerate() {
            let mut bytes = Vec::new();
            match self.format {
                "parquet" => {
                    let mut writer =
                        parquet::arrow::ArrowWriter::try_new(&mut bytes, batch.schema(), None)
                            .unwrap();
                    writer.write(batch).unwrap();
                    writer.close().unwrap();
                }
                "csv" => arrow::csv::Writer::new(&mut bytes).write(batch).unwrap(),
                _ => {
                    let mut writer = arrow::json::LineDelimitedWriter::new(&mut bytes);
                    writer.write(batch).unwrap();
                    writer.finish().unwrap();
                }
            }
            place.write(&format!("in/{number}.{}", self.format), bytes);
        }
    }
}

fn batch(random: &mut StdRng, first: usize, times: &[i64], keys: usize) -> RecordBatch {
    let rows = times.len();
    let maybe = |random: &mut StdRng, share: f64| random.random_bool(share);
    let ids: Vec<i64> = (first..first + rows).map(|id| id as i64).collect();
    let words: Vec<Option<String>> = (0..rows)
        .map(|_| (!maybe(random, 0.1)).then(|| format!("key {}", random.random_range(0..keys))))
        .collect();
    let numbers: Vec<Option<i32>> = (0..rows)
        .map(|_| (!maybe(random, 0.1)).then(|| random.random_range(-2..keys as i32)))
        .collect();
    let values: Vec<Option<i64>> = (0..rows)
        .map(|_| (!maybe(random, 0.1)).then(|| random.random_range(-1_000..1_000)))
        .collect();
    // Halves, so that sums are exact in any order.
    let reals: Vec<Option<f64>> = (0..rows)
        .map(|_| (!maybe(random, 0.1)).then(|| f64::from(random.random_range(-500..500)) / 2.0))
        .collect();
    let money: Vec<Option<i128>> = (0..rows)
        .map(|_| (!maybe(random, 0.1)).then(|| random.random_range(-99_999..99_999)))
        .collect();
    let flags: Vec<Option<bool>> = (0..rows)
        .map(|_| (!maybe(random, 0.1)).then(|| random.random()))
        .collect();
    let money = Decimal128Array::from(money)
        .with_precision_and_scale(12, 2)
        .unwrap();
    let columns: [(&str, ArrayRef); 8] = [
        ("id", Arc::new(Int64Array::from(ids))),
        ("k1", Arc::new(StringArray::from(words))),
        ("k2", Arc::new(Int32Array::from(numbers))),
        ("v", Arc::new(Int64Array::from(values))),
        ("x", Arc::new(Float64Array::from(reals))),
        ("d", Arc::new(money)),
        ("b", Arc::new(BooleanArray::from(flags))),
        (
            "ts",
            Arc::new(TimestampMicrosecondArray::from(times.to_vec())),
        ),
    ];
    RecordBatch::try_from_iter_with_nullable(columns.map(|(name, array)| (name, array, true)))
        .unwrap()
}
