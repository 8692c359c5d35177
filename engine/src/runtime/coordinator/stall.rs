//! Says what an epoch waits for that is under way for long: a job that takes no checkpoint does not
//! keep silent about it.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;

use crate::env::Clock;

/// An epoch that is under way for so long is told, and again each time as much has passed.
const PATIENCE: Duration = Duration::from_secs(20);
/// Names of tasks in a message: the first few show where to look.
const NAMES_MAX: usize = 8;

/// What the epoch under way waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Waits {
    /// Tasks that have not passed its barrier.
    Tasks,
    /// Its state files.
    State,
    /// Its manifest.
    Manifest,
    /// The sinks that show its rows.
    Sinks,
    /// The removal of what is not needed any more.
    Garbage,
}

/// Where the epoch under way stands; shared between the coordinator and who watches it.
#[derive(Debug, Clone)]
pub(super) struct Stage {
    tasks: Arc<[String]>,
    under: Arc<Mutex<Option<Under>>>,
}

#[derive(Debug)]
struct Under {
    epoch: u64,
    waits: Waits,
    since: Duration,
    told: Duration,
    passed: BTreeSet<usize>,
}

impl Stage {
    /// Takes the names of the tasks, by their numbers.
    pub(super) fn new(tasks: Vec<String>) -> Self {
        Self {
            tasks: tasks.into(),
            under: Arc::default(),
        }
    }

    /// An epoch is under way from now on; these tasks have ended before.
    pub(super) fn begin(&self, epoch: u64, now: Duration, ended: &BTreeSet<usize>) {
        *self.under.lock() = Some(Under {
            epoch,
            waits: Waits::Tasks,
            since: now,
            told: now,
            passed: ended.clone(),
        });
    }

    /// It waits for something else. The last epoch begins with it, when all tasks have ended.
    pub(super) fn waits(&self, epoch: u64, waits: Waits, now: Duration) {
        let mut under = self.under.lock();
        let under = under.get_or_insert_with(|| Under {
            epoch,
            waits,
            since: now,
            told: now,
            passed: BTreeSet::new(),
        });
        under.waits = waits;
    }

    /// A task has passed its barrier, or has ended.
    pub(super) fn passed(&self, task: usize) {
        if let Some(under) = &mut *self.under.lock() {
            under.passed.insert(task);
        }
    }

    /// It is done.
    pub(super) fn end(&self) {
        *self.under.lock() = None;
    }

    /// Tells of an epoch that takes long, for ever.
    pub(super) async fn watch(self, clock: Arc<dyn Clock>) {
        loop {
            clock.sleep(PATIENCE / 4).await;
            if let Some(text) = self.told(clock.monotonic()) {
                tracing::warn!("{text}");
            }
        }
    }

    /// What there is to tell at this time.
    fn told(&self, now: Duration) -> Option<String> {
        let mut under = self.under.lock();
        let under = under.as_mut()?;
        if now.saturating_sub(under.told) < PATIENCE {
            return None;
        }
        under.told = now;
        let (epoch, span) = (under.epoch, now.saturating_sub(under.since).as_secs());
        let what = match under.waits {
            Waits::Tasks => format!("{} to pass its barrier", self.left(&under.passed)),
            Waits::State => "its state to be written".to_owned(),
            Waits::Manifest => "its manifest to be durable".to_owned(),
            Waits::Sinks => "the sinks to show its rows".to_owned(),
            Waits::Garbage => "what is not needed any more to be removed".to_owned(),
        };
        Some(format!(
            "checkpoint {epoch} has been under way for {span} s: it waits for {what}"
        ))
    }

    fn left(&self, passed: &BTreeSet<usize>) -> String {
        let tasks = self.tasks.iter().enumerate();
        let left = tasks.filter(|(number, _)| !passed.contains(number));
        let left: Vec<&str> = left.map(|(_, name)| name.as_str()).collect();
        let shown = left.iter().take(NAMES_MAX).copied().collect::<Vec<_>>();
        let shown = shown.join(", ");
        match left.len().checked_sub(NAMES_MAX) {
            Some(more) if more > 0 => format!("{shown} and {more} more"),
            _ => shown,
        }
    }
}

#[cfg(test)]
mod tests {
    use expect_test::expect;

    use super::*;

    #[test]
    fn an_epoch_that_takes_long_is_told_with_what_it_waits_for() {
        let names = (0..12).map(|number| format!("scan[{number}]"));
        let stage = Stage::new(names.collect());
        let mut text = String::new();
        let mut look = |stage: &Stage, second: u64| {
            if let Some(told) = stage.told(Duration::from_secs(second)) {
                text.push_str(&format!("{second}: {told}\n"));
            }
        };
        look(&stage, 1_000);
        stage.begin(7, Duration::from_secs(1_000), &BTreeSet::from([3]));
        look(&stage, 1_019);
        look(&stage, 1_020);
        look(&stage, 1_030);
        (4..12).for_each(|task| stage.passed(task));
        look(&stage, 1_040);
        stage.waits(7, Waits::Manifest, Duration::from_secs(1_041));
        look(&stage, 1_060);
        stage.end();
        look(&stage, 1_080);
        expect![[r#"
            1020: checkpoint 7 has been under way for 20 s: it waits for scan[0], scan[1], scan[2], scan[4], scan[5], scan[6], scan[7], scan[8] and 3 more to pass its barrier
            1040: checkpoint 7 has been under way for 40 s: it waits for scan[0], scan[1], scan[2] to pass its barrier
            1060: checkpoint 7 has been under way for 60 s: it waits for its manifest to be durable
        "#]]
        .assert_eq(&text);
    }
}
