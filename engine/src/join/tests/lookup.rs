//! Streams joined with tables that are asked.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::time::Duration;

use arrow::array::{Array, ArrayRef, AsArray};
use arrow::datatypes::{Int64Type, SchemaRef};
use arrow::record_batch::RecordBatch;
use async_trait::async_trait;
use rand::Rng;
use tokio::runtime::Runtime;

use super::harness::*;
use super::oracle::*;
use crate::error::Result;
use crate::join::{JoinKind, LookupJoin, LookupJoinFactory};
use crate::lookup::{CacheLimits, Found, Lookup, Settings};

/// A table in memory that counts what it is asked for.
#[derive(Debug)]
struct Rows {
    rows: Vec<Row>,
    asked: AtomicUsize,
    cache: CacheLimits,
}

#[async_trait]
impl Lookup for Rows {
    fn schema(&self) -> SchemaRef {
        input(1)
    }

    fn settings(&self) -> Settings {
        Settings {
            cache: self.cache,
            keys_max: 7,
        }
    }

    fn describe(&self) -> String {
        "rows by key".to_owned()
    }

    async fn get(&self, keys: &[ArrayRef]) -> Result<Found> {
        assert!(keys[0].len() <= self.settings().keys_max);
        self.asked.fetch_add(keys[0].len(), Relaxed);
        let (mut rows, mut of) = (Vec::new(), Vec::new());
        for (number, key) in (0_u32..).zip(keys[0].as_primitive::<Int64Type>()) {
            assert!(key.is_some(), "a NULL is asked for");
            let found = self.rows.iter().filter(|row| {
                row.key == key
                    && keys.get(1).is_none_or(|names| {
                        names.as_string::<i32>().value(number as usize) == row.name
                    })
            });
            for row in found {
                rows.push(row.clone());
                of.push(number);
            }
        }
        Ok(Found {
            rows: batch(1, &rows),
            keys: of,
        })
    }
}

fn process(runtime: &Runtime, join: &mut LookupJoin, batch: &RecordBatch) -> Vec<RecordBatch> {
    let answered = join.start(batch).unwrap();
    join.finish(runtime.block_on(answered).unwrap()).unwrap()
}

#[test]
fn lookup_joins_give_the_naive_answer() {
    let kinds = [
        JoinKind::Inner,
        JoinKind::Left,
        JoinKind::LeftSemi,
        JoinKind::LeftAnti,
    ];
    for seed in seeds(60) {
        let mut rng = rng("lookup_joins_give_the_naive_answer", seed);
        let kind = kinds[usize::try_from(seed).unwrap() % kinds.len()];
        let mut case = Case::random(&mut rng, kind, false);
        case.nulls_equal = false;
        let keys = rng.random_range(1..60);
        let mut sides = [Vec::new(), Vec::new()];
        for rows in &mut sides {
            let count = rng.random_range(0..300);
            rows.extend((0..count).map(|_| random_row(&mut rng, 1, keys)));
        }
        let lookup = Arc::new(Rows {
            rows: sides[1].clone(),
            asked: AtomicUsize::new(0),
            cache: CacheLimits {
                entries: rng.random_range(0..80),
                bytes: rng.random_range(0..100_000),
                ttl: Duration::from_secs(rng.random_range(0..2) * 600),
                missing: rng.random_bool(0.5),
            },
        });
        let lookup_dyn: Arc<dyn Lookup> = Arc::<Rows>::clone(&lookup);
        let factory = LookupJoinFactory::try_new(case.spec(), lookup_dyn).unwrap();
        let runtime = tokio::runtime::Builder::new_current_thread()
            .build()
            .unwrap();
        let batch_rows = rng.random_range(1..=100);
        let mut join = factory
            .create(&context(runtime.handle(), 1 << 30, batch_rows))
            .unwrap();
        let (mut rows, mut found) = (sides[0].as_slice(), Vec::new());
        while !rows.is_empty() {
            let (first, rest) = rows.split_at(rng.random_range(1..=rows.len().min(100)));
            let results = process(&runtime, &mut join, &batch(0, first));
            assert!(results.iter().all(|batch| batch.num_rows() <= batch_rows));
            found.extend(results);
            rows = rest;
        }
        let expected = answer(case.kind, &sides[0], &sides[1], |l, r| case.matches(l, r));
        let what = format!("seed {seed} {case:?}");
        same(&lines(&found), &case.lines(expected), &what);
    }
}

#[test]
fn a_key_is_asked_for_once_while_it_is_believed() {
    let mut rng = rng("a_key_is_asked_for_once", 1);
    let mut case = Case::random(&mut rng, JoinKind::Left, false);
    case.on = vec![1];
    case.nulls_equal = false;
    let lookup = Arc::new(Rows {
        rows: Vec::new(),
        asked: AtomicUsize::new(0),
        cache: CacheLimits {
            entries: 100,
            bytes: 1 << 20,
            ttl: Duration::from_secs(600),
            missing: true,
        },
    });
    let lookup_dyn: Arc<dyn Lookup> = Arc::<Rows>::clone(&lookup);
    let factory = LookupJoinFactory::try_new(case.spec(), lookup_dyn).unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .build()
        .unwrap();
    let mut join = factory
        .create(&context(runtime.handle(), 1 << 30, 100))
        .unwrap();
    let row = |key| Row {
        time: None,
        key,
        name: "a",
        value: 0,
    };
    for _ in 0..3 {
        let rows = [row(Some(1)), row(None), row(Some(2)), row(Some(1))];
        let results = process(&runtime, &mut join, &batch(0, &rows));
        assert_eq!(lines(&results).len(), 4);
    }
    assert_eq!(lookup.asked.load(Relaxed), 2);
}
