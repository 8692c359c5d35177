//! What a table said of keys, for a while: bounded in keys, bytes and age. Pure: the caller says what
//! time it is.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use arrow::record_batch::RecordBatch;

/// Bytes of an entry beside its key and its rows: places in the maps.
const ENTRY_BYTES: usize = 160;

/// The bounds of a cache. None of them is ever passed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CacheLimits {
    /// Keys.
    pub entries: usize,
    /// Bytes of keys and rows.
    pub bytes: usize,
    /// How long what was found is believed; zero keeps nothing.
    pub ttl: Duration,
    /// Whether it is also kept that a key has no row.
    pub missing: bool,
}

/// Rows by key; the key that was asked for the longest time ago goes first.
#[derive(Debug)]
pub struct Cache {
    limits: CacheLimits,
    entries: HashMap<Arc<[u8]>, Entry>,
    /// Keys by when they were last asked for.
    order: BTreeMap<u64, Arc<[u8]>>,
    asked: u64,
    bytes: usize,
}

#[derive(Debug)]
struct Entry {
    rows: RecordBatch,
    until: Duration,
    asked: u64,
    bytes: usize,
}

impl Cache {
    /// Makes an empty cache.
    pub fn new(limits: CacheLimits) -> Self {
        Self {
            limits,
            entries: HashMap::new(),
            order: BTreeMap::new(),
            asked: 0,
            bytes: 0,
        }
    }

    /// Gives the rows of a key; no rows at all is an answer too.
    pub fn get(&mut self, key: &[u8], now: Duration) -> Option<RecordBatch> {
        let entry = self.entries.get_mut(key)?;
        if entry.until <= now {
            self.remove(key);
            return None;
        }
        self.asked += 1;
        let before = std::mem::replace(&mut entry.asked, self.asked);
        let rows = entry.rows.clone();
        if let Some(key) = self.order.remove(&before) {
            self.order.insert(self.asked, key);
        }
        Some(rows)
    }

    /// Keeps the rows of a key. The rows must not hold on to memory of others.
    pub fn put(&mut self, key: &[u8], rows: RecordBatch, now: Duration) {
        self.remove(key);
        let bytes = ENTRY_BYTES + 2 * key.len() + rows.get_array_memory_size();
        let limits = self.limits;
        let unwanted = rows.num_rows() == 0 && !limits.missing;
        if limits.ttl.is_zero() || limits.entries == 0 || bytes > limits.bytes || unwanted {
            return;
        }
        self.shrink(limits.entries - 1, limits.bytes - bytes);
        self.asked += 1;
        let key: Arc<[u8]> = key.into();
        let entry = Entry {
            rows,
            until: now.saturating_add(limits.ttl),
            asked: self.asked,
            bytes,
        };
        self.bytes += bytes;
        self.order.insert(self.asked, Arc::clone(&key));
        self.entries.insert(key, entry);
    }

    /// Drops what was asked for the longest time ago until no more is left than this.
    pub fn shrink(&mut self, entries: usize, bytes: usize) {
        while self.entries.len() > entries || self.bytes > bytes {
            let Some(key) = self.order.first_key_value().map(|(_, key)| Arc::clone(key)) else {
                return;
            };
            self.remove(&key);
        }
    }

    /// Keys that are kept.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether nothing is kept.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Bytes that are kept.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    fn remove(&mut self, key: &[u8]) {
        if let Some(entry) = self.entries.remove(key) {
            self.bytes -= entry.bytes;
            self.order.remove(&entry.asked);
        }
    }
}

#[cfg(test)]
mod tests {
    use arrow::array::{ArrayRef, AsArray, Int64Array};
    use arrow::datatypes::Int64Type;

    use super::*;

    fn rows(value: i64) -> RecordBatch {
        let column: ArrayRef = Arc::new(Int64Array::from(vec![value]));
        RecordBatch::try_from_iter([("v", column)]).unwrap()
    }

    fn cache(entries: usize, bytes: usize) -> Cache {
        Cache::new(CacheLimits {
            entries,
            bytes,
            ttl: Duration::from_secs(10),
            missing: true,
        })
    }

    fn get(cache: &mut Cache, key: &str, now: u64) -> Option<i64> {
        let rows = cache.get(key.as_bytes(), Duration::from_secs(now))?;
        Some(rows.column(0).as_primitive::<Int64Type>().value(0))
    }

    fn put(cache: &mut Cache, key: &str, value: i64, now: u64) {
        cache.put(key.as_bytes(), rows(value), Duration::from_secs(now));
    }

    #[test]
    fn the_key_that_was_not_asked_for_goes_first() {
        let mut cache = cache(2, 1 << 20);
        put(&mut cache, "a", 1, 0);
        put(&mut cache, "b", 2, 0);
        assert_eq!(get(&mut cache, "a", 1), Some(1));
        put(&mut cache, "c", 3, 1);
        assert_eq!(get(&mut cache, "b", 1), None);
        assert_eq!(get(&mut cache, "a", 1), Some(1));
        assert_eq!(get(&mut cache, "c", 1), Some(3));
        assert_eq!(cache.len(), 2);
    }

    #[test]
    fn what_is_old_is_not_believed() {
        let mut cache = cache(2, 1 << 20);
        put(&mut cache, "a", 1, 0);
        assert_eq!(get(&mut cache, "a", 9), Some(1));
        // Asking does not make it younger.
        assert_eq!(get(&mut cache, "a", 10), None);
        assert!(cache.is_empty());
        put(&mut cache, "a", 2, 10);
        put(&mut cache, "a", 3, 12);
        assert_eq!(get(&mut cache, "a", 21), Some(3));
        assert_eq!(cache.len(), 1);
    }

    #[test]
    fn that_there_is_no_row_is_kept_if_wanted() {
        for missing in [true, false] {
            let mut cache = cache(10, 1 << 20);
            cache.limits.missing = missing;
            cache.put(b"a", rows(1).slice(0, 0), Duration::ZERO);
            let known = cache.get(b"a", Duration::ZERO);
            assert_eq!(known.map(|rows| rows.num_rows()), missing.then_some(0));
        }
    }

    #[test]
    fn bytes_are_bounded_and_add_up() {
        let one = {
            let mut cache = cache(10, 1 << 20);
            put(&mut cache, "a", 1, 0);
            cache.bytes()
        };
        let mut cache = cache(10, one * 2 + 1);
        for (at, key) in ["a", "b", "c", "d"].into_iter().enumerate() {
            put(&mut cache, key, 1, 0);
            assert_eq!(cache.bytes(), one * (at + 1).min(2));
        }
        assert_eq!(get(&mut cache, "b", 0), None);
        assert_eq!(get(&mut cache, "c", 0), Some(1));
        cache.shrink(0, 0);
        assert_eq!(cache.bytes(), 0);
    }

    #[test]
    fn nothing_is_kept_where_there_is_no_room() {
        let mut small = cache(10, 10);
        put(&mut small, "a", 1, 0);
        assert!(small.is_empty());
        let mut none = cache(0, 1 << 20);
        put(&mut none, "a", 1, 0);
        assert!(none.is_empty());
    }
}
