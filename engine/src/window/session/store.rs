//! The payload rows of open sessions: parts that never change, from which rows are gathered.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef};
use arrow::compute::interleave;

use super::index::Place;
use crate::error::{Error, Result};
use crate::window::part::Part;

/// Parts that are kept apart; more are rewritten as one.
const PARTS_MAX: usize = 256;
/// Payload rows up to which dead ones do not matter.
const ROWS_MIN: usize = 8_192;

/// All payload rows of a subtask.
#[derive(Debug, Default)]
pub(super) struct Store {
    parts: BTreeMap<u64, Kept>,
    next: u64,
    rows: usize,
    live: usize,
    bytes: usize,
}

#[derive(Debug)]
struct Kept {
    part: Arc<Part>,
    live: usize,
    persisted: bool,
}

/// Parts by number, as they were at one moment.
pub(super) type Parts = BTreeMap<u64, Arc<Part>>;

impl Store {
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Adds payload rows; gives the number of their part.
    pub(super) fn add(&mut self, part: Part, persisted: bool) -> u64 {
        let number = self.next;
        self.next += 1;
        self.rows += part.rows;
        self.live += part.rows;
        self.bytes += part.bytes;
        let live = part.rows;
        let part = Arc::new(part);
        self.parts.insert(
            number,
            Kept {
                part,
                live,
                persisted,
            },
        );
        number
    }

    /// Whether a snapshot has a payload row.
    pub(super) fn is_persisted(&self, place: Place) -> bool {
        self.parts.get(&place.0).is_some_and(|kept| kept.persisted)
    }

    /// All rows are in a snapshot now.
    pub(super) fn persisted(&mut self) {
        self.parts
            .values_mut()
            .for_each(|kept| kept.persisted = true);
    }

    /// The parts, to gather rows from later.
    pub(super) fn parts(&self) -> Parts {
        let parts = self.parts.iter();
        parts
            .map(|(number, kept)| (*number, Arc::clone(&kept.part)))
            .collect()
    }

    /// Nobody asks for these rows any more.
    pub(super) fn forget(&mut self, places: &[Place]) {
        for (number, _) in places {
            self.live = self.live.saturating_sub(1);
            let Some(kept) = self.parts.get_mut(number) else {
                continue;
            };
            kept.live = kept.live.saturating_sub(1);
            if kept.live == 0
                && let Some(gone) = self.parts.remove(number)
            {
                self.rows = self.rows.saturating_sub(gone.part.rows);
                self.bytes = self.bytes.saturating_sub(gone.part.bytes);
            }
        }
    }

    /// Whether rewriting pays: too many parts, too many dead rows, or, where rows of one session
    /// can become one, too many per session.
    pub(super) fn is_loose(&self, sessions: usize, merges: bool) -> bool {
        let needed = if merges { 2 * sessions } else { self.live };
        self.parts.len() > PARTS_MAX || self.rows > ROWS_MIN.max(2 * needed)
    }
}

/// Gathers payload rows as columns.
pub(super) fn gather(parts: &Parts, places: &[Place]) -> Result<Vec<ArrayRef>> {
    let mut used: BTreeMap<u64, usize> = BTreeMap::new();
    let mut sources: Vec<&Part> = Vec::new();
    let mut rows = Vec::with_capacity(places.len());
    for (number, row) in places {
        let source = match used.get(number) {
            Some(source) => *source,
            None => {
                let part = parts.get(number);
                sources.push(part.ok_or_else(|| Error::internal("a session's rows are gone"))?);
                used.insert(*number, sources.len() - 1);
                sources.len() - 1
            }
        };
        rows.push((source, *row as usize));
    }
    let width = sources.first().map_or(0, |part| part.columns.len());
    (0..width)
        .map(|i| {
            let columns: Vec<&dyn Array> = sources
                .iter()
                .filter_map(|part| part.columns.get(i))
                .map(|column| &**column)
                .collect();
            Ok(interleave(&columns, &rows)?)
        })
        .collect()
}
