//! Splits that are far ahead of others wait for them.

use super::*;

async fn run_with_drift(splits: usize, parallelism: u32) -> Vec<i64> {
    let whole = || (0..20).map(|i| batch(i * 10..i * 10 + 10)).collect();
    let case = Case {
        splits: (0..splits).map(|_| whole()).collect(),
        unbounded: false,
        act: Some(Act::CheckTime),
        parallelism,
        streaming: true,
    };
    let collect = Arc::new(Collect::default());
    let graph = Arc::new(graph(&case, &collect));
    let (job, _stop) = context();
    let time = TimeOptions {
        streaming: true,
        idle_timeout: None,
        drift_max: Some(Duration::from_micros(1)),
    };
    let clock = job.env.clock_arc();
    let running = Job::start(graph, job, time, None);
    tokio::select! {
        ended = running.wait() => drop(ended.unwrap()),
        () = clock.sleep(Duration::from_secs(60)) => panic!("nobody is read"),
    }
    let mut values = collect.committed.lock().clone();
    values.sort_unstable();
    values
}

/// More files begin at one moment than are open at once: those that wait for their turn must not
/// hold those up that are read.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn files_that_are_not_open_yet_hold_nobody_up() {
    for parallelism in [1, 2] {
        let splits = 3 * limits::OPEN_SPLITS_MAX;
        let values = run_with_drift(splits, parallelism).await;
        let expected: Vec<i64> = (0..200)
            .filter(|value| value % 2 == 1)
            .flat_map(|value| vec![value; splits])
            .collect();
        assert_eq!(values, expected, "parallelism {parallelism}");
    }
}
