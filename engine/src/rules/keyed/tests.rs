//! Rules over keys against an independent answer, row by row in plain code: for random rows in batches
//! of random sizes, with checkpoints, crashes, other parallelism and little memory in between.

mod shared;

use std::cell::Cell;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use arrow::array::{
    ArrayRef, AsArray, Int64Array, RecordBatch, StringArray, TimestampMicrosecondArray,
};
use arrow::datatypes::{DataType, Field, Int64Type, Schema, SchemaRef, TimeUnit};
use datafusion_common::ScalarValue;
use datafusion_expr::Operator as Op;
use datafusion_physical_expr::PhysicalExpr;
use datafusion_physical_expr::expressions::{BinaryExpr, CastExpr, Column, Literal, lit};
use rand::Rng;
use rand::rngs::StdRng;

use super::*;
use crate::message::EventTime;
use crate::operator::{Extent, Output, driving};
use crate::rules::tests::harness::rule;
use crate::rules::{Action, Judge, Rule};
use crate::updating::harness::{Fleet, parallelisms, seeds};

const STATES: [&str; 4] = ["new", "paid", "sent", "back"];

/// One row.
#[derive(Debug, Clone)]
struct Row {
    id: i64,
    key: Option<i64>,
    value: Option<i64>,
    end: Option<i64>,
    state: Option<&'static str>,
    time: i64,
}

fn schema() -> SchemaRef {
    let time = DataType::Timestamp(TimeUnit::Microsecond, None);
    Arc::new(Schema::new(vec![
        Field::new("id", DataType::Int64, false),
        Field::new("key", DataType::Int64, true),
        Field::new("value", DataType::Int64, true),
        Field::new("end", DataType::Int64, true),
        Field::new("state", DataType::Utf8, true),
        Field::new("time", time, true),
    ]))
}

fn batch(rows: &[Row]) -> RecordBatch {
    let numbers = |of: fn(&Row) -> Option<i64>| -> ArrayRef {
        Arc::new(rows.iter().map(of).collect::<Int64Array>())
    };
    let times = rows.iter().map(|row| Some(row.time));
    RecordBatch::try_new(
        schema(),
        vec![
            numbers(|row| Some(row.id)),
            numbers(|row| row.key),
            numbers(|row| row.value),
            numbers(|row| row.end),
            Arc::new(rows.iter().map(|row| row.state).collect::<StringArray>()),
            Arc::new(times.collect::<TimestampMicrosecondArray>()),
        ],
    )
    .unwrap()
}

fn column(name: &str) -> Arc<dyn PhysicalExpr> {
    Arc::new(Column::new_with_schema(name, &schema()).unwrap())
}

fn keyed_rule(keyed: Keyed, expect: Arc<dyn PhysicalExpr>) -> Rule {
    Rule {
        keyed: Some(keyed),
        ..rule("rule", expect, Action::Drop)
    }
}

/// The kinds of rules, each with what it says of the rows of a key.
const KINDS: [&str; 13] = [
    "unique",
    "within",
    "determines",
    "transition",
    "begin",
    "increasing",
    "decreasing",
    "sequential",
    "apart",
    "last",
    "mean",
    "median",
    "quartiles",
];

fn ask(kind: &str) -> (Ask, Arc<dyn PhysicalExpr>) {
    let ask = match kind {
        "unique" => Ask::Unique,
        "within" => Ask::UniqueWithin {
            time: column("time"),
            micros: 10,
        },
        "determines" => Ask::Determines(vec![column("state")]),
        "transition" | "begin" => {
            let mut from = vec![Some("new"), Some("paid"), Some("sent"), Some("paid")];
            let mut to = vec!["paid", "sent", "back", "back"];
            if kind == "begin" {
                from.push(None);
                to.push("new");
            }
            let pairs: (ArrayRef, ArrayRef) = (
                Arc::new(StringArray::from(from)),
                Arc::new(StringArray::from(to)),
            );
            let state = column("state");
            Ask::Transition { state, pairs }
        }
        "increasing" | "decreasing" => Ask::Ordered {
            value: column("value"),
            descending: kind == "decreasing",
            strictly: kind == "increasing",
        },
        "sequential" => Ask::Sequential(column("value")),
        "apart" => Ask::Apart {
            from: column("value"),
            to: column("end"),
        },
        "mean" | "median" | "quartiles" => Ask::Outliers {
            value: Arc::new(CastExpr::new(column("value"), DataType::Float64, None)),
            last: FEW,
            far: match kind {
                "mean" => Far::FromMean(1.5),
                "median" => Far::FromMedian(1.0),
                _ => Far::FromQuartiles(0.25),
            },
        },
        _ => Ask::Last(vec![("lag(value)".to_owned(), column("value"))]),
    };
    if kind != "last" {
        return (ask, lit(true));
    }
    // value - lag(value) < 3
    let last: Arc<dyn PhysicalExpr> = Arc::new(Column::new("lag(value)", 6));
    let binary = |left, op, right| Arc::new(BinaryExpr::new(left, op, right)) as Arc<_>;
    let three: Arc<dyn PhysicalExpr> = Arc::new(Literal::new(ScalarValue::Int64(Some(3))));
    let gap: Arc<dyn PhysicalExpr> = binary(column("value"), Op::Minus, last);
    (ask, binary(gap, Op::Lt, three))
}

/// What one key has had so far.
#[derive(Debug, Default)]
struct History {
    kept: Vec<Row>,
    last: Option<Row>,
    last_state: Option<&'static str>,
    last_value: Option<i64>,
    values: Vec<f64>,
}

/// Values that are remembered.
const FEW: usize = 6;

/// Whether a value is far from others, by the books.
fn is_far(kind: &str, value: f64, others: &[f64]) -> bool {
    let sorted = |mut values: Vec<f64>| {
        values.sort_by(f64::total_cmp);
        values
    };
    let count = others.len() as f64;
    let mean = others.iter().sum::<f64>() / count;
    let ordered = sorted(others.to_vec());
    // Of six values the third and fourth are in the middle.
    let median = (ordered[2] + ordered[3]) / 2.0;
    let distances = sorted(ordered.iter().map(|other| (other - median).abs()).collect());
    match kind {
        "mean" => {
            let squares: f64 = others.iter().map(|other| (other - mean).powi(2)).sum();
            (value - mean).abs() > 1.5 * (squares / (count - 1.0)).sqrt()
        }
        "median" => {
            let middle = (distances[2] + distances[3]) / 2.0;
            let deviation = match middle > 0.0 {
                true => 1.4826 * middle,
                false => 1.253314 * distances.iter().sum::<f64>() / count,
            };
            (value - median).abs() > deviation
        }
        _ => {
            let first = ordered[1] + 0.25 * (ordered[2] - ordered[1]);
            let third = ordered[3] + 0.75 * (ordered[4] - ordered[3]);
            let most = 0.25 * (third - first);
            value < first - most || value > third + most
        }
    }
}

impl History {
    /// Whether a row breaks the rule; `None` if there is no answer.
    fn breaks(&mut self, kind: &str, row: &Row) -> Option<bool> {
        let broken = match kind {
            "unique" => !self.kept.is_empty(),
            "within" => {
                let near = |kept: &Row| (kept.time - row.time).abs() <= 10;
                self.kept.iter().any(near)
            }
            "determines" => {
                row.state?;
                self.kept
                    .first()
                    .is_some_and(|first| first.state != row.state)
            }
            "transition" | "begin" => {
                let now = row.state?;
                match self.last_state.replace(now) {
                    None => kind == "begin" && now != "new",
                    Some(before) => !matches!(
                        (before, now),
                        ("new", "paid") | ("paid", "sent" | "back") | ("sent", "back")
                    ),
                }
            }
            "increasing" | "decreasing" | "sequential" => {
                let now = row.value?;
                let before = self.last_value.replace(now);
                before.is_some_and(|before| match kind {
                    "increasing" => now <= before,
                    "decreasing" => now > before,
                    _ => now != before + 1,
                })
            }
            "apart" => {
                let (from, to) = (row.value?, row.end.unwrap_or(i64::MAX));
                let meets = |kept: &Row| {
                    let (begin, end) = (kept.value.unwrap(), kept.end.unwrap_or(i64::MAX));
                    (begin.max(from)..end.min(to)).next().is_some()
                };
                from > to || self.kept.iter().any(meets)
            }
            "mean" | "median" | "quartiles" => {
                let now = row.value? as f64;
                let before = self.values.len();
                self.values.push(now);
                if before < FEW {
                    return None;
                }
                is_far(kind, now, &self.values[before - FEW..before])
            }
            _ => {
                let last = self.last.replace(row.clone());
                row.value? - last?.value? >= 3
            }
        };
        if !broken {
            self.kept.push(row.clone());
        }
        Some(broken)
    }
}

/// The rows that a rule lets through, in plain code.
fn expected(kind: &str, rows: &[Row]) -> BTreeSet<i64> {
    let mut histories: HashMap<i64, History> = HashMap::new();
    let passes = |row: &&Row| {
        let Some(key) = row.key else {
            return true;
        };
        let history = histories.entry(key).or_default();
        !history.breaks(kind, row).unwrap_or(false)
    };
    rows.iter().filter(passes).map(|row| row.id).collect()
}

fn random_row(rng: &mut StdRng, id: i64, keys: i64, time: i64) -> Row {
    let maybe = |rng: &mut StdRng, value| rng.random_bool(0.9).then_some(value);
    let (key, value) = (rng.random_range(0..keys), rng.random_range(0..40));
    let end = value + rng.random_range(-1..4);
    Row {
        id,
        key: maybe(rng, key),
        value: maybe(rng, value),
        end: maybe(rng, end),
        state: rng.random_bool(0.9).then(|| STATES[rng.random_range(0..4)]),
        time,
    }
}

fn fleet(kind: &str, ordered: bool, parallelism: usize) -> Fleet {
    let (ask, expect) = ask(kind);
    let keyed = Keyed {
        key: vec![column("key")],
        nulls_equal: false,
        order: ordered.then(|| column("time")),
        ask,
    };
    let rules = [keyed_rule(keyed, expect)];
    let judge = Arc::new(Judge::try_new("table", &rules, &schema(), None).unwrap());
    let stages = Stage::all(&judge, &schema());
    let [stage] = stages.as_slice() else {
        panic!("one rule is one stage");
    };
    let factory = KeyedFactory::new("table", Arc::clone(stage), false);
    Fleet::new(Arc::new(factory), vec![column("key")], parallelism, 7)
}

fn ids(batches: &[RecordBatch]) -> BTreeMap<i64, usize> {
    let mut found = BTreeMap::new();
    for batch in batches {
        for id in batch.column(0).as_primitive::<Int64Type>().values() {
            *found.entry(*id).or_default() += 1;
        }
    }
    found
}

#[test]
fn each_rule_lets_through_what_plain_code_does() {
    let files = Cell::new(0);
    seeds(|seed, rng| {
        let kind = KINDS[usize::try_from(seed).unwrap() % KINDS.len()];
        let (before, after) = parallelisms(seed);
        let little = rng.random_bool(0.4);
        let mut fleet = fleet(kind, false, before);
        if little {
            fleet = fleet.with_memory(6 << 10);
        }
        let (mut all, mut out) = (Vec::new(), Vec::new());
        for _ in 0..rng.random_range(1..40) {
            let from = i64::try_from(all.len()).unwrap();
            let rows: Vec<Row> = (from..from + rng.random_range(0..30))
                .map(|id| random_row(rng, id, 12, id / 3))
                .collect();
            fleet.rows(&batch(&rows));
            all.extend(rows);
            match rng.random_range(0..10) {
                0 => fleet.snapshot(Extent::Changes),
                1 => fleet.snapshot(Extent::All),
                2 => fleet.restart(if rng.random() { after } else { before }),
                _ => {}
            }
            out.extend(fleet.take());
        }
        fleet.end();
        out.extend(fleet.take());
        let found = ids(&out);
        assert!(
            found.values().all(|count| *count == 1),
            "{kind}: a row came twice"
        );
        let found: BTreeSet<i64> = found.into_keys().collect();
        assert_eq!(found, expected(kind, &all), "{kind} {before} -> {after}");
        files.set(files.get() + fleet.files);
    });
    assert!(files.get() > 0, "no state was on disk");
}

#[test]
fn rows_are_asked_in_the_order_of_their_time() {
    seeds(|seed, rng| {
        let kind = KINDS[usize::try_from(seed).unwrap() % KINDS.len()];
        let (before, after) = parallelisms(seed);
        let mut fleet = fleet(kind, true, before);
        if rng.random_bool(0.3) {
            fleet = fleet.with_memory(6 << 10);
        }
        let (mut all, mut out, mut watermark) = (Vec::new(), Vec::new(), 0);
        for _ in 0..rng.random_range(1..30) {
            let from = i64::try_from(all.len()).unwrap();
            let rows: Vec<Row> = (from..from + rng.random_range(0..20))
                .map(|id| {
                    let time = watermark + rng.random_range(0..12);
                    random_row(rng, id, 6, time)
                })
                .collect();
            fleet.rows(&batch(&rows));
            all.extend(rows);
            if rng.random_bool(0.2) {
                fleet.restart(after);
            }
            if rng.random_bool(0.5) {
                watermark += rng.random_range(0..10);
                for operator in &mut fleet.operators {
                    let mut sent = Output::default();
                    operator.watermark(EventTime(watermark), &mut sent).unwrap();
                    driving::drain(&mut **operator, &mut sent).unwrap();
                    out.extend(sent.take());
                }
            }
            out.extend(fleet.take());
        }
        fleet.end();
        out.extend(fleet.take());
        all.sort_by_key(|row| row.time);
        let found = ids(&out);
        assert!(
            found.values().all(|count| *count == 1),
            "{kind}: a row came twice"
        );
        let found: BTreeSet<i64> = found.into_keys().collect();
        assert_eq!(found, expected(kind, &all), "{kind} {before} -> {after}");
    });
}

#[test]
fn what_is_too_old_is_forgotten() {
    let mut fleet = fleet("within", false, 1);
    let row = |id: i64, time| Row {
        id,
        key: Some(id),
        value: None,
        end: None,
        state: None,
        time,
    };
    let held = |fleet: &mut Fleet| {
        fleet.snapshot(Extent::All);
        fleet
            .chains
            .iter()
            .flatten()
            .map(RecordBatch::num_rows)
            .sum::<usize>()
    };
    fleet.rows(&batch(&(0..100).map(|id| row(id, id)).collect::<Vec<_>>()));
    assert_eq!(held(&mut fleet), 100);
    let watermark = |fleet: &mut Fleet, at| {
        let mut out = Output::default();
        fleet.operators[0]
            .watermark(EventTime(at), &mut out)
            .unwrap();
    };
    watermark(&mut fleet, 60);
    assert_eq!(held(&mut fleet), 50);
    watermark(&mut fleet, 200);
    assert_eq!(held(&mut fleet), 0);
}

#[test]
fn keys_that_differ_have_other_numbers() {
    let texts: ArrayRef = Arc::new(StringArray::from(vec![
        Some("a"),
        Some(""),
        None,
        Some("ab"),
        Some("a"),
    ]));
    let others: ArrayRef = Arc::new(StringArray::from(vec![
        Some("b"),
        Some("ab"),
        Some("ab"),
        Some(""),
        Some("b"),
    ]));
    let numbers = fingerprint::keys(&[texts, others], 5).unwrap();
    let distinct: BTreeSet<u128> = numbers.iter().copied().collect();
    assert_eq!(distinct.len(), 4);
    assert_eq!(numbers[0], numbers[4]);
    // Whatever else the batch holds, and wherever the value stands in it.
    let number = |values: Vec<Option<i64>>, at: usize| {
        let count = values.len();
        let column: ArrayRef = Arc::new(Int64Array::from(values));
        let all = fingerprint::keys(&[Arc::clone(&column)], count).unwrap();
        let sliced = fingerprint::keys(&[column.slice(at, 1)], 1).unwrap();
        assert_eq!(all[at], sliced[0]);
        all[at]
    };
    assert_eq!(
        number(vec![Some(7)], 0),
        number(vec![None, Some(1), Some(7)], 2)
    );
}
