//! The kill loop: starts the real program, kills it at a random moment, looks, starts it again.

use std::cell::Cell;
use std::time::{Duration, Instant};

use rand::rngs::StdRng;
use rand::{Rng as _, SeedableRng as _};

use super::log::{Durable, Log, Progress};
use crate::program::{Ended, Place, Running};

/// The time between two checkpoints.
pub(crate) const INTERVAL: Duration = Duration::from_millis(300);
/// The share of kills that come while the program starts: before a row that it has read is durable,
/// or just after.
const EARLY: f64 = 0.3;
/// The share of the others that come just after a manifest, while its epoch is committed.
const SHARP: f64 = 0.3;
/// How soon after the manifest those come.
const SHARP_TIME: Duration = Duration::from_millis(60);
/// How long a start may take until a row that it has read is durable, and an epoch after that, in a
/// debug build on a busy machine.
const PROGRESS_MAX: Duration = Duration::from_secs(90);
/// Kills of one output at most: what the judge reads after each of them grows.
const SHARE_MAX: u32 = 25;
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
    pipeline: String,
    /// Decides when, and what is in the rows.
    pub(crate) seed: u64,
    /// Kills still to come.
    pub(crate) left: u32,
    /// Kills so far.
    pub(crate) done: u32,
    chance: StdRng,
    early: u32,
    /// How many kills came after an epoch that has read on.
    moved: u32,
    /// How long the starts took until an epoch of theirs had read on.
    starts: Vec<Duration>,
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
            pipeline: pipeline.to_owned(),
            seed,
            left,
            done: 0,
            chance: StdRng::seed_from_u64(seed),
            early: 0,
            moved: 0,
            starts: Vec::new(),
        }
    }

    /// The kills that are left, in shares for one output each.
    pub(crate) fn shares(&self) -> Vec<u32> {
        let shares = 0..self.left.div_ceil(SHARE_MAX);
        let begun = shares.map(|number| number * SHARE_MAX);
        begun
            .map(|begun| (self.left - begun).min(SHARE_MAX))
            .collect()
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
            let before = log.progress().unwrap_or_default();
            let ended = self.kill(running, log, before);
            let by_itself = ended.code != -1;
            if by_itself {
                ended.ok();
            } else {
                self.done += 1;
                self.left -= 1;
                self.moved += u32::from(log.progress() > Some(before));
            }
            let durable = log.durable();
            log.check_chain();
            look(self.done, &durable);
            if !by_itself && self.done.is_multiple_of(SHARE_MAX) {
                println!("{}: {} kills so far", self.pipeline, self.done);
            }
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
    fn kill(&mut self, mut running: Running, log: &Log, before: Progress) -> Ended {
        let started = Instant::now();
        let typical = self.starts.last().copied().unwrap_or(INTERVAL * 4);
        let early = self.chance.random_bool(EARLY);
        let mut lives = self.moment(typical);
        if early {
            self.early += 1;
        } else {
            // An input that comes late must not make these early as well: then nothing is proved.
            let newest = Cell::new(0);
            running.until_or_end(PROGRESS_MAX, "epoch with rows of this start", || {
                let last = newest.replace(log.newest());
                last != newest.get() && log.progress() > Some(before)
            });
            self.starts.push(started.elapsed());
            lives = started.elapsed() + self.moment(INTERVAL * 3);
        }
        while started.elapsed() < lives && running.is_running() {
            std::thread::sleep(Duration::from_millis(2));
        }
        if !early && self.chance.random_bool(SHARP) {
            let newest = log.newest();
            running.until_or_end(PROGRESS_MAX, "next epoch", || log.newest() > newest);
            std::thread::sleep(self.moment(SHARP_TIME));
        }
        running.kill()
    }

    /// Says what was done, for the pages of `docs/reliability`.
    pub(crate) fn tell(mut self, rows: u64) {
        // Kills that nothing has happened before prove nothing.
        assert!(
            self.moved + self.early >= self.done,
            "{} of {} kills came after an epoch with rows, {} were to be early",
            self.moved,
            self.done,
            self.early
        );
        self.starts.sort_unstable();
        let at = |share: f64| {
            let index = (self.starts.len() as f64 * share) as usize;
            let time = self.starts.get(index).or(self.starts.last());
            time.map_or(0.0, Duration::as_secs_f64)
        };
        println!(
            "{}: {} kills, {} of them after an epoch with rows, {} in the start; {rows} rows, \
             none lost, none doubled; rows of a start durable in {:.2} s (median), {:.2} s (p99), \
             {:.2} s (longest)",
            self.pipeline,
            self.done,
            self.moved,
            self.early,
            at(0.5),
            at(0.99),
            at(1.0)
        );
    }
}
