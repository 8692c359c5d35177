//! The events are the crate's own, whatever is projected, split or resumed.

use arrow::array::AsArray;
use arrow::datatypes::{DataType, Field, Int64Type};
use expect_test::expect;
use futures::executor::block_on;
use weir_engine::dead_letter::OnError;
use weir_engine::env::{BoxFuture, Env, Spawner, SystemClock, TaskHandle, Work};
use weir_engine::options::OptionValue;

use super::*;

#[derive(Debug)]
struct NoSpawner;

impl Spawner for NoSpawner {
    fn spawn(&self, _work: Work, _task: BoxFuture<()>) -> TaskHandle {
        panic!("nexmark starts no task")
    }

    fn blocking(&self, _call: Box<dyn FnOnce() + Send>) -> TaskHandle {
        panic!("nexmark makes no blocking call")
    }
}

fn make(options: &[(&str, &str)], columns: Option<&[(&str, DataType)]>) -> Result<NexmarkSource> {
    let value = |text: &str| OptionValue {
        text: text.to_owned(),
        place: None,
    };
    let fields = |columns: &[(&str, DataType)]| {
        columns
            .iter()
            .map(|(n, t)| Arc::new(Field::new(*n, t.clone(), true)))
            .collect()
    };
    NexmarkSource::new(&SourceRequest {
        name: "n".to_owned(),
        options: options
            .iter()
            .map(|(n, t)| ((*n).to_owned(), value(t)))
            .collect(),
        columns: columns.map(fields),
        metadata: Vec::new(),
        on_error: OnError::Fail,
        deviations: Default::default(),
        streaming: true,
        env: Env::new(Arc::new(SystemClock::default()), Arc::new(NoSpawner), 0),
    })
}

fn read(
    source: &NexmarkSource,
    split: &Split,
    projection: &[usize],
    batch: u64,
) -> Vec<RecordBatch> {
    let mut reader = source.reader(split, projection, batch).unwrap();
    let mut batches = Vec::new();
    while let Read::Rows { batch, .. } = block_on(reader.next()).unwrap() {
        batches.push(batch);
    }
    batches
}

/// All rows of all splits as text, in the order of their time.
fn rows(event: &str, splits: &str, batch: u64, projection: &[usize]) -> Vec<String> {
    let source = make(
        &[("event", event), ("events", "1000"), ("splits", splits)],
        None,
    )
    .unwrap();
    let mut lines = Vec::new();
    for split in block_on(source.discover()).unwrap() {
        for batch in read(&source, &split, projection, batch) {
            let mut text = Vec::new();
            let mut writer = arrow::csv::WriterBuilder::new()
                .with_header(false)
                .build(&mut text);
            writer.write(&batch).unwrap();
            drop(writer);
            lines.extend(String::from_utf8(text).unwrap().lines().map(str::to_owned));
        }
    }
    lines.sort();
    lines
}

#[test]
fn the_events_are_the_benchmarks() {
    expect![[r#"
        1000,1000,137428,Apple,2026-01-01T00:00:00.058
        1000,1000,231158,Apple,2026-01-01T00:00:00.025"#]]
    .assert_eq(&rows("bid", "1", 10, &[0, 1, 2, 3, 5])[..2].join("\n"));
    expect![[r#"
        1000,sbeimyckhspxpmpeeuqm,595843,691876,2026-01-01T00:00:00,2026-01-01T00:00:00.332,1000,12
        1001,tfwipvdbmdkaapimyqcp,1171819,93374315,2026-01-01T00:00:00,2026-01-01T00:00:00.103,1000,13"#]]
        .assert_eq(&rows("auction", "1", 10, &[0, 1, 3, 4, 5, 6, 7, 8])[..2].join("\n"));
    expect![[r#"
        1000,vicky noris,yplkvgz@qbxfg.com,7878 5821 1864 2539,cheyenne,az,2026-01-01T00:00:00
        1001,peter smith,kabfpld@fhfis.com,5179 0198 7232 1932,boise,wa,2026-01-01T00:00:00.005"#]]
    .assert_eq(&rows("person", "1", 10, &[0, 1, 2, 3, 4, 5, 6])[..2].join("\n"));
}

#[test]
fn the_kinds_share_the_events_as_the_benchmark_says() {
    let counts = |events| [Kind::Person, Kind::Auction, Kind::Bid].map(|kind| kind.among(events));
    assert_eq!(counts(50), [1, 3, 46]);
    assert_eq!(counts(52), [2, 4, 46]);
    for events in 0..200 {
        assert_eq!(counts(events).iter().sum::<u64>(), events);
        let all = EventGenerator::new(NexmarkConfig::default()).take(events as usize);
        let bids = all
            .filter(|event| event.event_type() == EventType::Bid)
            .count() as u64;
        assert_eq!(bids, Kind::Bid.among(events));
    }
}

#[test]
fn splits_and_batches_do_not_change_the_rows() {
    for (event, columns) in [("bid", 7), ("auction", 10), ("person", 8)] {
        let all: Vec<usize> = (0..columns).collect();
        let one = rows(event, "1", 8192, &all);
        assert_eq!(one, rows(event, "3", 7, &all));
        assert_eq!(one, rows(event, "8", 1, &all));
    }
}

#[test]
fn leaving_out_extra_leaves_the_others_as_they_are() {
    let with: Vec<String> = rows("bid", "1", 100, &[0, 1, 2, 3, 4, 5, 6]);
    let without = rows("bid", "1", 100, &[0, 1, 2, 3, 4, 5]);
    for (with, without) in with.iter().zip(&without) {
        assert!(with.starts_with(without.as_str()), "{with} / {without}");
    }
}

#[test]
fn a_split_goes_on_where_it_was_left() {
    let source = make(&[("events", "500"), ("splits", "2")], None).unwrap();
    for split in block_on(source.discover()).unwrap() {
        let whole: Vec<i64> = read(&source, &split, &[2], 9)
            .iter()
            .flat_map(|b| b.column(0).as_primitive::<Int64Type>().values().to_vec())
            .collect();
        let mut first = source.reader(&split, &[2], 9).unwrap();
        for _ in 0..3 {
            drop(block_on(first.next()).unwrap());
        }
        let resumed = Split {
            position: Some(first.position()),
            ..split
        };
        let rest: Vec<i64> = read(&source, &resumed, &[2], 4)
            .iter()
            .flat_map(|b| b.column(0).as_primitive::<Int64Type>().values().to_vec())
            .collect();
        assert_eq!(whole[27..], rest);
    }
}

#[test]
fn wrong_declarations_are_refused() {
    let error = |options, columns| make(options, columns).unwrap_err().report(None);
    expect![[r#"
        error[E0203]: option "event" of connector 'nexmark': 'bids' is not one of bid, auction, person
          hint: did you mean "bid"?"#]].assert_eq(&error(&[("event", "bids")], None));
    expect![[r#"
        error[E0207]: connector 'nexmark' has no column "auctoin"
          hint: did you mean "auction"?"#]]
    .assert_eq(&error(&[], Some(&[("auctoin", DataType::Int64)])));
    expect![[r#"error[E0207]: column "price" of connector 'nexmark' is BIGINT, not Utf8"#]]
        .assert_eq(&error(&[], Some(&[("price", DataType::Utf8)])));
    expect![[
        r#"error[E0203]: option "start_time" of connector 'nexmark': must not be before 1970"#
    ]]
    .assert_eq(&error(&[("start_time", "1969-01-01")], None));
    expect![[
        r#"error[E0203]: option "event_rate" of connector 'nexmark': must be from 1 to 1000000000"#
    ]]
    .assert_eq(&error(&[("event_rate", "0")], None));
}
