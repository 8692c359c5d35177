//! Rows that refer to a table without an end: one whose key has not come waits for it, and breaks the
//! rule when its grace is over.
//!
//! The grace goes by the event time where both sides have a watermark: a row with the time `t` is given
//! up when the watermark of both has passed `t` and the grace, so that it doesn't matter which side was
//! read faster. Else it goes by the clock, from the arrival of the row on. A row that waits holds the
//! watermark back to its own time, so that nobody behind takes it for late. At the end of all input the
//! rows that still wait break the rule.

mod known;
mod operator;
mod read;
#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::Duration;

use arrow::datatypes::SchemaRef;
use arrow::record_batch::RecordBatch;

use self::operator::Referring;
pub(super) use self::read::Read;
use super::stage::Stage;
use super::state::{Part, hashes};
use crate::changelog;
use crate::error::Result;
use crate::graph::KeysOf;
use crate::job::TaskContext;
use crate::operator::{Consumes, Operator, OperatorFactory};
use crate::spill::{self, Spillable};
use crate::updating::codec::evaluate;

/// Parts of the grace by the clock after which rows on disk are looked at: so much longer they may wait.
const VISITS: u32 = 4;

/// Makes the operators of a rule that refers to a stream: input 0 has the rows, input 1 the keys.
#[derive(Debug)]
pub struct ReferringFactory {
    of: Arc<Referral>,
    table: String,
    of_source: bool,
}

/// What the operator does, without its state.
#[derive(Debug)]
struct Referral {
    stage: Arc<Stage>,
    /// The grace goes by the event time.
    by_event_time: bool,
    /// The keys come with a watermark.
    keys_have_time: bool,
    /// Of keys that come and go: there is one row of each at most.
    one_per_key: bool,
}

impl ReferringFactory {
    /// Judges the rows of a table, `of_source` if it is a source, by these keys.
    pub fn new(table: &str, stage: Arc<Stage>, of_source: bool, keys: &KeysOf) -> Self {
        let has_time = stage.refers().is_some_and(|refers| refers.time.is_some());
        Self {
            of: Arc::new(Referral {
                stage,
                by_event_time: keys.have_time && has_time,
                keys_have_time: keys.have_time,
                one_per_key: keys.one_per_key,
            }),
            table: table.to_owned(),
            of_source,
        }
    }
}

impl OperatorFactory for ReferringFactory {
    fn outlives_input(&self) -> bool {
        true
    }

    fn schema(&self) -> SchemaRef {
        Arc::clone(self.of.stage.schema())
    }

    fn create(&self, context: &TaskContext) -> Result<Box<dyn Operator>> {
        spill::create(Arc::clone(&self.of) as _, context)
    }

    fn describe(&self) -> String {
        let clock = match self.of.by_event_time {
            true => "event time",
            false => "clock",
        };
        format!("Rules {}: {} by={clock}", self.table, self.of.stage)
    }

    fn fingerprint(&self) -> Option<String> {
        let stage = self.of.stage.fingerprint().ok()?;
        Some(format!("{stage} by event time: {}", self.of.by_event_time))
    }

    fn timeless(&self) -> Option<usize> {
        (!self.of.keys_have_time).then_some(1)
    }

    fn consumes(&self) -> Consumes {
        Consumes::Holds {
            of_source: self.of_source,
        }
    }
}

impl Spillable for Referral {
    fn what(&self) -> &'static str {
        "keys of rules"
    }

    fn make(&self, context: &TaskContext) -> Result<Box<dyn Operator>> {
        let how = (self.by_event_time, self.one_per_key);
        let stage = Arc::clone(&self.stage);
        Ok(Box::new(Referring::new(stage, how, context)?))
    }

    fn hashes(&self, input: usize, rows: &RecordBatch) -> Result<Vec<u64>> {
        match input {
            0 => spill::hashes_of(&evaluate(self.stage.key(), rows)?, rows.num_rows()),
            _ => spill::hashes_of(changelog::split(rows).0, rows.num_rows()),
        }
    }

    fn state_hashes(&self, state: &RecordBatch) -> Result<Option<Vec<u64>>> {
        match Part::of(state)? {
            Part::NoneWait => Ok(None),
            Part::Waiting => self.hashes(0, state).map(Some),
            Part::Gone(_) | Part::Kept(_) => hashes(state).map(Some),
        }
    }

    fn follows_watermarks(&self) -> bool {
        self.by_event_time
    }

    fn visited_every(&self) -> Option<Duration> {
        let grace = self.stage.refers().map_or(0, |refers| refers.grace);
        let grace = Duration::from_micros(grace.unsigned_abs());
        (!self.by_event_time).then(|| grace / VISITS)
    }

    fn gives_by_clock(&self) -> bool {
        !self.by_event_time
    }

    fn holds_back(&self) -> bool {
        true
    }
}
