//! How fast messages are decoded, beside arrow-json over the same bytes from memory; one thread.
//!
//! `cargo run --release -p weir-connectors --example format_speed [messages]` prints MB/s of JSON
//! for both and their ratio, for narrow and for wide messages and for some with a list, which only
//! arrow's decoder reads; then of CSV, and of Debezium's events without and with their schema part.
//! Each also with one bad message in a thousand: bytes that are cut off, or a value that does not
//! fit.

#![expect(clippy::print_stdout, reason = "the figures are the program's result")]
#![expect(clippy::disallowed_methods, reason = "a benchmark measures real time")]
#![expect(
    clippy::unwrap_used,
    reason = "a benchmark may stop at the first surprise"
)]

use std::collections::BTreeMap;
use std::hint::black_box;
use std::sync::Arc;
use std::time::Instant;

use arrow::datatypes::{DataType, Field, Schema, SchemaRef, TimeUnit};
use arrow_json::ReaderBuilder;
use weir_connectors::format::{
    DecoderFactory, FormatOptions, Record, SOURCE_OPTIONS, decoder_factory,
};
use weir_engine::env::{Env, SystemClock, TokioSpawner};
use weir_engine::options::{OptionValue, Options};

const BATCH_ROWS: usize = 8_192;
const ROUNDS: usize = 7;

fn columns(wide: bool) -> SchemaRef {
    let mut fields = vec![
        Field::new("auction", DataType::Int64, true),
        Field::new("bidder", DataType::Int64, true),
        Field::new("price", DataType::Int64, true),
        Field::new("channel", DataType::Utf8, true),
        Field::new("at", DataType::Timestamp(TimeUnit::Microsecond, None), true),
    ];
    if wide {
        let more = (0..15).map(|n| Field::new(format!("text_{n}"), DataType::Utf8, true));
        fields.extend(more);
    }
    Arc::new(Schema::new(fields))
}

fn row(n: usize, wide: bool) -> String {
    let more: String = if wide {
        let texts = (0..15).map(|c| format!(",\"text_{c}\":\"some words of column {c} in {n}\""));
        texts.collect()
    } else {
        String::new()
    };
    format!(
        "{{\"auction\":{n},\"bidder\":{},\"price\":{},\"channel\":\"channel-{}\",\"at\":\"2024-01-02T03:04:{:02}.678\"{more}}}",
        n * 7 % 1_000,
        n * 13 % 10_007,
        n % 40,
        n % 60
    )
}

async fn factory(format: &str, columns: &SchemaRef) -> Arc<dyn DecoderFactory> {
    let value = OptionValue {
        text: format.to_owned(),
        place: None,
    };
    let given = BTreeMap::from([("format".to_owned(), value)]);
    let options = Options::check("connector 'kafka'", &[SOURCE_OPTIONS], given).unwrap();
    let handle = tokio::runtime::Handle::current();
    let spawner = TokioSpawner::new(handle.clone(), handle);
    let env = Env::new(Arc::new(SystemClock::default()), Arc::new(spawner), 1);
    let options = FormatOptions::new(&options, "bids").unwrap();
    decoder_factory(&options, Some(columns), &env)
        .await
        .unwrap()
}

/// The best time of some rounds, in seconds, so that a busy machine disturbs less.
fn best(mut round: impl FnMut()) -> f64 {
    let times = (0..ROUNDS).map(|_| {
        let start = Instant::now();
        round();
        start.elapsed().as_secs_f64()
    });
    times.fold(f64::INFINITY, f64::min)
}

fn weir(factory: &dyn DecoderFactory, messages: &[String]) -> f64 {
    let all: Vec<usize> = (0..factory.schema().fields().len()).collect();
    let mut decoder = factory.create(&all).unwrap();
    best(|| {
        for batch in messages.chunks(BATCH_ROWS) {
            for (index, message) in (0_u32..).zip(batch) {
                let record = Record {
                    key: None,
                    value: Some(message.as_bytes()),
                };
                decoder.push(record, index).unwrap();
            }
            black_box(decoder.flush().unwrap());
        }
    })
}

fn arrow(columns: &SchemaRef, messages: &[String]) -> f64 {
    let text = messages.join("\n");
    let mut decoder = ReaderBuilder::new(Arc::clone(columns))
        .with_batch_size(BATCH_ROWS)
        .with_coerce_primitive(true)
        .build_decoder()
        .unwrap();
    best(|| {
        let mut rest = text.as_bytes();
        while !rest.is_empty() {
            let used = decoder.decode(rest).unwrap();
            rest = &rest[used..];
            black_box(decoder.flush().unwrap());
        }
    })
}

fn tell(what: &str, messages: &[String], seconds: f64) {
    let bytes: usize = messages.iter().map(String::len).sum();
    let (mb, million) = (
        bytes as f64 / 1e6 / seconds,
        messages.len() as f64 / 1e6 / seconds,
    );
    println!("{what:<34} {mb:>8.1} MB/s {million:>8.3} M messages/s");
}

/// A message whose end is lost.
fn cut_off(text: &str) -> String {
    text.chars().take(text.len() / 2).collect()
}

/// A message whose first value has another type.
fn misfit(text: &str) -> String {
    match text.strip_prefix('{') {
        Some(_) => text.replacen(':', ":\"x\",\"y\":", 1),
        None => format!("x{text}"),
    }
}

/// The same with one bad message in a thousand.
fn tell_bad(what: &str, factory: &dyn DecoderFactory, messages: &[String]) {
    let tell_kind = |kind: &str, spoil: fn(&str) -> String| {
        let mut bad = messages.to_vec();
        for message in bad.iter_mut().step_by(1_000) {
            *message = spoil(message);
        }
        let name = format!("{what}, 0.1 % {kind}");
        tell(&name, &bad, weir(factory, &bad));
    };
    tell_kind("cut off", cut_off);
    tell_kind("misfit", misfit);
}

fn with_list() -> SchemaRef {
    let mut fields = columns(false).fields().to_vec();
    let list = DataType::new_list(DataType::Int64, true);
    fields.push(Arc::new(Field::new("list", list, true)));
    Arc::new(Schema::new(fields))
}

fn row_with_list(n: usize) -> String {
    let row = row(n, false);
    let open = row.trim_end_matches('}');
    format!("{open},\"list\":[{n},{}]}}", n * 3)
}

fn main() {
    let count = std::env::args().nth(1).and_then(|text| text.parse().ok());
    let count: usize = count.unwrap_or(200_000);
    let runtime = tokio::runtime::Builder::new_current_thread()
        .build()
        .unwrap();
    for wide in [false, true] {
        let columns = columns(wide);
        let json = runtime.block_on(factory("json", &columns));
        let messages: Vec<String> = (0..count).map(|n| row(n, wide)).collect();
        let name = if wide { "wide" } else { "narrow" };
        let (theirs, ours) = (arrow(&columns, &messages), weir(&*json, &messages));
        tell(&format!("{name}: arrow-json"), &messages, theirs);
        tell(&format!("{name}: json"), &messages, ours);
        println!("{name}: ratio {:.2}", theirs / ours);
        tell_bad(&format!("{name}: json"), &*json, &messages);
    }
    let listed = with_list();
    let json = runtime.block_on(factory("json", &listed));
    let messages: Vec<String> = (0..count).map(row_with_list).collect();
    let (theirs, ours) = (arrow(&listed, &messages), weir(&*json, &messages));
    tell("list: arrow-json", &messages, theirs);
    tell("list: json", &messages, ours);
    println!("list: ratio {:.2}", theirs / ours);
    tell_bad("list: json", &*json, &messages);
    let csv = runtime.block_on(factory("csv", &columns(false)));
    let messages: Vec<String> = (0..count)
        .map(|n| {
            format!(
                "{n},{},{},channel-{},2024-01-02T03:04:05",
                n * 7,
                n * 13,
                n % 40
            )
        })
        .collect();
    tell("csv", &messages, weir(&*csv, &messages));
    tell_bad("csv", &*csv, &messages);
    let columns = columns(false);
    let debezium = runtime.block_on(factory("debezium-json", &columns));
    let plain: Vec<String> = (0..count)
        .map(|n| {
            format!(
                "{{\"before\":null,\"after\":{},\"op\":\"c\"}}",
                row(n, false)
            )
        })
        .collect();
    tell("debezium-json", &plain, weir(&*debezium, &plain));
    tell_bad("debezium-json", &*debezium, &plain);
    let names = ["auction", "bidder", "price", "channel", "at"];
    let fields = names.map(|name| format!("{{\"field\":\"{name}\",\"type\":\"string\"}}"));
    let schema = format!(
        "{{\"fields\":[{{\"field\":\"after\",\"fields\":[{}]}}]}}",
        fields.join(",")
    );
    let wrapped: Vec<String> = plain
        .iter()
        .map(|event| format!("{{\"schema\":{schema},\"payload\":{event}}}"))
        .collect();
    tell(
        "debezium-json with schema",
        &wrapped,
        weir(&*debezium, &wrapped),
    );
}
