//! Partitions that share what they have seen: one row of each key goes on, with enough memory and with
//! little, one after the other and at the same time.

use parking_lot::Mutex;

use super::super::shared::Shared;
use super::*;
use crate::error::Result;
use crate::job::TaskContext;
use crate::operator::{Consumes, Operator, OperatorFactory};

/// How far keys lie apart: as bits they take little memory, or too much.
const STRIDES: [i64; 3] = [1, 500, 1 << 40];

/// Makes the partitions of a stage, a new set whenever the first one is made.
#[derive(Debug)]
struct Partitions {
    stage: Arc<Stage>,
    count: usize,
    shared: Mutex<Option<Arc<Shared>>>,
}

impl OperatorFactory for Partitions {
    fn schema(&self) -> SchemaRef {
        schema()
    }

    fn create(&self, context: &TaskContext) -> Result<Box<dyn Operator>> {
        let mut shared = self.shared.lock();
        if context.subtask == 0 {
            let task = TaskContext {
                parallelism: 1,
                ..context.clone()
            };
            *shared = Some(Arc::new(Shared::new(&self.stage, task, self.count)?));
        }
        Ok(shared.as_ref().unwrap().partition())
    }

    fn describe(&self) -> String {
        "partitions".to_owned()
    }

    fn consumes(&self) -> Consumes {
        Consumes::Judges
    }
}

/// Rows reach the partitions whatever their key is.
fn partitions(count: usize) -> Fleet {
    let keyed = Keyed {
        key: vec![column("key")],
        nulls_equal: false,
        order: None,
        ask: Ask::Unique,
    };
    let rules = [keyed_rule(keyed, lit(true))];
    let judge = Arc::new(Judge::try_new("table", &rules, &schema(), None).unwrap());
    let stages = Stage::all(&judge, &schema());
    assert!(stages[0].can_be_shared());
    let factory = Partitions {
        stage: Arc::clone(&stages[0]),
        count,
        shared: Mutex::default(),
    };
    Fleet::new(Arc::new(factory), vec![column("id")], count, 7)
}

/// The keys of the rows that went on; those without one are counted.
fn keys(batches: &[RecordBatch]) -> (Vec<i64>, usize) {
    let all = batches.iter().flat_map(|batch| {
        let keys = batch.column(1).as_primitive::<Int64Type>();
        keys.iter().collect::<Vec<_>>()
    });
    let (known, unknown): (Vec<_>, Vec<_>) = all.partition(Option::is_some);
    let mut known: Vec<i64> = known.into_iter().flatten().collect();
    known.sort_unstable();
    (known, unknown.len())
}

fn check(rows: &[Row], out: &[RecordBatch]) {
    let known: BTreeSet<i64> = rows.iter().filter_map(|row| row.key).collect();
    let unknown = rows.iter().filter(|row| row.key.is_none()).count();
    assert_eq!(keys(out), (known.into_iter().collect(), unknown));
}

#[test]
fn one_row_of_each_key_goes_on() {
    let files = Cell::new(0);
    seeds(|seed, rng| {
        let count = usize::try_from(seed).unwrap() % 4 + 1;
        let stride = STRIDES[usize::try_from(seed).unwrap() / 4 % STRIDES.len()];
        let mut fleet = partitions(count);
        if rng.random() {
            fleet = fleet.with_memory(rng.random_range(6 << 10..40 << 10));
        }
        let (mut all, mut out) = (Vec::new(), Vec::new());
        for _ in 0..rng.random_range(1..40) {
            let from = i64::try_from(all.len()).unwrap();
            let rows: Vec<Row> = (from..from + rng.random_range(0..60))
                .map(|id| {
                    let row = random_row(rng, id, 900, id);
                    Row {
                        key: row.key.map(|key| (key - 300) * stride),
                        ..row
                    }
                })
                .collect();
            fleet.rows(&batch(&rows));
            all.extend(rows);
            out.extend(fleet.take());
        }
        fleet.end();
        out.extend(fleet.take());
        check(&all, &out);
        files.set(files.get() + fleet.files);
    });
    assert!(files.get() > 0, "no state was on disk");
}

#[test]
fn partitions_at_the_same_time_see_each_key_once() {
    for (memory, stride) in [(1 << 30, 7), (1 << 30, 1 << 33), (64 << 10, 1 << 33)] {
        let mut fleet = partitions(4).with_memory(memory);
        let rows: Vec<Row> = (0..40_000)
            .map(|id| Row {
                id,
                key: (id % 11 > 0).then_some((id * 7 % 9_000 - 4_000) * stride),
                value: None,
                end: None,
                state: None,
                time: 0,
            })
            .collect();
        let parts = rows
            .chunks(10_000)
            .zip(std::mem::take(&mut fleet.operators));
        let mut out = Vec::new();
        std::thread::scope(|scope| {
            let parts: Vec<_> = parts
                .map(|(rows, mut operator)| {
                    scope.spawn(move || {
                        let mut out = Output::default();
                        for rows in rows.chunks(100) {
                            driving::process(&mut *operator, 0, batch(rows), &mut out).unwrap();
                        }
                        driving::end(&mut *operator, &mut out).unwrap();
                        out.take()
                    })
                })
                .collect();
            for part in parts {
                out.extend(part.join().unwrap());
            }
        });
        check(&rows, &out);
    }
}
