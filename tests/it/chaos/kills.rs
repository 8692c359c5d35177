//! The kill loop: starts the real program, kills it at a random moment, looks, starts it again.

use std::time::{Duration, Instant};

use rand::rngs::StdRng;
use rand::{Rng as _, SeedableRng as _};

use super::log::{Durable, Log};
use crate::program::{Ended, Place, Running};

/// The time between two checkpoints.
pub(crate) const INTERVAL: Duration = Duration::from_millis(300);
/// The share of kills that come before the program has taken its pipeline over, or just after.
const EARLY: f64 = 0.3;
/// The longest time to take a pipeline over, in a debug build on a busy machine.
const TAKE_OVER_MAX: Duration = Duration::from_secs(90);
/// Flags of every run: small, since several run at once.
pub(crate) const FLAGS: [&str; 6] = [
    "--state",
    "state",
    "--parallelism",
    "2",
    "--memory",
    "256MB",
];

/// How many kills there are to be in all, over the four pipelines: `CHAOS_KILLS`, 20 when unset.
pub(crate) fn planned(pipelines: u32) -> u32 {
    number("CHAOS_KILLS", 20).div_ceil(pipelines)
}

/// A number from the environment.
pub(crate) fn number(name: &str, default: u32) -> u32 {
    std::env::var(name).map_or(default, |text| text.parse().unwrap())
}

/// The kills of one pipeline.
#[derive(Debug)]
pub(crate) struct Kills {
    /// Decides when, and what is in the rows.
    pub(crate) seed: u64,
    /// Kills still to come.
    pub(crate) left: u32,
    /// Kills so far.
    pub(crate) done: u32,
    chance: StdRng,
    early: u32,
    took_over: Vec<Duration>,
}

/// How a round of kills came to its end.
#[derive(Debug)]
pub(crate) enum Round {
    /// The pipeline has read all of its input and shown all of its rows.
    Over,
    /// No kill is left: this run goes on undisturbed.
    Undisturbed(Running),
}

impl Kills {
    /// Plans so many kills. `CHAOS_SEED` repeats the moments of an earlier run.
    pub(crate) fn plan(pipeline: &str, left: u32) -> Self {
        let since = std::time::SystemTime::UNIX_EPOCH.elapsed().unwrap();
        let seed = std::env::var("CHAOS_SEED").map_or_else(
            |_| u64::from(since.subsec_nanos()),
            |text| text.parse().unwrap(),
        );
        println!("{pipeline}: CHAOS_SEED={seed}, {left} kills");
        Self {
            seed,
            left,
            done: 0,
            chance: StdRng::seed_from_u64(seed),
            early: 0,
            took_over: Vec::new(),
        }
    }

    /// A moment in a span, uniformly.
    pub(crate) fn moment(&mut self, span: Duration) -> Duration {
        span.mul_f64(self.chance.random())
    }

    /// A number below another, uniformly.
    pub(crate) fn below(&mut self, end: usize) -> usize {
        self.chance.random_range(0..end)
    }

    /// Kills one pipeline until it is over or no kill is left; `look` judges after each kill.
    pub(crate) fn round(
        &mut self,
        place: &Place,
        script: &str,
        log: &Log,
        look: &mut dyn FnMut(u32, &Durable),
    ) -> Round {
        loop {
            // The state moves between subtasks at nearly each start.
            let [state, folder, parallelism, _, memory, bytes] = FLAGS;
            let subtasks = ["1", "2", "3"][self.below(3)];
            let flags = [state, folder, parallelism, subtasks, memory, bytes];
            let running = place.start(script, &flags);
            if self.left == 0 {
                return Round::Undisturbed(running);
            }
            let ended = self.kill(running, log);
            let by_itself = ended.code != -1;
            if by_itself {
                ended.ok();
            } else {
                self.done += 1;
                self.left -= 1;
            }
            let durable = log.durable();
            log.check_chain();
            look(self.done, &durable);
            assert!(
                durable.over || !by_itself,
                "it has ended, and its log says that it goes on"
            );
            if durable.over {
                return Round::Over;
            }
        }
    }

    /// Lets a run live for a random time.
    fn kill(&mut self, mut running: Running, log: &Log) -> Ended {
        let (started, before) = (Instant::now(), log.newest());
        let typical = self.took_over.last().copied().unwrap_or(INTERVAL);
        let lives = if self.chance.random_bool(EARLY) {
            self.early += 1;
            self.moment(typical * 2)
        } else {
            while log.newest() == before && running.is_running() {
                assert!(
                    started.elapsed() < TAKE_OVER_MAX,
                    "it does not start:\n{}",
                    running.said()
                );
                std::thread::sleep(Duration::from_millis(2));
            }
            self.took_over.push(started.elapsed());
            started.elapsed() + self.moment(INTERVAL * 3)
        };
        while started.elapsed() < lives && running.is_running() {
            std::thread::sleep(Duration::from_millis(2));
        }
        running.kill()
    }

    /// Says what was done, for the pages of `docs/reliability`.
    pub(crate) fn tell(mut self, pipeline: &str, rows: u64) {
        self.took_over.sort_unstable();
        let at = |share: f64| {
            let index = (self.took_over.len() as f64 * share) as usize;
            let time = self.took_over.get(index).or(self.took_over.last());
            time.map_or(0.0, Duration::as_secs_f64)
        };
        println!(
            "{pipeline}: {} kills, {} of them early; {rows} rows, none lost, none doubled; taken \
             over in {:.2} s (median), {:.2} s (p99), {:.2} s (longest)",
            self.done,
            self.early,
            at(0.5),
            at(0.99),
            at(1.0)
        );
    }
}
