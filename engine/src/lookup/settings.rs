//! The options that every connector with a lookup has, and what they say.

use std::fmt;
use std::time::Duration;

use super::CacheLimits;
use crate::error::Result;
use crate::limits;
use crate::options::{OptionKind, OptionSpec, Options};

/// Options of a source that lookup joins ask; a connector with a lookup adds them to its own.
pub const OPTIONS: &[OptionSpec] = &[
    OptionSpec::default(
        "lookup.cache_ttl",
        OptionKind::Duration,
        "0 seconds",
        "How long a lookup join believes what the table said of a key; 0 asks again for each batch \
         of rows.",
    ),
    OptionSpec::default(
        "lookup.cache_rows",
        OptionKind::Count,
        "100000",
        "Keys whose rows each subtask of a lookup join keeps at most; 64 MiB of rows in any case.",
    ),
    OptionSpec::default(
        "lookup.cache_missing",
        OptionKind::Bool,
        "true",
        "Whether a lookup join also believes for lookup.cache_ttl that a key has no row.",
    ),
    OptionSpec::default(
        "lookup.batch_rows",
        OptionKind::Count,
        "1024",
        "Keys that a lookup join asks for in one query at most.",
    ),
];

/// How a table is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Settings {
    /// The bounds of the cache of one subtask.
    pub cache: CacheLimits,
    /// Keys of one call.
    pub keys_max: usize,
}

impl Default for Settings {
    /// No cache.
    fn default() -> Self {
        Self {
            cache: CacheLimits {
                entries: 0,
                bytes: limits::LOOKUP_CACHE_BYTES_MAX,
                ttl: Duration::ZERO,
                missing: true,
            },
            keys_max: limits::LOOKUP_KEYS,
        }
    }
}

impl Settings {
    /// Reads the [`OPTIONS`] among those of a source.
    pub fn of(options: &Options) -> Result<Self> {
        let count = |name: &str| {
            let count = options.count(name).unwrap_or(0);
            usize::try_from(count).unwrap_or(usize::MAX)
        };
        let keys_max = count("lookup.batch_rows");
        if !(1..=limits::LOOKUP_KEYS_MAX).contains(&keys_max) {
            let why = format!("must be from 1 to {}", limits::LOOKUP_KEYS_MAX);
            return Err(options.invalid("lookup.batch_rows", why));
        }
        Ok(Self {
            cache: CacheLimits {
                entries: count("lookup.cache_rows"),
                ttl: options.duration("lookup.cache_ttl").unwrap_or_default(),
                missing: options.bool("lookup.cache_missing"),
                ..Self::default().cache
            },
            keys_max,
        })
    }

    /// Whether anything is kept.
    pub fn caches(&self) -> bool {
        !self.cache.ttl.is_zero() && self.cache.entries > 0
    }
}

impl fmt::Display for Settings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let keys_max = self.keys_max;
        if !self.caches() {
            return write!(f, "no cache, {keys_max} keys per query");
        }
        let CacheLimits { entries, ttl, .. } = self.cache;
        write!(
            f,
            "cache of {entries} keys for {ttl:?}, {keys_max} keys per query"
        )
    }
}
