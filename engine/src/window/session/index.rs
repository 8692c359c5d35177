//! Which sessions are kept: by key, by their ends, where their payload rows are, and what they have
//! given. Pure.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::Arc;

use super::given::{Given, GivenBy};
use crate::window::emit::Firing;

/// The number of a session in its subtask.
pub(super) type SessionId = u64;

/// A payload row: its part, and the row in it.
pub(super) type Place = (u64, u32);

/// Bytes that a session takes in the index besides its key and its places.
const SESSION_BYTES: usize = 240;

/// When a session is over, when it starts, and which it is.
type Moment = (i64, i64, SessionId);

/// One session.
#[derive(Debug, Clone)]
pub(super) struct Session {
    pub(super) id: SessionId,
    pub(super) key: Arc<[u8]>,
    /// The time of its first row.
    pub(super) start: i64,
    /// The time of its last row.
    pub(super) last: i64,
    pub(super) places: Vec<Place>,
    /// What it and the sessions that have become part of it have given, and not taken back.
    pub(super) given: Vec<Given>,
    /// A snapshot has it.
    persisted: bool,
}

/// What has become of sessions that a snapshot has.
#[derive(Debug, Default)]
pub(super) struct Ends {
    /// Sessions that are over, or (with another) have become part of it.
    pub(super) ends: Vec<(SessionId, Option<SessionId>)>,
}

/// What a snapshot has to say.
#[derive(Debug, Default)]
pub(super) struct News {
    pub(super) ends: Ends,
    /// Sessions with new payload rows.
    pub(super) sessions: Vec<Session>,
    /// What sessions have given.
    pub(super) given: Vec<GivenBy>,
}

/// All sessions of a subtask.
#[derive(Debug)]
pub(super) struct Index {
    gap: i64,
    firing: Firing,
    keys: HashMap<Arc<[u8]>, Vec<SessionId>>,
    sessions: HashMap<SessionId, Session>,
    /// By the time at which each is over, then by its start.
    closing: BTreeSet<Moment>,
    /// Where results are updated: the sessions that have changed since they gave theirs.
    dirty: BTreeSet<Moment>,
    next: SessionId,
    /// Sessions that have become part of others, while a batch is placed.
    merged: HashMap<SessionId, SessionId>,
    ended: Ends,
    /// Sessions with payload rows that no snapshot has.
    touched: HashSet<SessionId>,
    /// Sessions that have given what no snapshot has.
    unsaved: HashSet<SessionId>,
    bytes: usize,
}

impl Index {
    pub(super) fn new(gap: i64, firing: Firing) -> Self {
        Self {
            gap,
            firing,
            keys: HashMap::new(),
            sessions: HashMap::new(),
            closing: BTreeSet::new(),
            dirty: BTreeSet::new(),
            next: 0,
            merged: HashMap::new(),
            ended: Ends::default(),
            touched: HashSet::new(),
            unsaved: HashSet::new(),
            bytes: 0,
        }
    }

    pub(super) fn len(&self) -> usize {
        self.sessions.len()
    }

    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    pub(super) fn end_of(&self, last: i64) -> i64 {
        last.saturating_add(self.gap)
    }

    /// The watermark at which a session with this last row takes no more rows.
    fn gone(&self, last: i64) -> i64 {
        self.firing.gone(self.end_of(last))
    }

    fn moment(&self, session: &Session) -> Moment {
        (self.end_of(session.last), session.start, session.id)
    }

    /// Finds or makes the session of rows of a key that are less than the gap apart. `None` when
    /// they are late. Sessions that the rows connect become one.
    pub(super) fn place(
        &mut self,
        key: &[u8],
        start: i64,
        last: i64,
        watermark: i64,
    ) -> Option<SessionId> {
        let near = |session: &Session| {
            start < self.end_of(session.last) && session.start < self.end_of(last)
        };
        let of_key = self.keys.get(key).map_or(&[][..], Vec::as_slice);
        let found = of_key
            .iter()
            .copied()
            .filter(|id| self.sessions.get(id).is_some_and(near));
        let found: Vec<SessionId> = found.collect();
        let Some((first, others)) = found.split_first() else {
            if self.gone(last) <= watermark {
                return None;
            }
            let id = self.add(self.next, key.into(), start, last, false);
            self.touch(id);
            return Some(id);
        };
        let gone: Vec<Session> = others.iter().filter_map(|id| self.remove(*id)).collect();
        for gone in &gone {
            if gone.persisted {
                self.ended.ends.push((gone.id, Some(*first)));
            }
            for noted in [&mut self.touched, &mut self.unsaved] {
                if noted.remove(&gone.id) {
                    noted.insert(*first);
                }
            }
            self.merged.insert(gone.id, *first);
        }
        let before = self.sessions.get(first).map(|s| self.moment(s));
        if let Some(before) = before {
            self.closing.remove(&before);
            self.dirty.remove(&before);
        }
        if let Some(session) = self.sessions.get_mut(first) {
            session.start = session.start.min(start);
            session.last = session.last.max(last);
            for mut gone in gone {
                // What is there is counted again with the session that has it now.
                self.bytes += content_bytes(&gone);
                session.start = session.start.min(gone.start);
                session.last = session.last.max(gone.last);
                // It has rows that a snapshot has: the next one must say when it ends.
                session.persisted |= gone.persisted;
                session.places.append(&mut gone.places);
                session.given.append(&mut gone.given);
            }
        }
        if let Some(after) = self.sessions.get(first).map(|s| self.moment(s)) {
            self.closing.insert(after);
        }
        self.touch(*first);
        Some(*first)
    }

    /// The session has changed: it has other results to give.
    pub(super) fn touch(&mut self, id: SessionId) {
        if !self.firing.is_updating() {
            return;
        }
        if let Some(moment) = self.sessions.get(&id).map(|s| self.moment(s)) {
            self.dirty.insert(moment);
        }
    }

    /// Adds a session as it is: under this number, if no other has it.
    pub(super) fn add(
        &mut self,
        number: SessionId,
        key: Arc<[u8]>,
        start: i64,
        last: i64,
        persisted: bool,
    ) -> SessionId {
        let id = if self.sessions.contains_key(&number) {
            self.next
        } else {
            number
        };
        self.next = self.next.max(id + 1);
        self.bytes += SESSION_BYTES + key.len();
        self.keys.entry(Arc::clone(&key)).or_default().push(id);
        self.closing.insert((self.end_of(last), start, id));
        let session = Session {
            id,
            key,
            start,
            last,
            places: Vec::new(),
            given: Vec::new(),
            persisted,
        };
        self.sessions.insert(id, session);
        id
    }

    fn remove(&mut self, id: SessionId) -> Option<Session> {
        let session = self.sessions.remove(&id)?;
        let moment = self.moment(&session);
        self.closing.remove(&moment);
        self.dirty.remove(&moment);
        if let Some(of_key) = self.keys.get_mut(&session.key) {
            of_key.retain(|other| *other != id);
            if of_key.is_empty() {
                self.keys.remove(&session.key);
            }
        }
        let own = SESSION_BYTES + session.key.len() + content_bytes(&session);
        self.bytes = self.bytes.saturating_sub(own);
        Some(session)
    }

    /// The session that a placed one has become part of since.
    pub(super) fn resolve(&self, id: SessionId) -> SessionId {
        let mut id = id;
        while let Some(into) = self.merged.get(&id) {
            id = *into;
        }
        id
    }

    /// Gives a payload row to a session. A row that is new must be in the next snapshot.
    pub(super) fn give(&mut self, id: SessionId, place: Place, is_new: bool) {
        if let Some(session) = self.sessions.get_mut(&id) {
            session.places.push(place);
            self.bytes += size_of::<Place>();
            if is_new {
                self.touched.insert(id);
            }
        }
    }

    /// All rows of a batch have their sessions.
    pub(super) fn placed(&mut self) {
        self.merged.clear();
    }

    /// Takes the session out that is over first, if it takes no more rows at this watermark.
    pub(super) fn pop(&mut self, watermark: i64) -> Option<Session> {
        let (end, _, id) = self.closing.first()?;
        if self.firing.gone(*end) > watermark {
            return None;
        }
        let session = self.remove(*id)?;
        self.touched.remove(&session.id);
        self.unsaved.remove(&session.id);
        if session.persisted {
            self.ended.ends.push((session.id, None));
        }
        Some(session)
    }

    /// Takes note of sessions that are to give their results, in order of their ends, up to and
    /// with `upto`: as many as have so many payload rows.
    pub(super) fn take_dirty(&mut self, upto: i64, rows: usize) -> Vec<SessionId> {
        let (mut ids, mut found) = (Vec::new(), 0);
        while found < rows
            && let Some((_, _, id)) = self.dirty.first().copied().filter(|m| m.0 <= upto)
        {
            self.dirty.pop_first();
            found += self.get(id).map_or(0, |session| session.places.len());
            ids.push(id);
        }
        ids
    }

    /// A session has given this, and taken back what it gave before.
    pub(super) fn set_given(&mut self, id: SessionId, given: Given) {
        self.unsaved.insert(id);
        self.put_given(id, vec![given]);
    }

    /// What a session has given, as far as a snapshot has it.
    pub(super) fn put_given(&mut self, id: SessionId, given: Vec<Given>) {
        if let Some(session) = self.sessions.get_mut(&id) {
            let before = content_bytes(session);
            session.given = given;
            self.bytes = (self.bytes + content_bytes(session)).saturating_sub(before);
        }
    }

    pub(super) fn get(&self, id: SessionId) -> Option<&Session> {
        self.sessions.get(&id)
    }

    /// What the next snapshot has to say: what has ended, and the sessions with new payload rows or
    /// new results, or all. They count as saved.
    pub(super) fn persist(&mut self, all: bool) -> News {
        let ends = std::mem::take(&mut self.ended);
        let touched = std::mem::take(&mut self.touched);
        let unsaved = std::mem::take(&mut self.unsaved);
        let every = || self.sessions.keys().copied().collect();
        let (mut ids, mut gave): (Vec<_>, Vec<_>) = if all {
            (every(), every())
        } else {
            (touched.into_iter().collect(), unsaved.into_iter().collect())
        };
        ids.sort_unstable();
        gave.sort_unstable();
        let mut sessions = Vec::with_capacity(ids.len());
        for id in ids {
            if let Some(session) = self.sessions.get_mut(&id) {
                session.persisted = true;
                sessions.push(session.clone());
            }
        }
        let gave = gave.iter().filter_map(|id| self.sessions.get(id));
        let gave = gave.filter(|session| !session.given.is_empty());
        let given = gave.map(|session| GivenBy {
            id: session.id,
            key: Arc::clone(&session.key),
            given: session.given.clone(),
            stale: self.dirty.contains(&self.moment(session)),
        });
        News {
            given: given.collect(),
            ends: if all { Ends::default() } else { ends },
            sessions,
        }
    }

    /// Gives a session other places for its payload rows.
    pub(super) fn replace_places(&mut self, id: SessionId, places: Vec<Place>) {
        if let Some(session) = self.sessions.get_mut(&id) {
            let before = content_bytes(session);
            session.places = places;
            self.bytes = (self.bytes + content_bytes(session)).saturating_sub(before);
        }
    }

    /// The numbers of all sessions, in order.
    pub(super) fn ids(&self) -> Vec<SessionId> {
        let mut ids: Vec<SessionId> = self.sessions.keys().copied().collect();
        ids.sort_unstable();
        ids
    }
}

/// Bytes of what a session has: its places, and what it has given.
fn content_bytes(session: &Session) -> usize {
    let given = session.given.iter().map(Given::bytes).sum::<usize>();
    session.places.len() * size_of::<Place>() + given
}
