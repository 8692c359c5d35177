//! When a subtask's chain of changes is merged, and when it starts anew with a full snapshot.
//!
//! Both are pure. Merging keeps a chain at a logarithmic number of files at a cost in proportion
//! to the change: a byte is copied once per tier, and a tier holds four times the one before.
//! Full snapshots bound what a restore reads to about twice the state.

use std::ops::Range;

use super::manifest::StateFile;
use crate::operator::Extent;

/// Files of a tier, or of smaller ones, that are merged into one of the next tier.
const FAN_IN: usize = 4;
/// What fits in the first tier: smaller files cost a request whatever their size.
const FIRST_TIER_BYTES: u64 = 4 << 10;
/// Bytes of changes below which a full snapshot is never asked for.
const CHANGES_BYTES_MIN: u64 = 1 << 20;

/// Gives what the next snapshot has to hold: all, when the changes since the last full snapshot
/// have outgrown it, and when there is none: what a subtask was given back at the start of a job
/// counts as no change, so where the files that hold it are not in the chain, all is asked for.
pub fn next_extent(files: &[StateFile]) -> Extent {
    if files.is_empty() {
        return Extent::All;
    }
    let Some(start) = files.iter().rposition(|file| file.full) else {
        return if bytes(files) > CHANGES_BYTES_MIN {
            Extent::All
        } else {
            Extent::Changes
        };
    };
    let full = files.get(start).map_or(0, |file| file.bytes);
    let changes = bytes(files.get(start + 1..).unwrap_or_default());
    if changes > full.max(CHANGES_BYTES_MIN) {
        Extent::All
    } else {
        Extent::Changes
    }
}

/// Gives the files at the end of a chain that should become one; `None` when it is short enough.
/// A full snapshot is never among them.
///
/// After merging, tiers never grow along a chain and none has more than three files.
pub fn plan(files: &[StateFile]) -> Option<Range<usize>> {
    let first = files
        .iter()
        .rposition(|file| file.full)
        .map_or(0, |at| at + 1);
    let tiers: Vec<u32> = files.iter().skip(first).map(tier).collect();
    let highest = tiers.iter().copied().max()?;
    let full_tier = (0..=highest).rev().find_map(|limit| {
        let run = tiers.iter().rev().take_while(|tier| **tier <= limit);
        let of_tier = run.clone().filter(|tier| **tier == limit).count();
        (of_tier >= FAN_IN).then(|| tiers.len() - run.count())
    });
    // A small file before a larger one goes with it: its own tier would never fill.
    let grows = tiers.iter().enumerate().position(|(at, tier)| {
        let later = tiers.iter().skip(at + 1).max();
        later.is_some_and(|later| later > tier)
    });
    let start = full_tier.into_iter().chain(grows).min()?;
    Some(first + start..files.len())
}

fn tier(file: &StateFile) -> u32 {
    let parts = file.bytes.div_ceil(FIRST_TIER_BYTES).max(1);
    // A tier holds up to 4^tier parts.
    (parts - 1).checked_ilog(4).map_or(0, |log| log + 1)
}

fn bytes(files: &[StateFile]) -> u64 {
    files.iter().map(|file| file.bytes).sum()
}

#[cfg(test)]
mod tests;
