//! Window and interval joins.

use rand::Rng;
use rand::rngs::StdRng;

use super::harness::*;
use super::oracle::*;
use crate::join::{IntervalJoinFactory, JoinKind, WindowJoinFactory};
use crate::operator::Extent;

/// What a run is of.
#[derive(Debug, Clone, Copy)]
enum Bound {
    /// Times are ends of windows of this length.
    Window(i64),
    Interval(i64, i64),
}

/// Two streams that go on at their own pace: one may be idle or ahead for a while.
fn random_steps(rng: &mut StdRng, bound: Bound, rows: usize, batch_max: usize) -> Vec<Step> {
    let disorder = rng.random_range(0..3_000_000_i64);
    let pace = rng.random_range(1..400_000_i64);
    let keys = rng.random_range(1..12_i64);
    let lateness = if rng.random_bool(0.5) { 0.02 } else { 0.0 };
    let mut now = [rng.random_range(-5_000_000..5_000_000_i64); 2];
    let (mut high, mut merged) = (now, i64::MIN);
    let (mut steps, mut left) = (Vec::new(), rows);
    let mut busy = [true; 2];
    while left > 0 {
        if rng.random_bool(0.1) {
            busy = [rng.random_bool(0.7), rng.random_bool(0.7)];
        }
        let side = rng.random_range(0..2);
        if !busy[side] {
            continue;
        }
        let size = rng.random_range(1..=batch_max).min(left);
        left -= size;
        let batch = (0..size).map(|_| {
            now[side] += rng.random_range(0..=pace);
            high[side] = high[side].max(now[side]);
            let mut time = now[side] - rng.random_range(0..=disorder);
            if rng.random_bool(lateness) {
                time -= rng.random_range(0..10_000_000_i64);
            }
            if let Bound::Window(size) = bound {
                time = (time.div_euclid(size) + 1) * size;
            }
            random_row(rng, time, keys)
        });
        steps.push(Step::Rows(side, batch.collect()));
        let least = high[0].min(high[1]) - disorder;
        if rng.random_bool(0.5) && least > merged {
            merged = least;
            steps.push(Step::Watermark(merged));
        }
    }
    steps
}

fn cluster(
    case: &Case,
    bound: Bound,
    subtasks: usize,
    batch_rows: usize,
    memory: usize,
) -> Cluster {
    let times = [column(0, 0), column(1, 0)];
    match bound {
        Bound::Window(_) => {
            let factory = WindowJoinFactory::try_new(case.spec(), times).unwrap();
            Cluster::new(factory, &case.on, subtasks, batch_rows, memory)
        }
        Bound::Interval(lower, upper) => {
            let factory = IntervalJoinFactory::try_new(case.spec(), times, lower, upper).unwrap();
            Cluster::new(factory, &case.on, subtasks, batch_rows, memory)
        }
    }
}

/// What a run must give, and how many rows are late.
fn expected(case: &Case, bound: Bound, steps: &[Step]) -> (Vec<String>, u64) {
    let (mut kept, mut late, mut watermark) = ([Vec::new(), Vec::new()], 0, i64::MIN);
    for step in steps {
        match step {
            Step::Watermark(time) => watermark = *time,
            Step::Rows(side, rows) => {
                for row in rows {
                    let is_late = row.time.is_some_and(|time| match bound {
                        Bound::Window(_) => time <= watermark,
                        Bound::Interval(..) => time < watermark,
                    });
                    if is_late {
                        late += 1;
                    } else {
                        kept[*side].push(row.clone());
                    }
                }
            }
        }
    }
    let [left, right] = kept;
    let rows = answer(case.kind, &left, &right, |l, r| {
        let (Some(lt), Some(rt)) = (l.time, r.time) else {
            return false;
        };
        let in_time = match bound {
            Bound::Window(_) => lt == rt,
            Bound::Interval(lower, upper) => rt + lower <= lt && lt <= rt + upper,
        };
        in_time && case.matches(l, r)
    });
    (case.lines(rows), late)
}

/// Runs all steps; no result may be older than the watermark that went before it.
fn run(
    cluster: &mut Cluster,
    case: &Case,
    steps: &[Step],
    mut chance: Option<&mut StdRng>,
) -> Vec<String> {
    let (mut lines, mut on) = (Vec::new(), i64::MIN);
    let times: Vec<usize> = (0..case.output.len())
        .filter(|at| case.output[*at].is_multiple_of(COLUMNS))
        .collect();
    for step in steps.iter().map(Some).chain([None]) {
        let mut next = on;
        match step {
            Some(Step::Rows(side, rows)) => cluster.rows(*side, rows),
            Some(Step::Watermark(time)) => next = cluster.watermark(*time),
            None => cluster.end(),
        }
        assert!(next >= on, "the watermark goes back from {on} to {next}");
        let results = cluster.out.take();
        let rows_max = cluster.context.job.batch_rows;
        cluster.note_state();
        assert!(results.iter().all(|batch| batch.num_rows() <= rows_max));
        for row in cells(&results) {
            for time in times.iter().filter_map(|at| row[*at].parse::<i64>().ok()) {
                assert!(time >= on, "{row:?} is older than {on}");
            }
            lines.push(row.join("|"));
        }
        on = next;
        if let Some(rng) = chance.as_deref_mut() {
            cluster.disturb(rng);
        }
    }
    lines.sort();
    lines
}

fn random_bound(rng: &mut StdRng, window: bool) -> Bound {
    if window {
        return Bound::Window(rng.random_range(1..4_000_000));
    }
    let from = rng.random_range(-6_000_000..4_000_000_i64);
    let length = match rng.random_range(0..3) {
        0 => 0,
        1 => rng.random_range(0..1_000_000),
        _ => rng.random_range(0..20_000_000),
    };
    Bound::Interval(from, from + length)
}

fn random_runs(test: &str, window: bool) {
    let mut spilled = 0;
    for seed in seeds(72) {
        let mut rng = rng(test, seed);
        let kind = KINDS[usize::try_from(seed).unwrap() % KINDS.len()];
        let case = Case::random(&mut rng, kind, window);
        let bound = random_bound(&mut rng, window);
        let batch_max = rng.random_range(1..=100);
        let steps = random_steps(&mut rng, bound, 400, batch_max);
        let (expected, late) = expected(&case, bound, &steps);
        let what = format!("seed {seed} {case:?} {bound:?}");

        let batch_rows = rng.random_range(1..=100);
        let subtasks = [1, 2, 3, 5][rng.random_range(0..4)];
        let mut quiet = cluster(&case, bound, 1, batch_rows, 1 << 30);
        same(&run(&mut quiet, &case, &steps, None), &expected, &what);
        let counted = quiet
            .context
            .metrics
            .late
            .load(std::sync::atomic::Ordering::Relaxed);
        assert_eq!(counted, late, "{what}");

        let mut disturbed = cluster(&case, bound, subtasks, batch_rows, 1 << 30);
        let found = run(&mut disturbed, &case, &steps, Some(&mut rng));
        same(&found, &expected, &format!("disturbed {what}"));

        let memory = (quiet.bytes * rng.random_range(50..90) / 100).max(40_000);
        let mut poor = cluster(&case, bound, 1, batch_rows, memory);
        let found = run(&mut poor, &case, &steps, None);
        same(&found, &expected, &format!("with {memory} bytes {what}"));
        spilled += u64::from(poor.files > 0);
        let mut both = cluster(&case, bound, subtasks, batch_rows, memory);
        let found = run(&mut both, &case, &steps, Some(&mut rng));
        same(
            &found,
            &expected,
            &format!("disturbed with {memory} bytes {what}"),
        );
    }
    // A replay of one seed need not spill.
    println!("{spilled} runs had rows on disk");
    assert!(spilled > 20 || std::env::var("SEED").is_ok());
}

#[test]
fn window_joins_give_the_naive_answer() {
    random_runs("window_joins_give_the_naive_answer", true);
}

#[test]
fn interval_joins_give_the_naive_answer() {
    random_runs("interval_joins_give_the_naive_answer", false);
}

#[test]
fn a_snapshot_holds_what_changed() {
    let mut rng = rng("a_snapshot_holds_what_changed", 1);
    let mut case = Case::random(&mut rng, JoinKind::Left, false);
    case.filtered = false;
    let mut cluster = cluster(&case, Bound::Interval(-10, 10), 1, 100, 1 << 30);
    let row = |time, key| Row {
        time: Some(time),
        key: Some(key),
        name: "a",
        value: 0,
    };
    cluster.rows(0, &(0..100).map(|key| row(5, key)).collect::<Vec<_>>());
    cluster.snapshot(Extent::Changes);
    assert_eq!(cluster.saved_rows(), 1 + 100);
    cluster.snapshot(Extent::Changes);
    assert_eq!(cluster.saved_rows(), 1 + 100 + 1);
    // One row that is new, one count that is.
    cluster.rows(1, &[row(6, 7)]);
    cluster.snapshot(Extent::Changes);
    assert_eq!(cluster.saved_rows(), 1 + 100 + 1 + 3);
    cluster.snapshot(Extent::All);
    assert_eq!(cluster.saved_rows(), 1 + 101);
}

#[test]
fn late_rows_are_dead_letters() {
    let mut rng = rng("late_rows_are_dead_letters", 1);
    let case = Case::random(&mut rng, JoinKind::Left, false);
    let times = [column(0, 0), column(1, 0)];
    let factory = IntervalJoinFactory::try_new(case.spec(), times, -10, 10).unwrap();
    let factory = factory.with_sources(["orders".into(), "payments".into()]);
    let mut cluster = Cluster::new(factory, &case.on, 1, 100, 1 << 30);
    cluster.watermark(50);
    let row = |time| Row {
        time: Some(time),
        key: Some(7),
        name: "a",
        value: 0,
    };
    cluster.rows(1, &[row(50), row(49)]);
    let counts = cluster.context.job.dead_letters.counts();
    assert_eq!(format!("{counts:?}"), r#"{("payments", "late"): 1}"#);
}
