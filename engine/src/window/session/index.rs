//! Which sessions are open: by key, by their ends, and where their payload rows are. Pure.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::Arc;

/// The number of a session in its subtask.
pub(super) type SessionId = u64;

/// A payload row: its part, and the row in it.
pub(super) type Place = (u64, u32);

/// Bytes that a session takes in the index besides its key and its places.
const SESSION_BYTES: usize = 240;

/// One open session.
#[derive(Debug, Clone)]
pub(super) struct Session {
    pub(super) id: SessionId,
    key: Arc<[u8]>,
    /// The time of its first row.
    pub(super) start: i64,
    /// The time of its last row.
    pub(super) last: i64,
    pub(super) places: Vec<Place>,
    /// A snapshot has it.
    persisted: bool,
}

/// What has become of sessions that a snapshot has.
#[derive(Debug, Default)]
pub(super) struct Ends {
    /// Sessions that are over, or (with another) have become part of it.
    pub(super) ends: Vec<(SessionId, Option<SessionId>)>,
}

/// All open sessions of a subtask.
#[derive(Debug)]
pub(super) struct Index {
    gap: i64,
    keys: HashMap<Arc<[u8]>, Vec<SessionId>>,
    sessions: HashMap<SessionId, Session>,
    /// By the time at which each is over, then by its start.
    closing: BTreeSet<(i64, i64, SessionId)>,
    next: SessionId,
    /// Sessions that have become part of others, while a batch is placed.
    merged: HashMap<SessionId, SessionId>,
    ended: Ends,
    /// Sessions with payload rows that no snapshot has.
    touched: HashSet<SessionId>,
    bytes: usize,
}

impl Index {
    pub(super) fn new(gap: i64) -> Self {
        Self {
            gap,
            keys: HashMap::new(),
            sessions: HashMap::new(),
            closing: BTreeSet::new(),
            next: 0,
            merged: HashMap::new(),
            ended: Ends::default(),
            touched: HashSet::new(),
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
            if self.end_of(last) <= watermark {
                return None;
            }
            return Some(self.add(self.next, key.into(), start, last, false));
        };
        let (mut start, mut last) = (start, last);
        let (mut places, mut persisted) = (Vec::new(), false);
        for id in others {
            if let Some(gone) = self.remove(*id) {
                (start, last) = (start.min(gone.start), last.max(gone.last));
                places.extend(gone.places);
                if gone.persisted {
                    persisted = true;
                    self.ended.ends.push((*id, Some(*first)));
                }
                if self.touched.remove(id) {
                    self.touched.insert(*first);
                }
                self.merged.insert(*id, *first);
            }
        }
        if let Some(session) = self.sessions.get_mut(first) {
            let end = session.last.saturating_add(self.gap);
            self.closing.remove(&(end, session.start, *first));
            session.start = session.start.min(start);
            session.last = session.last.max(last);
            // It has rows that a snapshot has: the next one must say when it ends.
            session.persisted |= persisted;
            // Places are counted again with the session that has them now.
            self.bytes += places.len() * size_of::<Place>();
            session.places.append(&mut places);
            let end = session.last.saturating_add(self.gap);
            self.closing.insert((end, session.start, *first));
        }
        Some(*first)
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
            persisted,
        };
        self.sessions.insert(id, session);
        id
    }

    fn remove(&mut self, id: SessionId) -> Option<Session> {
        let session = self.sessions.remove(&id)?;
        self.closing
            .remove(&(self.end_of(session.last), session.start, id));
        if let Some(of_key) = self.keys.get_mut(&session.key) {
            of_key.retain(|other| *other != id);
            if of_key.is_empty() {
                self.keys.remove(&session.key);
            }
        }
        let own = SESSION_BYTES + session.key.len() + session.places.len() * size_of::<Place>();
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

    /// Takes the session out that is over first, if it is at this watermark.
    pub(super) fn pop(&mut self, watermark: i64) -> Option<Session> {
        let (_, _, id) = self.closing.first().filter(|(end, ..)| *end <= watermark)?;
        let session = self.remove(*id)?;
        self.touched.remove(&session.id);
        if session.persisted {
            self.ended.ends.push((session.id, None));
        }
        Some(session)
    }

    /// What the next snapshot has to say: what has ended, and the sessions with new payload rows,
    /// or all. They count as saved.
    pub(super) fn persist(&mut self, all: bool) -> (Ends, Vec<Session>) {
        let ends = std::mem::take(&mut self.ended);
        let touched = std::mem::take(&mut self.touched);
        let mut ids: Vec<SessionId> = if all {
            self.sessions.keys().copied().collect()
        } else {
            touched.into_iter().collect()
        };
        ids.sort_unstable();
        let mut sessions = Vec::with_capacity(ids.len());
        for id in ids {
            if let Some(session) = self.sessions.get_mut(&id) {
                session.persisted = true;
                sessions.push(session.clone());
            }
        }
        (if all { Ends::default() } else { ends }, sessions)
    }

    /// All sessions by number, to give them other places for their payload rows.
    pub(super) fn replace_places(&mut self, mut change: impl FnMut(&Session) -> Vec<Place>) {
        let mut ids: Vec<SessionId> = self.sessions.keys().copied().collect();
        ids.sort_unstable();
        for id in ids {
            if let Some(session) = self.sessions.get_mut(&id) {
                let places = change(session);
                let (old, new) = (session.places.len(), places.len());
                self.bytes = (self.bytes + new * size_of::<Place>())
                    .saturating_sub(old * size_of::<Place>());
                session.places = places;
            }
        }
    }

    /// All sessions, by number.
    pub(super) fn all(&self) -> Vec<&Session> {
        let mut all: Vec<&Session> = self.sessions.values().collect();
        all.sort_unstable_by_key(|session| session.id);
        all
    }
}
