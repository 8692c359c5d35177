//! Rows as messages of a topic: JSON, Debezium's changes, Avro and Protobuf, each without a registry.

use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::time::Duration;

use arrow::array::{Array, AsArray};
use arrow::datatypes::{DataType, Float64Type, Int64Type, Schema, TimestampMicrosecondType};
use arrow::record_batch::RecordBatch;
use arrow_avro::writer::WriterBuilder;
use arrow_avro::writer::format::AvroBinaryFormat;
use clap::ValueEnum;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};

use super::Input;
use super::records::Table;
use crate::failure::{During, Failure, Result};
use crate::servers::kafka::Kafka;

/// How long the last messages may take to be confirmed.
const FLUSH_TIME: Duration = Duration::from_secs(120);
/// How long a full queue is waited for before it is tried again.
const QUEUE_TIME: Duration = Duration::from_millis(5);
/// Good messages for each bad one.
const BAD_EVERY: u32 = 1_000;
/// Protobuf's types of what follows a field's number.
const VARINT: u8 = 0;
const FIXED_64: u8 = 1;
const SIZED: u8 = 2;

/// How a row is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    /// An object per line or message
    Json,
    /// Fields in the order of the columns
    Csv,
    /// Container files, or the bytes alone as a message
    Avro,
    /// A message type with a field per column
    Protobuf,
    /// An insertion as Debezium tells it
    Debezium,
}

impl Format {
    /// The name, which its files end with.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Json => "json",
            Self::Csv => "csv",
            Self::Avro => "avro",
            Self::Protobuf => "protobuf",
            Self::Debezium => "debezium",
        }
    }
}

/// What a topic has.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Load {
    /// What the rows are.
    pub(crate) table: Table,
    /// How they are written.
    pub(crate) format: Format,
    /// Whether a message that is cut off stands among every thousand: more than there are rows.
    pub(crate) has_bad: bool,
}

/// A topic that is full.
#[derive(Debug)]
pub(crate) struct Topic {
    /// Its name.
    pub(crate) name: String,
    /// Bytes of its messages.
    pub(crate) bytes: u64,
}

/// Writes the rows of a table into a new topic.
pub(crate) fn fill(broker: &Kafka, partitions: u32, input: &Input, load: Load) -> Result<Topic> {
    let Load { table, format, .. } = load;
    let name = broker.topic(&format!("{}-{}", table.name(), format.name()), partitions)?;
    let mut config = broker.client();
    config.set("linger.ms", "20");
    config.set("queue.buffering.max.messages", "200000");
    let producer: BaseProducer = config.create().during("making a producer")?;
    let (mut bytes, mut sent) = (0, 0_u32);
    let mut send = |message: &[u8]| {
        bytes += message.len() as u64;
        sent = sent.wrapping_add(1);
        let partition = (sent % partitions) as i32;
        let put = |message: &[u8]| {
            let record = || BaseRecord::<[u8], [u8]>::to(&name).partition(partition);
            while producer.send(record().payload(message)).is_err() {
                producer.poll(QUEUE_TIME);
            }
        };
        put(message);
        if load.has_bad && sent % BAD_EVERY == 0 {
            let (half, _) = message.split_at(message.len() / 2);
            bytes += half.len() as u64;
            put(half);
        }
    };
    match format {
        Format::Json | Format::Csv | Format::Debezium => {
            for file in input.files(table.name(), format.name()) {
                each_line(&file, &mut send)?;
            }
        }
        Format::Avro | Format::Protobuf => {
            for file in input.files(table.name(), "parquet") {
                each_row(&file, format, &mut send)?;
            }
        }
    }
    producer.flush(FLUSH_TIME).during("filling a topic")?;
    Ok(Topic { name, bytes })
}

fn each_line(file: &Path, send: &mut impl FnMut(&[u8])) -> Result<()> {
    let reading = || format!("reading {}", file.display());
    let mut file = BufReader::new(File::open(file).during(reading())?);
    let mut line = Vec::new();
    while file.read_until(b'\n', &mut line).during(reading())? > 0 {
        send(line.trim_ascii_end());
        line.clear();
    }
    Ok(())
}

fn each_row(file: &PathBuf, format: Format, send: &mut impl FnMut(&[u8])) -> Result<()> {
    let reading = || format!("reading {}", file.display());
    let open = File::open(file).during(reading())?;
    let builder = ParquetRecordBatchReaderBuilder::try_new(open).during(reading())?;
    let schema = Schema::new(builder.schema().fields().clone());
    let mut avro = WriterBuilder::new(schema)
        .build_encoder::<AvroBinaryFormat>()
        .during("making an Avro encoder")?;
    for batch in builder.build().during(reading())? {
        let batch = batch.during(reading())?;
        if format == Format::Avro {
            avro.encode(&batch).during("writing Avro")?;
            for message in avro.flush().iter() {
                send(&message);
            }
        } else {
            let mut message = Vec::new();
            for row in 0..batch.num_rows() {
                message.clear();
                write_protobuf(&mut message, &batch, row)?;
                send(&message);
            }
        }
    }
    Ok(())
}

/// Writes a row as a message whose fields are numbered as the columns are, from one.
fn write_protobuf(message: &mut Vec<u8>, batch: &RecordBatch, row: usize) -> Result<()> {
    for (number, column) in (1_u8..).zip(batch.columns()) {
        let mut tag = |kind: u8| message.push(number << 3 | kind);
        match column.data_type() {
            DataType::Int64 => {
                tag(VARINT);
                varint(
                    message,
                    column.as_primitive::<Int64Type>().value(row) as u64,
                );
            }
            DataType::Float64 => {
                tag(FIXED_64);
                let value = column.as_primitive::<Float64Type>().value(row);
                message.extend(value.to_le_bytes());
            }
            DataType::Utf8 => {
                tag(SIZED);
                let text = column.as_string::<i32>().value(row);
                varint(message, text.len() as u64);
                message.extend(text.as_bytes());
            }
            DataType::Timestamp(..) => {
                tag(SIZED);
                let micros = column.as_primitive::<TimestampMicrosecondType>().value(row);
                let mut time = vec![1 << 3 | VARINT];
                varint(&mut time, micros.div_euclid(1_000_000) as u64);
                time.push(2 << 3 | VARINT);
                varint(&mut time, micros.rem_euclid(1_000_000) as u64 * 1_000);
                varint(message, time.len() as u64);
                message.extend(time);
            }
            other => return Err(Failure::new(format!("no Protobuf is written for {other}"))),
        }
    }
    Ok(())
}

fn varint(message: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        message.push(value as u8 | 0x80);
        value >>= 7;
    }
    message.push(value as u8);
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{ArrayRef, Int64Array, StringArray, TimestampMicrosecondArray};

    use super::*;

    #[test]
    fn protobuf_is_as_its_specification_says() {
        let columns: [(&str, ArrayRef); 3] = [
            ("a", Arc::new(Int64Array::from(vec![300]))),
            ("b", Arc::new(StringArray::from(vec!["hi"]))),
            (
                "c",
                Arc::new(TimestampMicrosecondArray::from(vec![2_000_001])),
            ),
        ];
        let batch = RecordBatch::try_from_iter(columns).unwrap();
        let mut message = Vec::new();
        write_protobuf(&mut message, &batch, 0).unwrap();
        let expected = [8, 0xac, 2, 18, 2, b'h', b'i', 26, 5, 8, 2, 16, 0xe8, 7];
        assert_eq!(message, expected);
    }
}
