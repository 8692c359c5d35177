//! Rows for decoders: narrow ones of three numbers, and the bids of Nexmark, each in files of every
//! format, and in Parquet for the judge.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::Path;
use std::sync::Arc;

use ::nexmark::EventGenerator;
use ::nexmark::event::EventType;
use arrow::array::{ArrayRef, Float64Array, Int64Array, TimestampMicrosecondArray};
use arrow::csv::Writer as CsvWriter;
use arrow::datatypes::{DataType, Field, Schema, TimeUnit};
use arrow::json::LineDelimitedWriter;
use arrow::record_batch::RecordBatch;
use arrow_avro::writer::AvroWriter;
use clap::ValueEnum;
use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};

use super::nexmark::{self, Kind};
use super::{Input, cached, side_by_side, write};
use crate::failure::{During, Result};

/// Files of each format, so that readers share them out whatever the cores.
const FILES: u64 = 8;
/// 2026-01-01T00:00:00Z.
const START_MICROS: i64 = 1_767_225_600_000_000;

/// What the rows are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Table {
    /// A number, a time, a fraction: about 70 bytes as JSON
    Narrow,
    /// Bids of Nexmark: seven columns, three of them texts, about 260 bytes as JSON
    Bids,
}

impl Table {
    /// The name, and the start of its files' names.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Narrow => "narrow",
            Self::Bids => "bids",
        }
    }

    /// The columns.
    pub(crate) fn schema(self) -> Arc<Schema> {
        match self {
            Self::Narrow => Arc::new(Schema::new(vec![
                Field::new("key", DataType::Int64, false),
                Field::new(
                    "at",
                    DataType::Timestamp(TimeUnit::Microsecond, None),
                    false,
                ),
                Field::new("value", DataType::Float64, false),
            ])),
            Self::Bids => Kind::Bid.schema(),
        }
    }

    /// Names and SQL types, each as `form` puts them together.
    pub(crate) fn columns(self, form: fn(&str, &str) -> String) -> String {
        let schema = self.schema();
        let columns = schema.fields().iter().map(|field| {
            let sql = match field.data_type() {
                DataType::Int64 => "BIGINT",
                DataType::Float64 => "DOUBLE",
                DataType::Timestamp(..) => "TIMESTAMP",
                _ => "VARCHAR",
            };
            form(field.name(), sql)
        });
        columns.collect::<Vec<_>>().join(", ")
    }
}

/// Gives `rows` rows of both tables.
pub(crate) fn input(rows: u64) -> Result<Input> {
    cached(&format!("records-v1-{rows}"), |folder| {
        let mut files: Vec<Box<dyn FnOnce() -> Result<()> + Send>> = Vec::new();
        for index in 0..FILES {
            let count = rows.saturating_sub(index).div_ceil(FILES);
            let narrow = folder.to_owned();
            files.push(Box::new(move || {
                let mut random = SmallRng::seed_from_u64(index);
                fill(&narrow, Table::Narrow, index, count, |first, count| {
                    narrow_batch(&mut random, first, count)
                })
            }));
            let bids = folder.to_owned();
            files.push(Box::new(move || {
                let mut generator = EventGenerator::new(nexmark::config())
                    .with_type_filter(EventType::Bid)
                    .with_offset(index)
                    .with_step(FILES);
                fill(&bids, Table::Bids, index, count, |_, count| {
                    Kind::Bid.batch(&mut generator, count)
                })
            }));
        }
        side_by_side(files)
    })
}

fn narrow_batch(random: &mut SmallRng, first: u64, count: u64) -> Result<RecordBatch> {
    let numbers = first as i64..(first + count) as i64;
    let keys = Int64Array::from_iter_values(numbers.clone().map(|n| n * 7_919 % 1_000_003));
    // Thousandths of a second, which is what messages have.
    let times = numbers.map(|n| START_MICROS + n * 3_000);
    let times = TimestampMicrosecondArray::from_iter_values(times);
    let values = (0..count).map(|_| f64::from(random.random_range(0..10_000_000_u32)) / 1_000.0);
    let columns: Vec<ArrayRef> = vec![
        Arc::new(keys),
        Arc::new(times),
        Arc::new(Float64Array::from_iter_values(values)),
    ];
    RecordBatch::try_new(Table::Narrow.schema(), columns).during("making a batch")
}

/// Writes the same rows in every format, batch by batch.
fn fill(
    folder: &Path,
    table: Table,
    index: u64,
    rows: u64,
    mut batch: impl FnMut(u64, u64) -> Result<RecordBatch>,
) -> Result<()> {
    let create = |ending: &str| {
        let path = folder.join(format!("{}-{index}.{ending}", table.name()));
        let file = File::create(&path).during(format!("creating {}", path.display()))?;
        Ok(BufWriter::new(file))
    };
    let mut json = create("json")?;
    let mut debezium = create("debezium")?;
    let mut csv = CsvWriter::new(create("csv")?);
    let schema = table.schema();
    let mut avro = AvroWriter::new(create("avro")?, Schema::clone(&schema)).during("Avro")?;
    let parquet = folder.join(format!("{}-{index}.parquet", table.name()));
    write(&parquet, &schema, rows, |first, count| {
        let batch = batch(first, count)?;
        let mut lines = LineDelimitedWriter::new(Vec::new());
        lines.write(&batch).during("writing JSON")?;
        lines.finish().during("writing JSON")?;
        let lines = lines.into_inner();
        json.write_all(&lines).during("writing JSON")?;
        for line in lines.split_inclusive(|byte| *byte == b'\n') {
            write_change(&mut debezium, line.trim_ascii_end()).during("writing changes")?;
        }
        csv.write(&batch).during("writing CSV")?;
        avro.write(&batch).during("writing Avro")?;
        Ok(batch)
    })?;
    avro.finish().during("writing Avro")?;
    for mut file in [json, debezium, csv.into_inner(), avro.into_inner()] {
        file.flush().during("finishing a file")?;
    }
    Ok(())
}

/// One insertion as Debezium tells it, without its schema.
fn write_change(file: &mut impl Write, row: &[u8]) -> std::io::Result<()> {
    file.write_all(br#"{"before":null,"after":"#)?;
    file.write_all(row)?;
    file.write_all(
        br#","source":{"version":"3.2.0.Final","connector":"postgresql","name":"bench","ts_ms":1767225600000,"snapshot":"false","db":"nexmark","schema":"public","table":"bid","lsn":24023128},"op":"c","ts_ms":1767225600123}"#,
    )?;
    file.write_all(b"\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_change_is_json_with_the_row() {
        let mut line = Vec::new();
        write_change(&mut line, br#"{"key":1}"#).unwrap();
        let value: serde_json::Value = serde_json::from_slice(&line).unwrap();
        assert_eq!(value["after"]["key"], 1);
        assert_eq!(value["op"], "c");
    }

    #[test]
    fn every_format_has_all_rows() {
        let folder = tempfile::tempdir().unwrap();
        let mut random = SmallRng::seed_from_u64(1);
        fill(folder.path(), Table::Narrow, 0, 10, |first, count| {
            narrow_batch(&mut random, first, count)
        })
        .unwrap();
        let lines = |ending: &str| {
            let path = folder.path().join(format!("narrow-0.{ending}"));
            std::fs::read_to_string(path).unwrap().lines().count()
        };
        assert_eq!(
            [lines("json"), lines("debezium"), lines("csv")],
            [10, 10, 11]
        );
    }

    #[test]
    fn columns_have_sql_types() {
        let columns = Table::Narrow.columns(|name, sql| format!("{name} {sql}"));
        assert_eq!(columns, "key BIGINT, at TIMESTAMP, value DOUBLE");
    }
}
