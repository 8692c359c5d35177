//! Rows that refer to a stream against plain code: random rows, keys that come and go, watermarks and
//! time in between, checkpoints, crashes, other parallelism and little memory.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::{
    ArrayRef, AsArray, Int8Array, Int64Array, RecordBatch, TimestampMicrosecondArray,
};
use arrow::datatypes::{DataType, Field, Int64Type, Schema, SchemaRef, TimeUnit};
use datafusion_physical_expr::PhysicalExpr;
use datafusion_physical_expr::expressions::{Column, lit};
use rand::Rng;
use rand::rngs::StdRng;

use super::*;
use crate::changelog::changelog_schema;
use crate::graph::NodeIndex;
use crate::message::EventTime;
use crate::operator::Extent;
use crate::rules::keyed::{Ask, Keyed, Refers};
use crate::rules::tests::harness::rule;
use crate::rules::{Action, Judge, Reference, Rule};
use crate::updating::harness::{Fleet, parallelisms, seeds};

const GRACE: i64 = 10;

/// One row, or one that it may refer to.
#[derive(Debug, Clone, Copy)]
enum Event {
    Row {
        id: i64,
        key: Option<i64>,
        time: Option<i64>,
    },
    Key {
        key: Option<i64>,
        adds: bool,
    },
    Watermark(i64),
    Tick(i64),
}

fn schema() -> SchemaRef {
    let time = DataType::Timestamp(TimeUnit::Microsecond, None);
    Arc::new(Schema::new(vec![
        Field::new("id", DataType::Int64, false),
        Field::new("key", DataType::Int64, true),
        Field::new("time", time, true),
    ]))
}

fn column(name: &str) -> Arc<dyn PhysicalExpr> {
    Arc::new(Column::new_with_schema(name, &schema()).unwrap())
}

fn fleet(by_event_time: bool, one_per_key: bool, parallelism: usize) -> Fleet {
    let reference = Arc::new(Reference::new("other(key)".to_owned()));
    let keyed = Keyed {
        key: vec![column("key")],
        nulls_equal: false,
        order: None,
        ask: Ask::Refers(Refers {
            reference: Arc::clone(&reference),
            grace: GRACE,
            time: Some(column("time")),
        }),
    };
    let rule = Rule {
        keyed: Some(keyed),
        ..rule("rule", lit(true), Action::Drop)
    };
    let judge = Arc::new(Judge::try_new("table", &[rule], &schema(), None).unwrap());
    let stages = Stage::all(&judge, &schema());
    let [stage] = stages.as_slice() else {
        panic!("one rule is one stage");
    };
    let keys = KeysOf {
        reference,
        at: NodeIndex(0),
        have_time: by_event_time,
        one_per_key,
    };
    let factory = ReferringFactory::new("table", Arc::clone(stage), false, &keys);
    Fleet::new(Arc::new(factory), vec![column("key")], parallelism, 7)
}

type Row = (i64, Option<i64>, Option<i64>);

fn rows(rows: &[Row]) -> RecordBatch {
    let numbers = |of: fn(&Row) -> Option<i64>| -> ArrayRef {
        Arc::new(rows.iter().map(of).collect::<Int64Array>())
    };
    let times: TimestampMicrosecondArray = rows.iter().map(|row| row.2).collect();
    let columns = vec![
        numbers(|row| Some(row.0)),
        numbers(|row| row.1),
        Arc::new(times),
    ];
    RecordBatch::try_new(schema(), columns).unwrap()
}

fn keys(keys: &[(Option<i64>, bool)], changes: bool) -> RecordBatch {
    let plain = Arc::new(Schema::new(vec![Field::new("key", DataType::Int64, true)]));
    let column: ArrayRef = Arc::new(keys.iter().map(|(key, _)| *key).collect::<Int64Array>());
    if !changes {
        return RecordBatch::try_new(plain, vec![column]).unwrap();
    }
    let kinds = keys.iter().map(|(_, adds)| if *adds { 0 } else { 3 });
    let kinds: ArrayRef = Arc::new(kinds.collect::<Int8Array>());
    RecordBatch::try_new(changelog_schema(&plain), vec![column, kinds]).unwrap()
}

/// What the rule does, in plain code: the rows that it lets through.
#[derive(Debug, Default)]
struct Plain {
    there: BTreeMap<i64, i64>,
    waiting: Vec<(i64, i64, i64)>,
    watermark: i64,
    now: i64,
    passed: Vec<i64>,
    dropped: Vec<i64>,
}

impl Plain {
    fn take(&mut self, event: Event, by_event_time: bool, one_per_key: bool) {
        match event {
            Event::Row { id, key, time } => {
                let Some(key) = key else {
                    self.passed.push(id);
                    return;
                };
                let due = match by_event_time {
                    true => time.map_or(i64::MIN, |time| time + GRACE),
                    false => self.now + GRACE,
                };
                if self.there.get(&key).is_some_and(|count| *count > 0) {
                    self.passed.push(id);
                } else if by_event_time && due < self.watermark {
                    self.dropped.push(id);
                } else {
                    self.waiting.push((id, key, due));
                }
            }
            Event::Key { key, adds } => {
                let Some(key) = key else {
                    return;
                };
                let count = self.there.entry(key).or_default();
                *count = match (one_per_key, adds) {
                    (true, adds) => i64::from(adds),
                    (false, adds) => *count + if adds { 1 } else { -1 },
                };
                if *count > 0 {
                    self.end_of(|row| row.1 == key, true);
                }
            }
            Event::Watermark(at) => {
                self.watermark = at;
                if by_event_time {
                    self.end_of(|row| row.2 < at, false);
                }
            }
            Event::Tick(now) => {
                self.now = now;
                if !by_event_time {
                    self.end_of(|row| row.2 < now, false);
                }
            }
        }
    }

    fn end_of(&mut self, ends: impl Fn(&(i64, i64, i64)) -> bool, passes: bool) {
        let (gone, left): (Vec<_>, Vec<_>) = self.waiting.drain(..).partition(ends);
        self.waiting = left;
        let to = if passes {
            &mut self.passed
        } else {
            &mut self.dropped
        };
        to.extend(gone.into_iter().map(|row| row.0));
    }
}

fn random(rng: &mut StdRng, id: i64, plain: &Plain, changes: bool) -> Event {
    let key = rng.random_range(0..40);
    let key = rng.random_bool(0.95).then_some(key);
    match rng.random_range(0..20) {
        0..12 => Event::Row {
            id,
            key,
            time: rng
                .random_bool(0.95)
                .then_some(plain.watermark + rng.random_range(-15..15)),
        },
        12..17 => Event::Key {
            key,
            adds: !changes || rng.random_bool(0.6),
        },
        17 | 18 => Event::Watermark(plain.watermark + rng.random_range(0..12)),
        _ => Event::Tick(plain.now + rng.random_range(0..12)),
    }
}

fn give(fleet: &mut Fleet, event: Event, changes: bool) {
    match event {
        Event::Row { id, key, time } => fleet.rows(&rows(&[(id, key, time)])),
        Event::Key { key, adds } => fleet.second(&keys(&[(key, adds)], changes)),
        Event::Watermark(at) => fleet.watermark(at),
        Event::Tick(now) => fleet.tick(now),
    }
}

fn ids(batches: &[RecordBatch]) -> Vec<i64> {
    let mut found: Vec<i64> = batches
        .iter()
        .flat_map(|batch| {
            batch
                .column(0)
                .as_primitive::<Int64Type>()
                .values()
                .to_vec()
        })
        .collect();
    found.sort_unstable();
    found
}

/// Gives random events; what is let through is what plain code lets through. Rows on disk get answers
/// late but the same, where the time of the answer goes by what they were given with.
fn check(seed: u64, rng: &mut StdRng, memory: Option<usize>) -> usize {
    let by_event_time = seed.is_multiple_of(2);
    let changes = rng.random_bool(0.5);
    let one_per_key = changes && rng.random_bool(0.3);
    let (before, after) = parallelisms(seed);
    let mut fleet = fleet(by_event_time, one_per_key, before);
    if let Some(memory) = memory {
        fleet = fleet.with_memory(memory);
    }
    let (mut plain, mut out) = (Plain::default(), Vec::new());
    fleet.watermark(0);
    fleet.tick(0);
    let mut given = 0;
    for id in 0..rng.random_range(1..600) {
        let event = random(rng, id, &plain, changes);
        given += i64::from(matches!(event, Event::Row { .. }));
        plain.take(event, by_event_time, one_per_key);
        give(&mut fleet, event, changes);
        match rng.random_range(0..60) {
            0 => fleet.snapshot(Extent::Changes),
            1 => fleet.snapshot(Extent::All),
            2 => {
                fleet.restart(if rng.random() { after } else { before });
                // Both begin anew with a run; a row that is late waits no more either way.
                fleet.watermark(plain.watermark);
                fleet.tick(plain.now);
            }
            _ => {}
        }
    }
    fleet.end();
    out.extend(fleet.take());
    plain.end_of(|_| true, false);
    plain.passed.sort_unstable();
    assert_eq!(ids(&out), plain.passed, "{before} -> {after}");
    assert_eq!(plain.passed.len() + plain.dropped.len(), given as usize);
    fleet.files
}

#[test]
fn rows_wait_for_what_they_refer_to() {
    seeds(|seed, rng| {
        check(seed, rng, None);
    });
}

#[test]
fn rows_that_wait_may_be_on_disk() {
    let files = Cell::new(0);
    seeds(|seed, rng| files.set(files.get() + check(seed, rng, Some(6 << 10))));
    assert!(files.get() > 0, "no state was on disk");
}

#[test]
fn a_row_that_waits_holds_the_watermark_back() {
    let mut fleet = fleet(true, false, 1);
    let goes_on = |fleet: &Fleet, at| fleet.operators[0].output_watermark(EventTime(at)).0;
    fleet.watermark(100);
    assert_eq!(goes_on(&fleet, 100), 100);
    fleet.rows(&rows(&[
        (1, Some(1), Some(104)),
        (2, Some(2), Some(101)),
        (3, Some(3), Some(95)),
    ]));
    fleet.watermark(108);
    // The late row is gone by now, and has held nothing.
    assert_eq!(goes_on(&fleet, 108), 101);
    fleet.second(&keys(&[(Some(2), true)], false));
    assert_eq!(goes_on(&fleet, 108), 104);
    assert_eq!(ids(&fleet.take()), [2]);
    fleet.watermark(115);
    assert_eq!(goes_on(&fleet, 115), 115);
    assert_eq!(ids(&fleet.take()), [] as [i64; 0]);
}
