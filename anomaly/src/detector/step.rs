//! The usual time between rows.

use crate::codec::{Reader, State, Writer};
use crate::error::Result;

/// Gaps that the usual one is the median of.
const GAPS: usize = 31;

/// The median of the first gaps.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Step {
    last: Option<i64>,
    gaps: Vec<i64>,
    usual: i64,
}

impl Step {
    /// Sees the time of a row.
    pub(crate) fn see(&mut self, time: i64) {
        if self.usual > 0 {
            return;
        }
        if let Some(last) = self.last.replace(time) {
            if self.gaps.is_empty() {
                self.gaps.reserve_exact(GAPS);
            }
            self.gaps.push(time.saturating_sub(last));
        }
        if self.gaps.len() == GAPS {
            let (_, median, _) = self.gaps.select_nth_unstable(GAPS / 2);
            // Times that stand still or go back say nothing: rows are counted then.
            self.usual = (*median).max(1);
            self.gaps = Vec::new();
        }
    }

    /// The usual gap, once it is known.
    pub(crate) fn usual(&self) -> Option<i64> {
        (self.usual > 1).then_some(self.usual)
    }
}

impl State for Step {
    fn save(&self, to: &mut Writer) {
        to.flag(self.last.is_some());
        to.i64(self.last.unwrap_or_default());
        to.length(self.gaps.len());
        self.gaps.iter().for_each(|gap| to.i64(*gap));
        to.i64(self.usual);
    }

    fn load(&mut self, from: &mut Reader<'_>) -> Result<()> {
        let is_some = from.flag()?;
        let last = from.i64()?;
        self.last = is_some.then_some(last);
        let gaps = from.length(GAPS)?;
        self.gaps = (0..gaps).map(|_| from.i64()).collect::<Result<_>>()?;
        self.usual = from.i64()?;
        Ok(())
    }

    fn heap_bytes(&self) -> usize {
        self.gaps.capacity() * size_of::<i64>()
    }
}
