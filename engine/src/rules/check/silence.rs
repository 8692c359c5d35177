//! Windows in which no row came: rules over windows that follow each other are asked about them too.
//!
//! A window is over when the watermark has passed it, or when nothing has moved for as long as a window
//! by the clock. Where rows of such a window still come, it gets another verdict.

use std::collections::BTreeSet;
use std::sync::Arc;

use arrow::array::{ArrayRef, Int64Array, TimestampMicrosecondArray};
use arrow::compute::cast;
use arrow::datatypes::FieldRef;
use arrow::record_batch::RecordBatch;

use super::held::{keys, repeated};
use super::verdict::times;
use super::{ChecksSpec, Codecs};
use crate::error::{Error, Result};
use crate::limits;
use crate::updating::RowBytes;
use crate::updating::codec::RowMap;

/// Windows in a row without rows after which a segment is forgotten: it is gone, not late.
const SILENT_WINDOWS_MAX: u32 = 1_000;

#[derive(Debug, Clone, Copy)]
struct Last {
    /// The end of the last window that was judged.
    end: i64,
    /// Windows without rows since the last with rows.
    silent: u32,
}

/// How far each segment was judged.
#[derive(Debug)]
pub(super) struct Silence {
    length: i64,
    /// The measures of no row.
    none: RecordBatch,
    window: (usize, usize),
    segments: Vec<usize>,
    codecs: Arc<Codecs>,
    last: RowMap<Last>,
    /// When, by the clock, something has moved.
    moved: i64,
    /// The windows with rows of a job that ends with its input: they may come in any order, so that those
    /// without rows are known at the end.
    seen: Option<RowMap<BTreeSet<i64>>>,
}

/// Windows of a segment without rows.
struct Gap {
    segment: RowBytes,
    from: i64,
    to: i64,
}

impl Silence {
    pub(super) fn of(spec: &ChecksSpec, codecs: &Arc<Codecs>, now: i64) -> Option<Self> {
        let (length, none) = spec.every.clone()?;
        Some(Self {
            length: length.max(1),
            none,
            window: spec.window?,
            segments: spec.segments.clone(),
            codecs: Arc::clone(codecs),
            last: RowMap::default(),
            moved: now,
            seen: spec.bounded.then(RowMap::default),
        })
    }

    /// Notes windows with rows, and gives those that had none before them.
    pub(super) fn before(&mut self, rows: &RecordBatch, now: i64) -> Result<Option<RecordBatch>> {
        self.moved = now;
        let count = rows.num_rows();
        let segments = keys(&self.codecs, &self.segments, rows.columns(), count)?;
        let (starts, ends) = (times(rows, self.window.0)?, times(rows, self.window.1)?);
        let mut gaps = Vec::new();
        for ((segment, start), end) in segments.into_iter().zip(starts).zip(ends) {
            let (Some(start), Some(end)) = (start, end) else {
                continue;
            };
            if let Some(seen) = &mut self.seen {
                seen.entry(segment).or_default().insert(start);
                continue;
            }
            let known = self.last.get(&segment).copied();
            if let Some(last) = known.filter(|last| last.end < start) {
                let segment = Arc::clone(&segment);
                let (from, to) = (last.end, start);
                gaps.push(Gap { segment, from, to });
            }
            let end = known.map_or(end, |last| last.end.max(end));
            self.last.insert(segment, Last { end, silent: 0 });
        }
        self.windows(gaps)
    }

    /// The windows that end by a watermark and had no row.
    pub(super) fn until(&mut self, watermark: i64, now: i64) -> Result<Option<RecordBatch>> {
        self.moved = now;
        let length = self.length;
        self.advance(|last| (watermark.saturating_sub(last) / length).max(0))
    }

    /// The next windows, when nothing has moved for as long as one.
    pub(super) fn tick(&mut self, now: i64) -> Result<Option<RecordBatch>> {
        if now.saturating_sub(self.moved) < self.length {
            return Ok(None);
        }
        self.moved = now;
        if self.last.is_empty() && self.segments.is_empty() {
            // No row has come at all: the windows are those of the clock.
            let end = now.div_euclid(self.length) * self.length;
            let all: RowBytes = Arc::new([]);
            let end = end.saturating_sub(self.length);
            self.last.insert(all, Last { end, silent: 0 });
        }
        self.advance(|_| 1)
    }

    /// The windows without rows up to the last that any segment has.
    pub(super) fn end(&mut self) -> Result<Option<RecordBatch>> {
        if let Some(seen) = self.seen.take() {
            return self.between(&seen);
        }
        let Some(end) = self.last.values().map(|last| last.end).max() else {
            return Ok(None);
        };
        let length = self.length;
        self.advance(|last| (end - last) / length)
    }

    /// The windows without rows between those that were seen, and up to the last of all segments.
    fn between(&self, seen: &RowMap<BTreeSet<i64>>) -> Result<Option<RecordBatch>> {
        let last = seen.values().filter_map(BTreeSet::last).max().copied();
        let mut gaps = Vec::new();
        for (segment, starts) in seen {
            let after = last.map(|last| last + self.length);
            let next = starts.iter().skip(1).copied().chain(after);
            for (start, next) in starts.iter().zip(next) {
                let (from, to) = (start + self.length, next);
                let segment = Arc::clone(segment);
                gaps.push(Gap { segment, from, to });
            }
        }
        self.windows(gaps)
    }

    /// Goes on by so many windows in each segment.
    fn advance(&mut self, windows: impl Fn(i64) -> i64) -> Result<Option<RecordBatch>> {
        let mut gaps = Vec::new();
        for (segment, last) in &mut self.last {
            let more = windows(last.end);
            if more > 0 {
                let to = last.end.saturating_add(more.saturating_mul(self.length));
                let segment = Arc::clone(segment);
                gaps.push(Gap {
                    segment,
                    from: last.end,
                    to,
                });
                last.end = to;
                let more = u32::try_from(more).unwrap_or(u32::MAX);
                last.silent = last.silent.saturating_add(more);
            }
        }
        if !self.segments.is_empty() {
            self.last
                .retain(|_, last| last.silent <= SILENT_WINDOWS_MAX);
        }
        self.windows(gaps)
    }

    /// The measures of windows without rows. Of a long gap the rest is one window.
    fn windows(&self, gaps: Vec<Gap>) -> Result<Option<RecordBatch>> {
        let mut all: Vec<(RowBytes, i64, i64)> = Vec::new();
        for gap in gaps {
            let count = (gap.to - gap.from) / self.length;
            let told = count.min(limits::EMPTY_WINDOWS_TOLD_MAX);
            for number in 0..told {
                let start = gap.from + number * self.length;
                let end = match number + 1 == told {
                    true => gap.to,
                    false => start + self.length,
                };
                all.push((Arc::clone(&gap.segment), start, end));
            }
        }
        if all.is_empty() {
            return Ok(None);
        }
        let rows = repeated(&self.none, all.len())?;
        let schema = rows.schema();
        let mut columns = rows.columns().to_vec();
        let mut set = |at: usize, values: ArrayRef| -> Result<()> {
            let field: Option<&FieldRef> = schema.fields().get(at);
            match (field, columns.get_mut(at)) {
                (Some(field), Some(column)) => *column = cast(&values, field.data_type())?,
                _ => return Err(Error::internal("a measure is not there")),
            }
            Ok(())
        };
        let time = |of: fn(&(RowBytes, i64, i64)) -> i64| -> ArrayRef {
            let times = all.iter().map(of);
            Arc::new(TimestampMicrosecondArray::from_iter_values(times))
        };
        set(self.window.0, time(|(_, start, _)| *start))?;
        set(self.window.1, time(|(_, _, end)| *end))?;
        if !self.segments.is_empty() {
            let segments = all.iter().map(|(segment, _, _)| segment.as_ref());
            let values = self.codecs.segments.decode(segments)?;
            for (at, values) in self.segments.iter().zip(values) {
                set(*at, values)?;
            }
        }
        Ok(Some(RecordBatch::try_new(schema, columns)?))
    }

    /// Each segment with the end of its last window, for a checkpoint.
    pub(super) fn state(&self) -> Result<(Vec<ArrayRef>, Int64Array)> {
        let ends = self.last.values().map(|last| last.end).collect();
        if self.segments.is_empty() {
            return Ok((Vec::new(), ends));
        }
        let segments = self.last.keys().map(AsRef::as_ref);
        Ok((self.codecs.segments.decode(segments)?, ends))
    }

    /// Takes what [`Self::state`] gave.
    pub(super) fn restore(&mut self, segments: &[ArrayRef], ends: &Int64Array) -> Result<()> {
        let places: Vec<usize> = (0..segments.len()).collect();
        let keys = keys(&self.codecs, &places, segments, ends.len())?;
        for (key, end) in keys.into_iter().zip(ends.values()) {
            self.last.insert(
                key,
                Last {
                    end: *end,
                    silent: 0,
                },
            );
        }
        Ok(())
    }
}
