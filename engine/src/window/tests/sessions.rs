//! Sessions against sessions found by joining what is near until nothing is.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::datatypes::{Field, Schema};
use arrow::record_batch::RecordBatch;
use arrow::util::display::array_value_to_string;
use datafusion_functions_aggregate::array_agg::array_agg_udaf;
use datafusion_physical_expr::PhysicalExpr;
use datafusion_physical_expr::aggregate::AggregateExprBuilder;
use datafusion_physical_expr::expressions::PhysicalSortExpr;
use rand::Rng;
use rand::rngs::StdRng;

use super::harness::*;
use super::rescale::{Job, PARALLELISMS, run};
use crate::operator::OperatorFactory;
use crate::window::{AggregateSpec, Assign, Phase, SessionExpandFactory, WindowAggregateFactory};

pub(super) const KEYS: [&[&str]; 4] = [&[], &["key"], &["name"], &["name", "key"]];

pub(super) fn spec(gap: i64, keys: &[&str]) -> AggregateSpec {
    usual(Assign::Session { column: 0, gap }, keys)
}

/// The names of a session in the order of its values, by key.
pub(super) fn names_in_order() -> AggregateSpec {
    let by_value = PhysicalSortExpr::new_default(column("value"));
    let builder = AggregateExprBuilder::new(array_agg_udaf(), vec![column("name")])
        .order_by(vec![by_value])
        .schema(input())
        .alias("names");
    let assign = Assign::Session { column: 0, gap: 10 };
    let names = Arc::new(builder.build().unwrap());
    spec_of(assign, &["key"], vec![names], vec![None])
}

fn expand(gap: i64, keys: &[&str]) -> Arc<dyn OperatorFactory> {
    let mut fields: Vec<Field> = input()
        .fields()
        .iter()
        .map(|f| f.as_ref().clone())
        .collect();
    fields.push(Field::new("window_start", micros(), false));
    fields.push(Field::new("window_end", micros(), false));
    let keys = keys.iter().map(|key| column(key)).collect();
    let schema = Arc::new(Schema::new(fields));
    Arc::new(SessionExpandFactory::try_new(0, gap, keys, input(), schema, "rows".into()).unwrap())
}

fn key_of(row: &Row, keys: &[&str]) -> Vec<String> {
    let text = |key: &&str| match *key {
        "key" => format!("{:?}", row.key),
        _ => row.name.to_owned(),
    };
    keys.iter().map(text).collect()
}

/// An open session, or one row.
#[derive(Debug, Clone)]
struct Naive {
    start: i64,
    last: i64,
    rows: Vec<Row>,
    /// It was there before the rows that come now.
    known: bool,
}

fn join_near(sessions: &mut Vec<Naive>, gap: i64) {
    'again: loop {
        for i in 0..sessions.len() {
            for j in 0..i {
                let (a, b) = (&sessions[i], &sessions[j]);
                if a.start < b.last + gap && b.start < a.last + gap {
                    let a = sessions.remove(i);
                    let b = &mut sessions[j];
                    (b.start, b.last) = (b.start.min(a.start), b.last.max(a.last));
                    b.known |= a.known;
                    b.rows.extend(a.rows);
                    continue 'again;
                }
            }
        }
        return;
    }
}

/// Rows with their windows.
pub(super) type InWindows = Vec<(Row, (i64, i64))>;

/// Sessions as they are after some steps.
pub(super) struct Oracle<'a> {
    gap: i64,
    keys: &'a [&'a str],
    lateness: i64,
    watermark: i64,
    kept: BTreeMap<Vec<String>, Vec<Naive>>,
    done: InWindows,
    pub(super) late: u64,
}

impl<'a> Oracle<'a> {
    pub(super) fn new(gap: i64, keys: &'a [&'a str], lateness: i64) -> Self {
        Self {
            gap,
            keys,
            lateness,
            watermark: i64::MIN,
            kept: BTreeMap::new(),
            done: Vec::new(),
            late: 0,
        }
    }

    pub(super) fn step(&mut self, step: &Step) {
        match step {
            Step::Rows(rows) => self.rows(rows),
            Step::Watermark(time) => {
                self.watermark = self.watermark.max(*time);
                let (gap, watermark) = (self.gap, self.watermark - self.lateness);
                for of_key in self.kept.values_mut() {
                    let over = of_key.extract_if(.., |s| s.last + gap <= watermark);
                    over.for_each(|session| self.done.extend(in_window(&session, gap)));
                }
            }
        }
    }

    fn rows(&mut self, rows: &[Row]) {
        for row in rows {
            let Some(ts) = row.ts else {
                self.late += 1;
                continue;
            };
            let of_key = self.kept.entry(key_of(row, self.keys)).or_default();
            of_key.push(Naive {
                start: ts,
                last: ts,
                rows: vec![row.clone()],
                known: false,
            });
        }
        for of_key in self.kept.values_mut() {
            join_near(of_key, self.gap);
            of_key.retain(|s| {
                let gone = s.last + self.gap + self.lateness;
                let is_late = !s.known && gone <= self.watermark;
                self.late += if is_late { s.rows.len() as u64 } else { 0 };
                !is_late
            });
            of_key.iter_mut().for_each(|s| s.known = true);
        }
    }

    /// All rows that were not late, in the sessions that are known now.
    pub(super) fn now(&self) -> InWindows {
        let kept = self.kept.values().flatten();
        let kept = kept.flat_map(|session| in_window(session, self.gap));
        self.done.iter().cloned().chain(kept).collect()
    }
}

fn in_window(session: &Naive, gap: i64) -> InWindows {
    let window = (session.start, session.last + gap);
    session
        .rows
        .iter()
        .map(|row| (row.clone(), window))
        .collect()
}

/// Rows in their sessions, and how many were late.
fn sessions(steps: &[Step], gap: i64, keys: &[&str]) -> (InWindows, u64) {
    let mut oracle = Oracle::new(gap, keys, 0);
    steps.iter().for_each(|step| oracle.step(step));
    (oracle.now(), oracle.late)
}

/// The rows of [`expand`] as text.
fn expanded(rows: &[(Row, (i64, i64))]) -> Vec<String> {
    let mut lines = Vec::new();
    for (row, (start, end)) in rows {
        let row = batch(std::slice::from_ref(row));
        let bounds = batch(&[*start, *end].map(|ts| Row {
            ts: Some(ts),
            key: None,
            name: "",
            value: None,
            flag: false,
        }));
        let mut line: Vec<String> = row
            .columns()
            .iter()
            .map(|c| array_value_to_string(c, 0).unwrap())
            .collect();
        line.extend((0..2).map(|i| array_value_to_string(bounds.column(0), i).unwrap()));
        lines.push(line.join(" | "));
    }
    lines.sort();
    lines
}

fn feed(node: &mut Node, steps: &[Step], mut chance: Option<&mut StdRng>) -> Vec<RecordBatch> {
    for step in steps {
        match step {
            Step::Rows(rows) => node.rows(batch(rows)),
            Step::Watermark(time) => node.watermark(*time),
        }
        if let Some(rng) = chance.as_deref_mut() {
            if rng.random_bool(0.2) {
                node.snapshot();
            }
            if rng.random_bool(0.1) {
                node.restart();
            }
        }
    }
    node.end();
    assert_eq!(node.context.job.memory.reserved(), 0, "nothing is left");
    node.take()
}

#[test]
fn sessions_are_what_joining_rows_gives() {
    for seed in seeds(10) {
        let mut rng = rng("sessions_are_what_joining", seed);
        let gap = [1, 20, 200][rng.random_range(0..3)];
        let keys = KEYS[rng.random_range(0..KEYS.len())];
        let batch_rows = [1, 7, 8_192][rng.random_range(0..3)];
        let steps = random_steps(&mut rng, 500, batch_rows.min(60), 8);
        let (rows, late) = sessions(&steps, gap, keys);
        assert_eq!(late, 0, "the watermark is behind all rows");
        for disturbed in [false, true] {
            let what = format!("gap {gap} keys {keys:?} disturbed {disturbed}");
            let factory = WindowAggregateFactory::try_new(spec(gap, keys), Phase::Single);
            let mut node = Node::any(Arc::new(factory.unwrap()), batch_rows);
            let found = feed(&mut node, &steps, disturbed.then_some(&mut rng));
            assert!(found.iter().all(|b| b.num_rows() <= batch_rows));
            same(&lines(&found), &answer(&rows, keys), &what);
            let mut node = Node::any(expand(gap, keys), batch_rows);
            let found = feed(&mut node, &steps, disturbed.then_some(&mut rng));
            same(&lines(&found), &expanded(&rows), &what);
        }
    }
}

#[test]
fn late_rows_join_open_sessions_only() {
    for seed in seeds(15) {
        let mut rng = rng("late_rows_join_open_sessions", seed);
        let gap = rng.random_range(1..150);
        let keys = KEYS[rng.random_range(0..KEYS.len())];
        let (mut now, mut steps) = (0, Vec::new());
        for _ in 0..80 {
            now += rng.random_range(0..100);
            let rows = (0..rng.random_range(1..12)).map(|_| {
                let ts = now - rng.random_range(0..600);
                let mut row = random_row(&mut rng, ts, 3);
                row.ts = row.ts.filter(|_| rng.random_bool(0.95));
                row
            });
            steps.push(Step::Rows(rows.collect()));
            if rng.random_bool(0.6) {
                steps.push(Step::Watermark(now - rng.random_range(0..300)));
            }
        }
        let (rows, late) = sessions(&steps, gap, keys);
        let mut node = Node::new(&spec(gap, keys), Phase::Single, 64);
        let found = feed(&mut node, &steps, None);
        same(
            &lines(&found),
            &answer(&rows, keys),
            &format!("gap {gap} keys {keys:?}"),
        );
        assert_eq!(node.late(), late);
        assert_eq!(node.context.job.dead_letters.total(), late);
    }
}

#[test]
fn sessions_move_with_their_keys() {
    let mut rng = rng("sessions_move", 1);
    for before in PARALLELISMS {
        for after in PARALLELISMS {
            let gap = rng.random_range(1..100);
            let keys: &[&str] = [&["key"][..], &["name", "key"]][rng.random_range(0..2)];
            let steps = random_steps(&mut rng, 300, 40, 20);
            let (rows, _) = sessions(&steps, gap, keys);
            let what = format!("gap {gap} from {before} to {after}");
            let job = Job::of(&spec(gap, keys), false);
            let found = run(&job, &steps, 100, before, after, &mut rng);
            same(&lines(&found), &answer(&rows, keys), &what);
            let keys: Vec<Arc<dyn PhysicalExpr>> = keys.iter().map(|k| column(k)).collect();
            let job = Job {
                first: None,
                memory: 1 << 30,
                files: Cell::default(),
                last: expand(gap, KEYS[if keys.len() == 1 { 1 } else { 3 }]),
                keys,
            };
            let found = run(&job, &steps, 100, before, after, &mut rng);
            same(&lines(&found), &expanded(&rows), &what);
        }
    }
}

#[test]
fn sessions_that_do_not_fit_go_to_disk() {
    let mut files = 0;
    for seed in seeds(16) {
        let mut rng = rng("sessions_that_do_not_fit", seed);
        let (before, after) = (
            PARALLELISMS[seed as usize % 4],
            PARALLELISMS[seed as usize / 4],
        );
        let gap = rng.random_range(1..200);
        let keys: &[&str] = [&["key"][..], &["name", "key"]][rng.random_range(0..2)];
        let steps = random_steps(&mut rng, 1_000, 60, 40);
        let (rows, _) = sessions(&steps, gap, keys);
        let what = format!("gap {gap} from {before} to {after}");
        let mut job = Job::of(&spec(gap, keys), false);
        job.memory = [16 << 10, 48 << 10][rng.random_range(0..2)];
        let found = run(&job, &steps, 100, before, after, &mut rng);
        same(&lines(&found), &answer(&rows, keys), &what);
        files += job.files.get();
        let exprs: Vec<Arc<dyn PhysicalExpr>> = keys.iter().map(|k| column(k)).collect();
        let job = Job {
            last: expand(gap, keys),
            keys: exprs,
            ..job
        };
        let found = run(&job, &steps, 100, before, after, &mut rng);
        same(&lines(&found), &expanded(&rows), &what);
    }
    assert!(files > 0, "nothing was put on disk");
}

#[test]
fn a_long_session_takes_little() {
    // One row per batch: without rewriting, one payload row per batch would be kept.
    let mut node = Node::new(&spec(1_000, &["key"]), Phase::Single, 100);
    let row = |ts| Row {
        ts: Some(ts),
        key: Some(1),
        name: "a",
        value: Some(1.0),
        flag: true,
    };
    let rows: Vec<Row> = (0..2_000).map(row).collect();
    let mut most = 0;
    for (i, row) in rows.iter().enumerate() {
        node.rows(batch(std::slice::from_ref(row)));
        most = most.max(node.context.job.memory.reserved());
        if i % 100 == 0 {
            node.snapshot();
        }
    }
    assert!(most < 600_000, "{most} bytes");
    node.end();
    let windows: Vec<_> = rows.into_iter().map(|row| (row, (0, 2_999))).collect();
    same(
        &lines(&node.take()),
        &answer(&windows, &["key"]),
        "one session",
    );
}

#[test]
fn an_ordered_aggregate_sees_its_session_in_order() {
    let row = |ts, name, value| Row {
        ts: Some(ts),
        key: Some(1),
        name,
        value: Some(value),
        flag: true,
    };
    let mut node = Node::new(&names_in_order(), Phase::Single, 100);
    node.rows(batch(&[row(0, "b", 2.0), row(50, "e", 5.0)]));
    node.restart();
    node.rows(batch(&[
        row(5, "a", 1.0),
        row(14, "c", 3.0),
        row(45, "d", 4.0),
    ]));
    node.end();
    let found = lines(&node.take()).join("\n");
    expect_test::expect![[r#"
        1970-01-01T00:00:00 | 1970-01-01T00:00:00.000024 | 1 | [a, b, c]
        1970-01-01T00:00:00.000045 | 1970-01-01T00:00:00.000060 | 1 | [d, e]"#]]
    .assert_eq(&found);
}

#[test]
fn what_sessions_cannot_do_is_said() {
    let error = WindowAggregateFactory::try_new(spec(0, &["key"]), Phase::Single).unwrap_err();
    assert!(error.hint_text().is_some());
    assert!(WindowAggregateFactory::try_new(spec(5, &[]), Phase::Local).is_err());
}
