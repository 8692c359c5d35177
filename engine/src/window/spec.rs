//! Which windows there are: pure arithmetic on event time, in microseconds.
//!
//! A *slice* is the longest stretch of time that every window holds wholly or not at all. A row is
//! counted once, in its slice; a window is the sum of the slices in it. For TUMBLE the slice is the
//! window; for CUMULATE it is the step; for HOP time is cut at every window's start and end, which
//! gives one slice per slide, or two when the size is not a multiple of the slide.
//!
//! No state here and no clock: facts in, decisions out.

use std::fmt;

use super::length::Length;
use crate::error::{Error, Kind, Result, codes};
use crate::limits;

/// The kind and the lengths of windows, in microseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum WindowKind {
    /// Windows side by side.
    Tumble {
        /// Length of each window.
        size: i64,
    },
    /// Windows of one length that start every slide.
    Hop {
        /// Time from one start to the next.
        slide: i64,
        /// Length of each window.
        size: i64,
    },
    /// Windows that start every size and grow by a step up to the size.
    Cumulate {
        /// Growth from one window to the next.
        step: i64,
        /// Length of the longest window.
        size: i64,
    },
}

/// Windows over event time, checked: every function below is total.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct WindowSpec {
    kind: WindowKind,
    offset: i64,
}

/// A stretch of event time: from `start`, up to but without `end`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Span {
    /// The first microsecond.
    pub start: i64,
    /// The first microsecond after it.
    pub end: i64,
}

/// Longest window: 2^60 microseconds, some 36,000 years. Sums of a time and a few sizes then fit.
const SIZE_MAX: i64 = 1 << 60;
/// Times before it or after its positive twin, 146,000 years from 1970, belong to no window: they
/// are broken data, and arithmetic on them would overflow.
const TIME_MAX: i64 = 1 << 62;

impl WindowSpec {
    /// Checks the lengths; windows are aligned to 1970-01-01T00:00:00Z plus `offset`.
    pub fn new(kind: WindowKind, offset: i64) -> Result<Self> {
        let (name, part, size) = match kind {
            WindowKind::Tumble { size } => ("TUMBLE", None, size),
            WindowKind::Hop { slide, size } => ("HOP", Some(("slide", slide)), size),
            WindowKind::Cumulate { step, size } => ("CUMULATE", Some(("step", step)), size),
        };
        for (what, length) in part.into_iter().chain([("size", size)]) {
            if length <= 0 || length > SIZE_MAX {
                let must = if length <= 0 {
                    "positive"
                } else {
                    "less than 36,000 years"
                };
                return Err(invalid(format!("the {what} of {name} must be {must}"))
                    .detail(format!("it is {}", Length(length)))
                    .hint("write an interval such as INTERVAL '1 minute'"));
            }
        }
        if let Some((what, length)) = part {
            check_pair(
                name,
                what,
                length,
                size,
                matches!(kind, WindowKind::Cumulate { .. }),
            )?;
        }
        Ok(Self { kind, offset }.with_offset(offset))
    }

    /// Windows side by side.
    pub fn tumble(size: i64) -> Result<Self> {
        Self::new(WindowKind::Tumble { size }, 0)
    }

    /// Windows of `size` that start every `slide`.
    pub fn hop(slide: i64, size: i64) -> Result<Self> {
        Self::new(WindowKind::Hop { slide, size }, 0)
    }

    /// Windows that start every `size` and grow by `step`.
    pub fn cumulate(step: i64, size: i64) -> Result<Self> {
        Self::new(WindowKind::Cumulate { step, size }, 0)
    }

    /// Moves all windows by an offset.
    #[must_use]
    pub fn with_offset(self, offset: i64) -> Self {
        Self {
            offset: offset.rem_euclid(self.period()),
            ..self
        }
    }

    /// The kind and the lengths.
    pub fn kind(&self) -> WindowKind {
        self.kind
    }

    /// The offset, from 0 up to the time after which starts repeat: the size, or HOP's slide.
    pub fn offset(&self) -> i64 {
        self.offset
    }

    /// The length of the longest window.
    pub fn size(&self) -> i64 {
        match self.kind {
            WindowKind::Tumble { size }
            | WindowKind::Hop { size, .. }
            | WindowKind::Cumulate { size, .. } => size,
        }
    }

    /// The most windows that a row belongs to.
    pub fn windows_per_row(&self) -> u64 {
        let windows = match self.kind {
            WindowKind::Tumble { .. } => 1,
            WindowKind::Hop { slide, size } => (size - 1) / slide + 1,
            WindowKind::Cumulate { step, size } => size / step,
        };
        windows.unsigned_abs()
    }

    /// The most slices of a window.
    pub fn slices_per_window(&self) -> u64 {
        let slices = match self.kind {
            WindowKind::Tumble { .. } => 1,
            WindowKind::Hop { slide, size } => {
                size / slide + i64::from(size % slide != 0) * (size / slide + 1)
            }
            WindowKind::Cumulate { step, size } => size / step,
        };
        slices.unsigned_abs()
    }

    /// Whether a time can belong to a window at all.
    pub fn accepts(time: i64) -> bool {
        (-TIME_MAX..=TIME_MAX).contains(&time)
    }

    /// Time from one start to the next.
    fn period(&self) -> i64 {
        match self.kind {
            WindowKind::Tumble { size } | WindowKind::Cumulate { size, .. } => size,
            WindowKind::Hop { slide, .. } => slide,
        }
    }

    /// Time between the cuts that every slide (or step) has; slices are as wide or narrower.
    fn pitch(&self) -> i64 {
        match self.kind {
            WindowKind::Tumble { size } => size,
            WindowKind::Hop { slide, .. } => slide,
            WindowKind::Cumulate { step, .. } => step,
        }
    }

    /// Where a HOP window ends within the slide that it ends in; 0 when on its edge.
    fn cut(&self) -> i64 {
        match self.kind {
            WindowKind::Hop { slide, size } => size % slide,
            _ => 0,
        }
    }

    /// The slice of a time.
    pub fn slice(&self, time: i64) -> Span {
        let (pitch, cut) = (self.pitch(), self.cut());
        let start = floor(time, self.offset, pitch);
        if cut == 0 {
            Span {
                start,
                end: start + pitch,
            }
        } else if time < start + cut {
            Span {
                start,
                end: start + cut,
            }
        } else {
            Span {
                start: start + cut,
                end: start + pitch,
            }
        }
    }

    /// The number of the slice of a time: neighbours have neighbouring numbers.
    pub fn slice_number(&self, time: i64) -> i64 {
        let (pitch, cut) = (self.pitch(), self.cut());
        let number = (clamp(time) - self.offset).div_euclid(pitch);
        if cut == 0 {
            return number;
        }
        let within = (clamp(time) - self.offset).rem_euclid(pitch);
        number
            .saturating_mul(2)
            .saturating_add(i64::from(within >= cut))
    }

    /// The start of the slice with a number that [`Self::slice_number`] gave.
    pub fn slice_start(&self, number: i64) -> i64 {
        let cut = self.cut();
        if cut == 0 {
            return self.offset + number * self.pitch();
        }
        self.offset + (number >> 1) * self.pitch() + (number & 1) * cut
    }

    /// The first window, by its end, that ends after a time. It holds the time.
    pub fn first_end_after(&self, time: i64) -> i64 {
        let time = clamp(time);
        match self.kind {
            WindowKind::Tumble { size } => floor(time, self.offset, size) + size,
            WindowKind::Cumulate { step, .. } => floor(time, self.offset, step) + step,
            WindowKind::Hop { slide, .. } => floor(time, self.offset + self.cut(), slide) + slide,
        }
    }

    /// The window that ends at a time that [`Self::first_end_after`] gave.
    pub fn window_ending(&self, end: i64) -> Span {
        let start = match self.kind {
            WindowKind::Tumble { size } | WindowKind::Hop { size, .. } => end.saturating_sub(size),
            WindowKind::Cumulate { size, .. } => floor(clamp(end) - 1, self.offset, size),
        };
        Span { start, end }
    }

    /// The end of the last window that holds a time: when it has passed, the row is late.
    pub fn last_end(&self, time: i64) -> i64 {
        match self.kind {
            WindowKind::Tumble { size } | WindowKind::Cumulate { size, .. } => {
                floor(time, self.offset, size) + size
            }
            WindowKind::Hop { slide, size } => floor(time, self.offset, slide) + size,
        }
    }

    /// The windows that hold a time, by their ends.
    pub fn windows(&self, time: i64) -> impl Iterator<Item = Span> + use<> {
        let spec = *self;
        let pitch = spec.pitch();
        let last = spec.last_end(time);
        let mut end = spec.first_end_after(time);
        std::iter::from_fn(move || {
            (end <= last).then(|| {
                let window = spec.window_ending(end);
                end += pitch;
                window
            })
        })
    }

    /// Of windows that hold one of the slices, those that a watermark closes: their ends are after
    /// `done`, the watermark before it, up to and with `watermark`. `slices` are in order.
    pub fn closed(&self, slices: &[Span], done: i64, watermark: i64) -> Vec<Span> {
        let mut windows = Vec::new();
        let mut next = |from: i64| slices.iter().map(|s| s.start).find(|s| *s >= from);
        let mut cursor = done;
        while let Some(window) = self.next_window(cursor, watermark, &mut next) {
            windows.push(window);
            cursor = window.end;
        }
        windows
    }

    /// The first window with rows that ends after `done`, up to and with `watermark`. `next` gives
    /// the start of the first slice with rows at or after a time.
    pub fn next_window(
        &self,
        done: i64,
        watermark: i64,
        mut next: impl FnMut(i64) -> Option<i64>,
    ) -> Option<Span> {
        // Empty windows are jumped over, however many: the next one holds the next slice.
        let mut after = done.max(next(i64::MIN)?);
        loop {
            let end = self.first_end_after(after);
            if end > watermark || end <= after {
                return None;
            }
            let window = self.window_ending(end);
            let slice = next(window.start)?;
            if slice < end {
                return Some(window);
            }
            after = slice;
        }
    }
}

impl fmt::Display for WindowSpec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.kind {
            WindowKind::Tumble { size } => write!(f, "TUMBLE({}", Length(size))?,
            WindowKind::Hop { slide, size } => {
                write!(f, "HOP({}, {}", Length(slide), Length(size))?;
            }
            WindowKind::Cumulate { step, size } => {
                write!(f, "CUMULATE({}, {}", Length(step), Length(size))?;
            }
        }
        if self.offset != 0 {
            write!(f, ", offset {}", Length(self.offset))?;
        }
        f.write_str(")")
    }
}

fn check_pair(name: &str, what: &str, part: i64, size: i64, whole: bool) -> Result<()> {
    let seen = format!(
        "the {what} is {}, the size is {}",
        Length(part),
        Length(size)
    );
    if part > size {
        return Err(invalid(format!(
            "the size of {name} must not be less than its {what}"
        ))
        .detail(seen)
        .hint(format!("{name} takes the {what} first, then the size")));
    }
    if whole && size % part != 0 {
        return Err(invalid(format!(
            "the size of {name} must be a multiple of its {what}"
        ))
        .detail(seen)
        .hint(format!("choose a {what} that divides the size")));
    }
    let windows = ((size - 1) / part + 1).unsigned_abs();
    if windows > limits::WINDOWS_PER_ROW_MAX {
        return Err(
            invalid(format!("{name} puts each row into {windows} windows"))
                .detail(format!(
                    "{seen}; at most {} windows are allowed",
                    limits::WINDOWS_PER_ROW_MAX
                ))
                .hint(format!("choose a longer {what} or a shorter size")),
        );
    }
    Ok(())
}

fn invalid(message: impl Into<String>) -> Error {
    Error::new(Kind::Invalid, codes::WINDOW, message)
}

/// The last time at or before `time` that is `offset` plus a multiple of `pitch`.
fn floor(time: i64, offset: i64, pitch: i64) -> i64 {
    time - (time - offset).rem_euclid(pitch)
}

fn clamp(time: i64) -> i64 {
    time.clamp(-TIME_MAX, TIME_MAX)
}
