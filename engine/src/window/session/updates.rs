//! Sessions whose results change after they were given: early ones, and those of sessions that are
//! kept for late rows. A session that has grown, or joined another, takes back what it and the
//! other have given when it gives its results again; what is equal gives nothing.

use super::given::Codec;
use super::index::{Session, SessionId};
use super::operator::{Sessions, places_of};
use super::payload::Payload;
use super::store::gather;
use crate::error::Result;
use crate::operator::Output;
use crate::window::emit::{Emit, Firing};

/// Payload rows of a session that are merged again with each result; more are rewritten as one.
const PLACES_MAX: usize = 16;

/// What updated results need.
#[derive(Debug)]
pub(super) struct Updates {
    pub(super) codec: Codec,
    firing: Firing,
    /// The time of day at which results are given next.
    next: i64,
}

impl Updates {
    /// `None` where each session gives its results once.
    pub(super) fn of(payload: &Payload) -> Result<Option<Self>> {
        match payload {
            Payload::Aggregate { program, .. } if program.firing.is_updating() => Ok(Some(Self {
                codec: Codec::new(program)?,
                firing: program.firing,
                next: 0,
            })),
            Payload::Aggregate { .. } | Payload::Expand { .. } => Ok(None),
        }
    }
}

impl Sessions {
    /// Gives the results that do not wait for the time of day.
    pub(super) fn fire_due(&mut self, out: &mut Output) -> Result<()> {
        let Some(updates) = &self.updates else {
            return Ok(());
        };
        let upto = match updates.firing.emit {
            Emit::OnUpdate => i64::MAX,
            Emit::OnClose | Emit::Every(_) => self.watermark,
        };
        self.fire(upto, out)
    }

    /// Gives early results when it is their time.
    pub(super) fn fire_at(&mut self, now_micros: i64, out: &mut Output) -> Result<()> {
        let Some(updates) = &mut self.updates else {
            return Ok(());
        };
        let Emit::Every(every) = updates.firing.emit else {
            return Ok(());
        };
        if updates.next <= now_micros {
            updates.next = now_micros.saturating_add(every.max(1));
            self.fire(i64::MAX, out)?;
        }
        Ok(())
    }

    /// Gives the results of sessions that have changed and end no later than `upto`.
    fn fire(&mut self, upto: i64, out: &mut Output) -> Result<()> {
        loop {
            let ids = self.index.take_dirty(upto, self.batch_rows);
            if ids.is_empty() {
                break;
            }
            self.give(&ids, out)?;
        }
        self.collector.flush(out)?;
        self.tidy()?;
        self.account()
    }

    fn give(&mut self, ids: &[SessionId], out: &mut Output) -> Result<()> {
        if self.payload.merges() {
            let many = |id: &SessionId| {
                let session = self.index.get(*id);
                session.is_some_and(|s| s.places.len() > PLACES_MAX)
            };
            let many: Vec<SessionId> = ids.iter().copied().filter(many).collect();
            self.rewrite(&many)?;
        }
        let Some(updates) = &self.updates else {
            return Ok(());
        };
        let sessions: Vec<&Session> = ids.iter().filter_map(|id| self.index.get(*id)).collect();
        let (places, groups) = places_of(sessions.iter().map(|s| s.places.as_slice()));
        let columns = gather(&self.store.parts(), &places)?;
        let groups = self.payload.results(&columns, &groups, sessions.len())?;
        let end_of = |last| self.index.end_of(last);
        let (batch, given) = updates.codec.change(&sessions, end_of, &groups)?;
        for (id, given) in given {
            self.index.set_given(id, given);
        }
        batch.map_or(Ok(()), |batch| self.collector.push(batch, out))
    }
}
