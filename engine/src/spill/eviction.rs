//! Room is made: the state is divided, and what is large and gets few rows goes to disk.

use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use super::divide::divide;
use super::operator::Spilling;
use super::partition::{Chain, Partition};
use crate::error::{Error, Result};
use crate::key_group::KeyGroups;
use crate::message::EventTime;
use crate::operator::{Extent, Output};

/// Parts into which the state is divided at first: state ten times the memory then has parts of a
/// sixth of it.
const PARTS: u64 = if cfg!(test) { 8 } else { 64 };

impl Spilling {
    /// Makes room if there is little, where something has changed since this was looked at.
    pub(super) fn look(&mut self, out: &mut Output) -> Result<()> {
        let taken = self.room.taken.size();
        if taken.abs_diff(self.looked_at) < self.room.share() / 256 {
            return Ok(());
        }
        self.look_again(out)
    }

    pub(super) fn look_again(&mut self, out: &mut Output) -> Result<()> {
        if self.room.is_short() {
            if self.whole.is_some() {
                let ranges = self.groups.cut(PARTS);
                self.divide_whole(&ranges, out)?;
            }
            self.make_room(0, None, out)?;
        }
        self.note();
        Ok(())
    }

    /// Notes what is taken now.
    pub(super) fn note(&mut self) {
        self.looked_at = self.room.taken.size();
        let bytes = self.looked_at + self.buffered.size();
        self.context
            .metrics
            .state_bytes
            .store(bytes as u64, Relaxed);
    }

    /// Puts parts on disk until a quarter of the memory and so many bytes more are free: those first
    /// that are large and get few rows.
    pub(super) fn make_room(
        &mut self,
        bytes: usize,
        except: Option<u64>,
        out: &mut Output,
    ) -> Result<()> {
        let since = self.waits_for_clock();
        while self.room.wants(bytes) {
            let live = self.parts.iter().enumerate();
            let live = live.filter(|(_, p)| p.live.is_some() && Some(p.id) != except);
            let cost = |part: &Partition| part.live_bytes() as u64 / (1 + part.heat / 64);
            let Some((at, _)) = live.max_by_key(|(_, part)| (cost(part), part.live_bytes())) else {
                break;
            };
            if let Some(part) = self.parts.get_mut(at) {
                (part.low, part.visited) = (self.watermark, self.now);
                // What it has not given yet, it gives when it is read back.
                part.behind = since.filter(|_| part.has_news);
                part.evict(&mut self.disk, out)?;
            }
            self.parts.iter_mut().for_each(|part| part.heat /= 2);
        }
        Ok(())
    }

    /// Puts the state of the one operator on disk, divided.
    pub(super) fn divide_whole(&mut self, ranges: &[KeyGroups], out: &mut Output) -> Result<()> {
        let Some(mut whole) = self.whole.take() else {
            return Ok(());
        };
        let mut state = whole.operator.snapshot(Extent::All, out)?;
        let piece = self.piece_bytes(ranges.len());
        let chains = divide(&self.of, &mut self.disk, &mut state, ranges, piece)?;
        let bytes = whole.gauge.bytes() / ranges.len().max(1);
        let hold = whole.operator.output_watermark(EventTime::MAX).0;
        drop((state, whole));
        self.add(ranges, chains, bytes, (self.watermark, hold));
        self.renew();
        Ok(())
    }

    fn add(
        &mut self,
        ranges: &[KeyGroups],
        chains: Vec<Chain>,
        bytes: usize,
        (low, hold): (i64, i64),
    ) {
        for (range, chain) in ranges.iter().zip(chains) {
            let id = self.number();
            let mut part = Partition::new(id, range.clone(), chain, low);
            (part.bytes, part.visited, part.hold) = (bytes, self.now, hold);
            part.behind = self.waits_for_clock();
            self.parts.push(part);
        }
        self.parts.sort_by_key(|part| part.range.bounds());
    }

    /// Since when a part that comes to the disk is behind: now, if it may have results to give.
    pub(super) fn waits_for_clock(&self) -> Option<Duration> {
        self.of.gives_by_clock().then(|| self.monotonic())
    }

    /// Divides a part that has become too large, and is in memory.
    pub(super) fn divide_part(&mut self, at: usize, bytes: usize, out: &mut Output) -> Result<()> {
        let Some(part) = self.parts.get(at) else {
            return Ok(());
        };
        let ranges = part.range.cut(PARTS.min(8));
        let mut part = self.parts.remove(at);
        let Some(mut live) = part.live.take() else {
            return Err(Error::internal("a part is divided that is not in memory"));
        };
        // What no checkpoint has of the part is in its pieces, of which none has anything.
        let mut state = live.operator.snapshot(Extent::All, out)?;
        let piece = self.piece_bytes(ranges.len());
        let chains = divide(&self.of, &mut self.disk, &mut state, &ranges, piece)?;
        let hold = live.operator.output_watermark(EventTime::MAX).0;
        drop((state, live));
        let bytes = bytes / ranges.len().max(1);
        self.add(&ranges, chains, bytes, (part.low, hold));
        Ok(())
    }

    /// Bytes of each part that wait to be written while state is divided: all together take little
    /// of the memory.
    fn piece_bytes(&self, parts: usize) -> usize {
        (self.room.share() / 32 / parts.max(1)).clamp(1 << 10, 256 << 10)
    }
}
