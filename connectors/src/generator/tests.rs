//! The generator gives the same rows however they are split, paced or resumed.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use arrow::array::AsArray;
use arrow::datatypes::{DataType, Field, Float64Type, Int64Type, TimestampMicrosecondType};
use expect_test::{Expect, expect};
use futures::executor::block_on;
use weir_engine::dead_letter::OnError;
use weir_engine::env::{BoxFuture, Env, Spawner, TaskHandle, Work};
use weir_engine::options::{GivenOptions, OptionValue};
use weir_engine::source::Read;

use super::*;

/// A clock that moves only when something sleeps.
#[derive(Debug, Default)]
struct StepClock {
    micros: AtomicU64,
}

impl Clock for StepClock {
    fn now_micros(&self) -> i64 {
        1_700_000_000_000_000 + self.micros.load(Ordering::SeqCst) as i64
    }

    fn monotonic(&self) -> Duration {
        Duration::from_micros(self.micros.load(Ordering::SeqCst))
    }

    fn sleep(&self, time: Duration) -> BoxFuture<()> {
        self.micros
            .fetch_add(time.as_micros() as u64, Ordering::SeqCst);
        Box::pin(std::future::ready(()))
    }
}

#[derive(Debug)]
struct NoSpawner;

impl Spawner for NoSpawner {
    fn spawn(&self, _work: Work, _task: BoxFuture<()>) -> TaskHandle {
        panic!("a generator starts no task")
    }

    fn blocking(&self, _call: Box<dyn FnOnce() + Send>) -> TaskHandle {
        panic!("a generator makes no blocking call")
    }
}

fn given(options: &[(&str, &str)]) -> GivenOptions {
    let value = |text: &str| OptionValue {
        text: text.to_owned(),
        place: None,
    };
    options
        .iter()
        .map(|(name, text)| ((*name).to_owned(), value(text)))
        .collect()
}

fn request(options: &[(&str, &str)], columns: Option<&[(&str, DataType)]>) -> SourceRequest {
    let fields = |columns: &[(&str, DataType)]| {
        columns
            .iter()
            .map(|(n, t)| Arc::new(Field::new(*n, t.clone(), true)))
            .collect()
    };
    SourceRequest {
        name: "g".to_owned(),
        options: given(options),
        columns: columns.map(fields),
        metadata: Vec::new(),
        on_error: OnError::Fail,
        deviations: Default::default(),
        streaming: true,
        env: Env::new(Arc::new(StepClock::default()), Arc::new(NoSpawner), 0),
    }
}

fn make(options: &[(&str, &str)], columns: Option<&[(&str, DataType)]>) -> Result<GeneratorSource> {
    GeneratorSource::new(&request(options, columns))
}

fn reader(source: &GeneratorSource, split: &Split, batch_rows: usize) -> reader::GeneratorReader {
    let part = Part::of(split).unwrap();
    let columns = source.columns.to_vec();
    let pace = Pace::new(
        source.rate.map(|r| r / part.of as f64),
        Arc::clone(&source.clock),
    );
    reader::GeneratorReader::new(source.rows.clone(), columns, part, pace, batch_rows)
}

/// Reads a split to its end, or for so many calls.
fn read(reader: &mut dyn SplitReader, calls: usize) -> Vec<RecordBatch> {
    let mut batches = Vec::new();
    for _ in 0..calls {
        match block_on(reader.next()).unwrap() {
            Read::Rows { batch, .. } => batches.push(batch),
            Read::Pending => {}
            Read::End => break,
        }
    }
    batches
}

/// All rows of all splits as text, sorted.
fn rows(
    options: &[(&str, &str)],
    columns: Option<&[(&str, DataType)]>,
    batch: usize,
) -> Vec<String> {
    let source = make(options, columns).unwrap();
    let mut lines = Vec::new();
    for split in block_on(source.discover()).unwrap() {
        for batch in read(&mut reader(&source, &split, batch), usize::MAX) {
            lines.extend(lines_of(&batch));
        }
    }
    lines.sort();
    lines
}

fn lines_of(batch: &RecordBatch) -> Vec<String> {
    let mut text = Vec::new();
    arrow::csv::WriterBuilder::new()
        .with_header(false)
        .build(&mut text)
        .write(batch)
        .unwrap();
    String::from_utf8(text)
        .unwrap()
        .lines()
        .map(str::to_owned)
        .collect()
}

fn check_error(options: &[(&str, &str)], columns: Option<&[(&str, DataType)]>, expected: Expect) {
    expected.assert_eq(&make(options, columns).unwrap_err().report(None));
}

const US: DataType = DataType::Timestamp(arrow::datatypes::TimeUnit::Microsecond, None);

#[test]
fn the_same_seed_gives_the_same_rows_for_ever() {
    let columns = [
        ("seq", DataType::Int64),
        ("ts", US),
        ("random", DataType::Float64),
        ("text", DataType::Utf8),
    ];
    let rows = rows(
        &[
            ("rows", "4"),
            ("seed", "7"),
            ("disorder", "2ms"),
            ("splits", "1"),
        ],
        Some(&columns),
        10,
    );
    expect![[r#"
        0,2025-12-31T23:59:59.998076,0.7329716820015753,medeze
        1,2026-01-01T00:00:00.000243,0.4813487918628434,kalikeho
        2,2026-01-01T00:00:00.000700,0.6648769131856519,kicoda
        3,2026-01-01T00:00:00.001635,0.5761215898802875,copileri"#]]
    .assert_eq(&rows.join("\n"));
}

#[test]
fn splits_and_batches_do_not_change_the_rows() {
    let all = |splits: &str, batch| {
        let options = [
            ("rows", "1003"),
            ("splits", splits),
            ("disorder", "50ms"),
            ("null_ratio", "0.1"),
            ("duplicate_ratio", "0.2"),
            ("late_ratio", "0.05"),
        ];
        rows(&options, None, batch)
    };
    let one = all("1", 8192);
    assert!(
        one.len() > 1003 && one.len() < 1300,
        "{} rows with duplicates",
        one.len()
    );
    assert_eq!(one, all("2", 7));
    assert_eq!(one, all("5", 1));
    assert_eq!(one, all("256", 100));
}

#[test]
fn a_split_goes_on_where_it_was_left() {
    let source = make(
        &[("rows", "100"), ("splits", "3"), ("duplicate_ratio", "0.3")],
        None,
    )
    .unwrap();
    for split in block_on(source.discover()).unwrap() {
        let whole: Vec<_> = read(&mut reader(&source, &split, 5), usize::MAX)
            .iter()
            .flat_map(lines_of)
            .collect();
        let mut first = reader(&source, &split, 5);
        let mut parts: Vec<_> = read(&mut first, 3).iter().flat_map(lines_of).collect();
        let resumed = Split {
            position: Some(first.position()),
            ..split
        };
        parts.extend(
            read(&mut reader(&source, &resumed, 8), usize::MAX)
                .iter()
                .flat_map(lines_of),
        );
        assert_eq!(whole, parts);
    }
}

#[test]
fn splits_are_given_once() {
    let source = make(&[("splits", "3")], None).unwrap();
    assert_eq!(block_on(source.discover()).unwrap().len(), 3);
    assert!(block_on(source.discover()).unwrap().is_empty());
    assert!(matches!(source.boundedness(), Boundedness::Unbounded(_)));
}

#[test]
fn values_are_spread_evenly_and_independent() {
    let columns = [
        ("random", DataType::Float64),
        ("random_2", DataType::Float64),
    ];
    let source = make(&[("rows", "100000"), ("splits", "1")], Some(&columns)).unwrap();
    let split = block_on(source.discover()).unwrap().remove(0);
    let batch = &read(&mut reader(&source, &split, 100_000), 1)[0];
    let (a, b) = (
        batch.column(0).as_primitive::<Float64Type>(),
        batch.column(1).as_primitive::<Float64Type>(),
    );
    let n = a.len() as f64;
    let mean = |values: &mut dyn Iterator<Item = f64>| values.sum::<f64>() / n;
    assert!(a.values().iter().all(|v| (0.0..1.0).contains(v)));
    assert!((mean(&mut a.values().iter().copied()) - 0.5).abs() < 0.005);
    let product = mean(
        &mut a
            .values()
            .iter()
            .zip(b.values())
            .map(|(x, y)| (x - 0.5) * (y - 0.5)),
    );
    assert!(product.abs() < 0.002, "correlated: {product}");
    for tenth in 0..10 {
        let share = mean(
            &mut a
                .values()
                .iter()
                .map(|v| f64::from(u8::from((v * 10.0) as i32 == tenth))),
        );
        assert!((share - 0.1).abs() < 0.01, "tenth {tenth}: {share}");
    }
}

#[test]
fn event_time_stays_within_the_disorder_unless_late() {
    let late = |ratio: &str| {
        let options = [
            ("rows", "10000"),
            ("splits", "1"),
            ("interval", "10ms"),
            ("disorder", "2s"),
            ("late_ratio", ratio),
            ("start_time", "1970-01-01T00:00:00Z"),
        ];
        let source = make(&options, None).unwrap();
        let split = block_on(source.discover()).unwrap().remove(0);
        let batch = &read(&mut reader(&source, &split, 10_000), 1)[0];
        let seq = batch.column(0).as_primitive::<Int64Type>();
        let ts = batch.column(1).as_primitive::<TimestampMicrosecondType>();
        let back = seq
            .values()
            .iter()
            .zip(ts.values())
            .map(|(seq, ts)| seq * 10_000 - ts);
        let back: Vec<_> = back.collect();
        assert!(
            back.iter()
                .all(|back| (0..=2_000_001 + 60_000_000).contains(back))
        );
        back.iter().filter(|back| **back > 2_000_000).count()
    };
    assert_eq!(late("0"), 0);
    let some = late("0.1");
    assert!((800..1200).contains(&some), "{some} late rows");
    assert_eq!(late("1"), 10_000);
}

#[test]
fn the_low_of_a_split_is_its_first_rows() {
    let source = make(&[("rows", "10"), ("splits", "2")], None).unwrap();
    let splits = block_on(source.discover()).unwrap();
    let Low::First(batch) = block_on(source.low(&splits[1], &[0])).unwrap() else {
        panic!("no rows")
    };
    assert_eq!(
        batch
            .column(0)
            .as_primitive::<Int64Type>()
            .values()
            .to_vec(),
        [1, 3, 5, 7, 9]
    );
    let empty = make(&[("rows", "1"), ("splits", "2")], None).unwrap();
    let splits = block_on(empty.discover()).unwrap();
    assert!(matches!(
        block_on(empty.low(&splits[1], &[1])).unwrap(),
        Low::Empty
    ));
}

#[test]
fn a_rate_is_kept_over_wall_time() {
    let source = make(&[("rate", "1000"), ("splits", "2")], None).unwrap();
    let split = block_on(source.discover()).unwrap().remove(0);
    let mut reader = reader(&source, &split, 8192);
    let rows: usize = read(&mut reader, 2000)
        .iter()
        .map(RecordBatch::num_rows)
        .sum();
    let seconds = source.clock.monotonic().as_secs_f64();
    assert!(
        (rows as f64 / seconds - 500.0).abs() < 2.0,
        "{rows} rows in {seconds} s"
    );
    // After a long pause of the pipeline one second is caught up, not all of it.
    drop(source.clock.sleep(Duration::from_secs(60)));
    let rows = read(&mut reader, 1)[0].num_rows();
    assert!((490..=510).contains(&rows), "{rows} rows after a pause");
}

#[test]
fn no_columns_still_give_rows() {
    let source = make(
        &[("rows", "10"), ("splits", "1"), ("duplicate_ratio", "1")],
        None,
    )
    .unwrap();
    let part = Part::of(&block_on(source.discover()).unwrap()[0]).unwrap();
    assert_eq!(source.build(&part, &[], 10).unwrap().num_rows(), 20);
}

#[test]
fn the_greatest_numbers_do_not_overflow() {
    let options = [
        ("seed", "18446744073709551615"),
        ("interval", "200000d"),
        ("splits", "256"),
    ];
    let source = make(&options, None).unwrap();
    let mut split = block_on(source.discover()).unwrap().remove(255);
    split.position = Some(weir_engine::source::Position(
        ((1_u64 << 56) - 3).to_string(),
    ));
    let rows: usize = read(&mut reader(&source, &split, 100), 5)
        .iter()
        .map(RecordBatch::num_rows)
        .sum();
    assert!(rows <= 3);
}

#[test]
fn declared_types_may_differ_in_width() {
    let columns = [
        (
            "ts",
            DataType::Timestamp(arrow::datatypes::TimeUnit::Millisecond, Some("UTC".into())),
        ),
        ("random", DataType::Float32),
        ("text", DataType::Utf8View),
    ];
    assert_eq!(rows(&[("rows", "5")], Some(&columns), 10).len(), 5);
}

#[test]
fn wrong_declarations_are_refused() {
    check_error(
        &[],
        Some(&[("sequence", DataType::Int64)]),
        expect![[r#"
            error[E0207]: connector 'generator' has no column "sequence"
              detail: the generator fills seq, ts, random, random_2 to random_8 and text; other columns are computed from them, as in  key BIGINT AS (CAST(random * 100 AS BIGINT))
              hint: known: seq, ts, random, random_2, random_3, random_4, random_5, random_6, random_7, random_8, text"#]],
    );
    check_error(
        &[],
        Some(&[("randm", DataType::Int64)]),
        expect![[r#"
        error[E0207]: connector 'generator' has no column "randm"
          detail: the generator fills seq, ts, random, random_2 to random_8 and text; other columns are computed from them, as in  key BIGINT AS (CAST(random * 100 AS BIGINT))
          hint: did you mean "random"?"#]],
    );
    check_error(
        &[],
        Some(&[("seq", DataType::Utf8)]),
        expect![[r#"error[E0207]: column "seq" of connector 'generator' is BIGINT, not Utf8"#]],
    );
    check_error(
        &[("rows", "-1")],
        None,
        expect![[
            r#"error[E0203]: option "rows" of connector 'generator': '-1' is not a whole number from 0"#
        ]],
    );
    check_error(
        &[("rate", "0")],
        None,
        expect![[
            r#"error[E0203]: option "rate" of connector 'generator': must be more than 0; leave it out for no bound"#
        ]],
    );
    check_error(
        &[("null_ratio", "1.5")],
        None,
        expect![[
            r#"error[E0203]: option "null_ratio" of connector 'generator': 1.5 is not between 0 and 1"#
        ]],
    );
    check_error(
        &[("start_time", "yesterday")],
        None,
        expect![[r#"
        error[E0203]: option "start_time" of connector 'generator': 'yesterday' is not a timestamp
          cause: Parser error: Error parsing timestamp from 'yesterday': timestamp must contain at least 10 characters
          hint: write it as '2026-01-01T00:00:00Z', or 'now'"#]],
    );
    check_error(
        &[("splits", "0")],
        None,
        expect![[
            r#"error[E0203]: option "splits" of connector 'generator': 0 is not between 1 and 256"#
        ]],
    );
    check_error(
        &[("row", "5")],
        None,
        expect![[r#"
        error[E0202]: connector 'generator' has no option "row"
          hint: did you mean "rows"?"#]],
    );
}
