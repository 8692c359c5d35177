//! Requests about rows in quarantine, as the tasks of a job take them: which come next, and with which
//! epoch the rows of each go on.
//!
//! A pipeline with checkpoints takes the requests of a table in their order. How far it has come is
//! in the manifest of the epoch that its rows belong to, and in the quarantine once they are shown.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use super::{DeadLetters, Visible};
use crate::error::{Error, Result};
use crate::quarantine::{Action, Quarantine, Request};
use crate::sink::CommitToken;

/// What the payload of a token begins with that says which requests are shown.
const APPLIED: &str = "applied:";

/// How often it is looked, in the time for which rows are kept, whether some are too old.
const LOOKS: i64 = 20;
/// At most so many microseconds pass between two looks: an hour.
const LOOK_MAX: i64 = 3_600_000_000;

/// The last request of each table.
pub(crate) type Numbers = BTreeMap<String, u64>;

/// Which requests a job has taken.
#[derive(Debug, Default)]
pub(super) struct Taken {
    /// Where the run has begun.
    begun: Numbers,
    /// Requests that come later are for another run.
    until: Numbers,
    open: BTreeMap<u64, Numbers>,
    settled: Numbers,
    /// Rows that were taken, by table and what was asked.
    rows: BTreeMap<(String, &'static str), u64>,
}

impl DeadLetters {
    /// The same collector for a pipeline with a quarantine, in which rows are kept for so long; `takes`
    /// if it takes requests.
    #[must_use]
    pub fn with_quarantine(
        self,
        quarantine: Arc<dyn Quarantine>,
        keep: Option<Duration>,
        takes: bool,
    ) -> Self {
        let inner = super::Inner {
            store: Arc::clone(&self.inner.store),
            quarantine: Some(quarantine),
            keep,
            state: Default::default(),
        };
        Self {
            inner: Arc::new(inner),
            takes,
            ..self
        }
    }

    /// Forgets what rows in quarantine hold that are too old, if it is time to look.
    pub(crate) fn expire(&self, now: i64) -> Result<()> {
        let (Some(quarantine), Some(keep)) = (&self.inner.quarantine, self.inner.keep) else {
            return Ok(());
        };
        let keep = i64::try_from(keep.as_micros()).unwrap_or(i64::MAX);
        {
            let mut state = self.inner.state.lock();
            if now < state.expires {
                return Ok(());
            }
            state.expires = now.saturating_add((keep / LOOKS).min(LOOK_MAX));
        }
        quarantine.expire(now.saturating_sub(keep))
    }

    /// The same collector for a task that takes no requests: what it reads is read anew at each
    /// start.
    pub(crate) fn without_requests(&self) -> Self {
        Self {
            takes: false,
            ..self.clone()
        }
    }

    /// Goes on behind the requests that a checkpoint has, or else behind those that were shown.
    pub(super) fn begin_requests(&self, applied: Option<&Numbers>) -> Result<()> {
        let Some(quarantine) = &self.inner.quarantine else {
            return Ok(());
        };
        let begun = match applied {
            Some(applied) => applied.clone(),
            None => {
                let tables = quarantine.tables()?.into_iter();
                let numbered = tables.map(|table| Ok((table.clone(), quarantine.applied(&table)?)));
                numbered.collect::<Result<_>>()?
            }
        };
        let mut state = self.inner.state.lock();
        state.taken.settled = begun.clone();
        state.taken.begun = begun;
        Ok(())
    }

    /// Whether this task takes requests.
    pub(crate) fn takes_requests(&self) -> bool {
        self.takes && self.inner.quarantine.is_some() && matches!(self.visible, Visible::With(_))
    }

    /// The last request of a table that earlier runs have taken.
    pub(crate) fn begun(&self, table: &str) -> u64 {
        let state = self.inner.state.lock();
        state.taken.begun.get(table).copied().unwrap_or(0)
    }

    /// Reads the request of a table behind another one. When nothing becomes visible before the end,
    /// all tasks see those that were there when the first of them asked.
    pub(crate) fn request_after(&self, table: &str, number: u64) -> Result<Option<Request>> {
        let Some(quarantine) = &self.inner.quarantine else {
            return Ok(None);
        };
        let until = {
            let state = self.inner.state.lock();
            let whole = state.ledger.is_whole();
            whole.then(|| state.taken.until.get(table).copied())
        };
        if let Some(known) = until {
            let last = match known {
                Some(last) => last,
                None => {
                    let last = quarantine.last(table)?;
                    let mut state = self.inner.state.lock();
                    *state.taken.until.entry(table.to_owned()).or_insert(last)
                }
            };
            if number >= last {
                return Ok(None);
            }
        }
        quarantine.request(table, number + 1)
    }

    /// Notes that the rows of a request go with the epoch under way.
    pub(crate) fn took(&self, table: &str, request: &Request) {
        if self.muted {
            return;
        }
        let epoch = self.epoch();
        let mut state = self.inner.state.lock();
        let taken = &mut state.taken;
        let open = taken.open.entry(epoch).or_default();
        open.insert(table.to_owned(), request.number);
        if request.action != Action::Discard {
            let of = (table.to_owned(), request.action.status(true));
            *taken.rows.entry(of).or_default() += request.rows.num_rows() as u64;
        }
    }

    /// The requests that the prepared epochs have taken: what a checkpoint keeps of it.
    pub(crate) fn applied(&self) -> Option<Numbers> {
        self.inner.quarantine.as_ref()?;
        Some(self.inner.state.lock().taken.settled.clone())
    }

    /// Rows that this run has taken out of quarantine, by table and by what became of them.
    pub fn taken(&self) -> BTreeMap<(String, &'static str), u64> {
        self.inner.state.lock().taken.rows.clone()
    }

    /// The token of an epoch that has taken requests.
    pub(super) fn settle_requests(&self, epoch: u64) -> Result<Option<CommitToken>> {
        let mut state = self.inner.state.lock();
        let Some(numbers) = state.taken.open.remove(&epoch) else {
            return Ok(None);
        };
        let json = serde_json::to_string(&numbers).map_err(|error| {
            Error::internal("the requests of an epoch cannot be written").caused_by(error)
        })?;
        state.taken.settled.extend(numbers);
        Ok(Some(CommitToken::new(format!("{APPLIED}{json}"), 0, 0)))
    }

    /// Notes in the quarantine what a token says is shown; false for the token of a store.
    pub(super) fn commit_requests(&self, token: &CommitToken) -> Result<bool> {
        let Some(json) = token.payload.strip_prefix(APPLIED) else {
            return Ok(false);
        };
        let numbers: Numbers = serde_json::from_str(json).map_err(|error| {
            Error::internal("the requests of an epoch cannot be read").caused_by(error)
        })?;
        if let Some(quarantine) = &self.inner.quarantine {
            for (table, number) in &numbers {
                quarantine.note_applied(table, *number)?;
            }
        }
        Ok(true)
    }
}
