//! Random rows whose event time stays in the watermark's bound, in random files of a source.

use std::sync::Arc;

use arrow::array::{
    ArrayRef, BooleanArray, Decimal128Array, Float64Array, Int32Array, Int64Array, RecordBatch,
    StringArray, TimestampMicrosecondArray, UInt32Array,
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
    /// The source that gives them; its files are in a folder of that name.
    pub(super) name: &'static str,
    /// `parquet`, `csv` or `json`.
    pub(super) format: &'static str,
    /// The rows of each file, in the order of their names.
    files: Vec<RecordBatch>,
    /// How far a row may be behind the latest before it, in seconds.
    delay: i64,
    /// The delay that the source's watermark declares, in seconds.
    pub(super) declared_delay: i64,
    /// Whether the source has a watermark: one without is a table.
    pub(super) watermark: bool,
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
        let span = *[10, 120, 3_600, 86_400].choose(random).unwrap();
        Self::of("t", random, rows, span)
    }

    /// Draws so many rows for a source, within so many seconds.
    pub(super) fn of(name: &'static str, random: &mut StdRng, rows: usize, span: i64) -> Self {
        let delay = *[0, 1, 5, 60].choose(random).unwrap();
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
            name,
            format,
            files,
            delay,
            declared_delay: delay,
            watermark: true,
            span,
        }
    }

    /// Gives some rows a second time, in another file or the same: copies in all columns.
    pub(super) fn repeat_rows(&mut self, random: &mut StdRng) {
        for file in &mut self.files {
            let rows = file.num_rows();
            let repeated = (0..rows as u32).filter(|_| random.random_bool(0.1));
            // Each copy stands right behind its row, where it is as much in time.
            let mut indices: Vec<u32> = (0..rows as u32).chain(repeated).collect();
            indices.sort_unstable();
            *file = arrow::compute::take_record_batch(file, &UInt32Array::from(indices)).unwrap();
        }
    }

    /// How far a row may be behind the latest before it, in seconds.
    pub(super) fn delay(&self) -> i64 {
        self.delay
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
        let watermark = match self.watermark {
            true => format!(
                ", WATERMARK FOR ts AS ts - INTERVAL '{} seconds'",
                self.declared_delay
            ),
            false => String::new(),
        };
        let (name, format) = (self.name, self.format);
        format!(
            "CREATE SOURCE {name} (id BIGINT, k1 VARCHAR, k2 INT, v BIGINT, x DOUBLE, d DECIMAL(12,2), b BOOLEAN, \
             ts TIMESTAMP{watermark}) WITH (connector = 'file', path = '${{WEIR_TEST_DIR:-.}}/{name}/*.{format}', \
             format = '{format}', on_error = 'fail');\n"
        )
    }

    /// Writes the files into the source's folder.
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
            place.write(&format!("{}/{number}.{}", self.name, self.format), bytes);
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
