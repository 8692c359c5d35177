//! Messages of all formats, good and bad, through the interface that connectors use.
//!
//! Random tests print their seed; `SEED=n` replays one.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::{DataType, Field, Schema, SchemaRef, TimeUnit};
use arrow::util::pretty::pretty_format_batches;
use weir_engine::env::{Env, SystemClock, TokioSpawner};
use weir_engine::options::{OptionValue, Options};
use weir_engine::{Error, Result};

use super::*;

mod avro;
mod csv;
mod debezium;
mod encode;
mod hostile;
mod json;
mod parts;
mod protobuf;
mod raw;
mod registry;
mod server;

const MICROS: DataType = DataType::Timestamp(TimeUnit::Microsecond, None);

fn env() -> Env {
    let handle = tokio::runtime::Handle::current();
    let spawner = TokioSpawner::new(handle.clone(), handle);
    Env::new(Arc::new(SystemClock::default()), Arc::new(spawner), 1)
}

fn options(
    specs: &[weir_engine::options::OptionSpec],
    given: &[(&str, &str)],
) -> Result<FormatOptions> {
    let given: BTreeMap<String, OptionValue> = given
        .iter()
        .map(|(name, text)| {
            let value = OptionValue {
                text: (*text).to_owned(),
                place: None,
            };
            ((*name).to_owned(), value)
        })
        .collect();
    FormatOptions::new(
        &Options::check("connector 'kafka'", &[specs], given)?,
        "orders",
    )
}

fn schema(columns: &[(&str, DataType)]) -> SchemaRef {
    let fields = columns
        .iter()
        .map(|(name, t)| Field::new(*name, t.clone(), true));
    Arc::new(Schema::new(fields.collect::<Vec<_>>()))
}

/// A factory for options and, unless there are none, declared columns.
async fn factory(
    given: &[(&str, &str)],
    columns: &[(&str, DataType)],
) -> Result<Arc<dyn DecoderFactory>> {
    let declared = (!columns.is_empty()).then(|| schema(columns));
    decoder_factory(&options(SOURCE_OPTIONS, given)?, declared.as_ref(), &env()).await
}

/// A decoder of all columns.
async fn decoder(given: &[(&str, &str)], columns: &[(&str, DataType)]) -> Box<dyn Decoder> {
    let factory = factory(given, columns).await.unwrap();
    let all: Vec<usize> = (0..factory.schema().fields().len()).collect();
    factory.create(&all).unwrap()
}

/// Pushes messages, learning schemas as they are needed, and flushes.
async fn decode(decoder: &mut dyn Decoder, messages: &[Option<&[u8]>]) -> Decoded {
    for (index, value) in messages.iter().enumerate() {
        let record = Record {
            key: None,
            value: *value,
        };
        let index = u32::try_from(index).unwrap();
        if let Push::NeedsSchema(id) = decoder.push(record, index).unwrap() {
            decoder.learn(id).await.unwrap();
            assert_eq!(decoder.push(record, index).unwrap(), Push::Taken);
        }
    }
    let decoded = decoder.flush().unwrap();
    check_account(&decoded, messages.len());
    decoded
}

/// Every message is rows, rejected or skipped, and only one of them.
fn check_account(decoded: &Decoded, messages: usize) {
    assert_eq!(decoded.origin.len(), decoded.batch.num_rows());
    let mut spoken = decoded.origin.clone();
    spoken.dedup();
    assert!(spoken.is_sorted(), "{spoken:?}");
    let mut seen: Vec<u32> = decoded
        .rejected
        .iter()
        .map(|rejected| rejected.index)
        .collect();
    seen.extend(&spoken);
    seen.sort_unstable();
    let count = seen.len();
    seen.dedup();
    assert_eq!(seen.len(), count, "a message is rejected and a row");
    assert_eq!(count + usize::try_from(decoded.skipped).unwrap(), messages);
}

fn table(batch: &RecordBatch) -> String {
    pretty_format_batches(std::slice::from_ref(batch))
        .unwrap()
        .to_string()
}

/// The rows, and a line per rejected message.
fn show(decoded: &Decoded) -> String {
    let mut text = table(&decoded.batch);
    for rejected in &decoded.rejected {
        let raw = String::from_utf8_lossy(&rejected.raw).replace('\r', "\\r");
        text.push_str(&format!(
            "\n{}: {}: {} | {raw}",
            rejected.index, rejected.reason, rejected.detail
        ));
    }
    if decoded.skipped > 0 {
        text.push_str(&format!("\nskipped: {}", decoded.skipped));
    }
    text
}

/// The same, without the raw bytes of what is rejected.
fn show_without_raw(mut decoded: Decoded) -> String {
    for rejected in &mut decoded.rejected {
        rejected.raw.clear();
    }
    show(&decoded)
}

fn texts<'a>(messages: &[&'a str]) -> Vec<Option<&'a [u8]>> {
    messages.iter().map(|text| Some(text.as_bytes())).collect()
}

fn report(error: &Error) -> String {
    error.report(None)
}
