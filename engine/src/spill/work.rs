//! A part is read back: it takes the rows that have waited, then goes to disk again if memory is
//! short. In steps, so that results go on before there are many.

use std::collections::VecDeque;
use std::time::Duration;

use super::file::Frame;
use super::gauge::Gauge;
use super::operator::Spilling;
use super::partition::Partition;
use super::pending::arrivals;
use crate::error::{Error, Kind, Result, codes};
use crate::message::EventTime;
use crate::operator::{Operator, Output};

/// What the part of what a subtask could have is at most that one part of its state takes.
const PART_SHARE: usize = 4;
/// How long a part may be behind: then it is read back as soon as there is time for it.
const BEHIND_MAX: Duration = Duration::from_secs(5);

/// The part that is being worked on.
#[derive(Debug)]
pub(super) struct Work {
    id: u64,
    frames: VecDeque<Frame>,
    started: Duration,
}

impl Spilling {
    /// Goes on with what is to be done; says whether there was something.
    pub(super) fn step(&mut self, out: &mut Output) -> Result<bool> {
        let Some(work) = &mut self.work else {
            let Some(id) = self.queue.pop_front() else {
                return Ok(false);
            };
            self.start(id, out)?;
            return Ok(true);
        };
        let id = work.id;
        match work.frames.pop_front() {
            Some(frame) => {
                self.replay(id, &frame, out)?;
                if self.room.is_short() {
                    self.make_room(0, Some(id), out)?;
                }
            }
            None => self.finish(id, out)?,
        }
        self.note();
        Ok(true)
    }

    pub(super) fn queue_all(&mut self) {
        for part in &mut self.parts {
            let wanted = self.is_ending || part.behind.is_some();
            if wanted && !std::mem::replace(&mut part.is_queued, true) {
                self.queue.push_back(part.id);
            }
        }
    }

    /// Has one part read back that is behind for long, or that the clock does something to. Half of
    /// the time at most goes into this.
    pub(super) fn queue_by_time(&mut self) {
        let clock = self.monotonic();
        if clock < self.rest_until || !self.queue.is_empty() {
            return;
        }
        let every = self.of.visited_every();
        let every = every.map(|every| i64::try_from(every.as_micros()).unwrap_or(i64::MAX));
        let now = self.now;
        let due = |part: &&mut Partition| {
            let behind = part.behind.is_some_and(|since| since + BEHIND_MAX <= clock);
            let visit = every.is_some_and(|every| part.visited.saturating_add(every) <= now);
            part.live.is_none() && (behind || visit)
        };
        let oldest = self.parts.iter_mut().filter(due);
        if let Some(part) = oldest.min_by_key(|p| (p.behind.unwrap_or(clock), p.visited)) {
            part.is_queued = true;
            self.queue.push_back(part.id);
        }
    }

    fn place(&self, id: u64) -> Result<usize> {
        let place = self.parts.iter().position(|part| part.id == id);
        place.ok_or_else(|| Error::internal("a part of the state is not there"))
    }

    fn start(&mut self, id: u64, out: &mut Output) -> Result<()> {
        let started = self.monotonic();
        let at = self.place(id)?;
        let bytes = self.parts.get(at).map_or(0, |part| match &part.live {
            Some(_) => 0,
            None => part.bytes,
        });
        if bytes > 0 {
            self.make_room(bytes, Some(id), out)?;
        }
        let gauge = Gauge::new(&self.room.taken);
        if let Some(part) = self.parts.get_mut(at) {
            part.is_queued = false;
            part.load(&self.of, &self.context, gauge)?;
            part.pending.flush(&mut self.waiting)?;
            let frames = part.pending.take().into();
            self.work = Some(Work {
                id,
                frames,
                started,
            });
        }
        Ok(())
    }

    /// Gives rows that have waited to their part, as they came.
    fn replay(&mut self, id: u64, frame: &Frame, out: &mut Output) -> Result<()> {
        let at = self.place(id)?;
        let follows = self.of.follows_watermarks();
        let (input, arrived) = arrivals(&frame.read()?)?;
        let Some(part) = self.parts.get_mut(at) else {
            return Ok(());
        };
        for (moment, rows) in arrived {
            let (low, visited) = (&mut part.low, &mut part.visited);
            let Some(live) = &mut part.live else {
                break;
            };
            if moment.now > *visited {
                *visited = moment.now;
                live.operator.tick(moment.now, out)?;
            }
            if follows && moment.watermark > *low {
                *low = moment.watermark;
                watermark(&mut *live.operator, moment.watermark, out)?;
            }
            live.operator.process(input, rows, out)?;
        }
        Ok(())
    }

    /// The part has seen all rows: it sees what time it is.
    fn finish(&mut self, id: u64, out: &mut Output) -> Result<()> {
        let at = self.place(id)?;
        let (now, current) = (self.now, self.watermark);
        let (follows, is_ending) = (self.of.follows_watermarks(), self.is_ending);
        let mut bytes = 0;
        if let Some(part) = self.parts.get_mut(at) {
            part.with_live(|operator| {
                if now > i64::MIN {
                    operator.tick(now, out)?;
                }
                if follows && current > i64::MIN {
                    watermark(operator, current, out)?;
                }
                if is_ending {
                    operator.end(out)?;
                    while operator.resume(out)? {}
                }
                Ok(())
            })?;
            (part.low, part.behind, part.visited) = (current, None, now);
            part.has_news = false;
            if is_ending {
                // Nobody asks for it again, and what emptied tables keep is counted by nobody.
                part.evict(&mut self.disk, out)?;
            }
            bytes = part.live_bytes();
        }
        let work = self.work.take();
        let done = self.monotonic();
        let took = done.saturating_sub(work.map_or(done, |work| work.started));
        self.rest_until = done + took;
        self.keep_small(at, bytes, out)?;
        if self.room.is_short() {
            self.make_room(0, None, out)?;
        }
        let low = self.low();
        if low > self.said && !is_ending {
            self.said = low;
            out.watermark(EventTime(low));
        }
        Ok(())
    }

    /// Divides a part that would take too much of the memory the next time.
    fn keep_small(&mut self, at: usize, bytes: usize, out: &mut Output) -> Result<()> {
        if bytes <= self.room.share() / PART_SHARE {
            return Ok(());
        }
        let range = self.parts.get(at).map(|part| part.range.bounds());
        match range {
            Some((from, to)) if to - from > 1 => self.divide_part(at, bytes, out),
            Some(_) if bytes > self.room.share() => Err(Error::new(
                Kind::Limit,
                codes::MEMORY,
                format!("the {} of one key do not fit in memory", self.of.what()),
            )
            .detail(format!(
                "they take {} MiB; keys are put on disk, and read back, as a whole",
                bytes >> 20
            ))
            .hint("give the job more memory with --memory, or use keys that more rows differ in")),
            _ => Ok(()),
        }
    }
}

fn watermark(operator: &mut dyn Operator, watermark: i64, out: &mut Output) -> Result<()> {
    operator.watermark(EventTime(watermark), out)?;
    while operator.resume(out)? {}
    Ok(())
}
