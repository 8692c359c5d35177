//! Reads a scan's splits in one subtask: opens, picks the reader that is furthest behind in event
//! time, shapes its rows.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use arrow::record_batch::RecordBatch;

use super::{Feed, SplitReport};
use crate::arrival::Before;
use crate::dead_letter::{DeadLetters, OnError};
use crate::error::Result;
use crate::job::{Stop, TaskContext};
use crate::limits;
use crate::message::EventTime;
use crate::rules::{Origin, Requests, Watch};
use crate::scan::Scan;
use crate::source::{Read, Split, SplitReader};

#[derive(Debug)]
struct Open {
    /// As it was found: where it stands is what the reader says.
    split: Split,
    watermark: EventTime,
    /// The watermark that its rows have given so far, also where another one is followed.
    passed: EventTime,
    reader: Box<dyn SplitReader>,
}

/// What a subtask of a scan has to do next.
#[derive(Debug)]
pub enum Next {
    /// Rows to process.
    Rows(RecordBatch),
    /// A split ended: the watermark may have moved.
    Moved,
    /// Nothing to read for now.
    Wait,
    /// Nothing is to be read for now: too many rows break a rule.
    Paused,
    /// Nothing more will come.
    End,
}

/// The readers of one subtask.
#[derive(Debug)]
pub struct Reading {
    scan: Arc<Scan>,
    feed: Arc<Feed>,
    task: TaskContext,
    open: Vec<Open>,
    /// How far a split may be ahead of the slowest one in event time.
    drift_max: Option<Duration>,
    /// Splits read to their end since the last report.
    finished: Vec<(String, EventTime)>,
    /// What is asked of rows that rules have kept back.
    requests: Option<Requests>,
    pauses: Option<Watch>,
    /// The watermark of the scan.
    reached: EventTime,
}

impl Reading {
    /// Starts with nothing open.
    pub fn new(
        scan: Arc<Scan>,
        feed: Arc<Feed>,
        mut task: TaskContext,
        drift_max: Option<Duration>,
    ) -> Self {
        if scan.quiet {
            task.job.dead_letters = task.job.dead_letters.muted();
        }
        let rules = scan.rules.as_ref();
        if let (OnError::Quarantine, Some(rules)) = (scan.on_error, rules) {
            task.job.dead_letters = DeadLetters::quarantining(&rules.judge, &task);
        }
        Self {
            reached: feed.restored().unwrap_or(EventTime::MIN),
            requests: rules.and_then(|rules| Requests::of(&rules.judge, &task)),
            pauses: Watch::of(&scan.name, &task),
            scan,
            feed,
            task,
            open: Vec::new(),
            drift_max,
            finished: Vec::new(),
        }
    }

    /// Notes the watermark that goes on with the rows: it never falls.
    pub fn reached(&mut self, watermark: EventTime) {
        self.reached = self.reached.max(watermark);
    }

    /// Says where its splits stand.
    pub fn report(&mut self) -> SplitReport {
        let place = |open: &Open| (open.split.clone(), open.reader.position(), open.watermark);
        SplitReport {
            found: self.feed.take_found(),
            open: self.open.iter().map(place).collect(),
            finished: std::mem::take(&mut self.finished),
        }
    }

    /// Reads on: at most one batch.
    pub async fn next(&mut self) -> Result<Next> {
        if self.task.job.is_stopping(Stop::Drain) {
            return Ok(Next::End);
        }
        if let Some(rows) = self.requested()? {
            return Ok(Next::Rows(rows));
        }
        if let Some(pauses) = &mut self.pauses
            && pauses.is_paused()?
        {
            return Ok(Next::Paused);
        }
        self.feed.discover().await?;
        self.open_more().await?;
        if self.open.is_empty() {
            return Ok(if self.feed.is_exhausted() {
                Next::End
            } else {
                Next::Wait
            });
        }
        // The one that is furthest behind first; one that has nothing for now makes way.
        self.open.sort_by_key(|open| open.watermark);
        let ahead_max = self.ahead_max();
        for index in 0..self.open.len() {
            let Some(open) = self.open.get_mut(index) else {
                break;
            };
            if ahead_max.is_some_and(|ahead_max| open.watermark > ahead_max) {
                break;
            }
            match open.reader.next().await? {
                Read::Rows { batch, bytes } => return self.rows(index, &batch, bytes),
                Read::Pending => self.feed.heard(&open.split.id, false),
                Read::End => {
                    let open = self.open.remove(index);
                    self.feed.close(&open.split.id);
                    self.finished.push((open.split.id, open.watermark));
                    return Ok(Next::Moved);
                }
            }
        }
        Ok(Next::Wait)
    }

    /// Takes rows out of quarantine. Whatever their time is, they move no watermark.
    fn requested(&mut self) -> Result<Option<RecordBatch>> {
        let Some(requests) = &mut self.requests else {
            return Ok(None);
        };
        let Some(request) = requests.next()? else {
            return Ok(None);
        };
        let rows = self.scan.again(&request, &self.task)?;
        self.task.metrics.add_in(request.rows.num_rows());
        self.task.metrics.add_out(rows.num_rows());
        Ok(Some(rows))
    }

    /// The watermark up to which splits are read on now: the slower ones are waited for.
    fn ahead_max(&self) -> Option<EventTime> {
        let drift = i64::try_from(self.drift_max?.as_micros()).unwrap_or(i64::MAX);
        let least = self.feed.slowest()?;
        Some(EventTime(least.0.saturating_add(drift)))
    }

    fn rows(&mut self, index: usize, batch: &RecordBatch, bytes: u64) -> Result<Next> {
        let Some(open) = self.open.get_mut(index) else {
            return Ok(Next::Wait);
        };
        self.feed.heard(&open.split.id, true);
        self.task.metrics.add_in(batch.num_rows());
        self.task.metrics.bytes.fetch_add(bytes, Relaxed);
        let offset = |row| open.reader.offset(row);
        let raw = |row| open.reader.raw(row);
        let origin = Origin {
            offset: Some(&offset),
            raw: Some(&raw),
            ..Origin::of(open.split.id.as_str())
        };
        let shaped = self.scan.shape(batch, &origin, &self.task)?;
        let timely = shaped.timely(batch)?;
        let mut rows = shaped.rows;
        if self.scan.arrivals.is_some() {
            let source = self.feed.watermark().unwrap_or(EventTime::MIN);
            self.reached = self.reached.max(source);
            let before = Before {
                passed: open.passed,
                source: self.reached,
                others: self.feed.beside(&open.split.id),
                now: self.task.job.env.clock().now_micros(),
            };
            (rows, open.passed) = self.scan.told(rows, &timely, before)?;
        }
        if self.feed.follows_rows() {
            let watermark = self.scan.watermark_after(&timely)?;
            if let Some(watermark) = watermark {
                open.watermark = open.watermark.max(watermark);
                self.feed.advance(&open.split.id, open.watermark);
            }
        }
        self.task.metrics.add_out(rows.num_rows());
        Ok(Next::Rows(rows))
    }

    async fn open_more(&mut self) -> Result<()> {
        let open_max = if self.feed.is_side_by_side() {
            limits::SIDE_BY_SIDE_SPLITS_MAX
        } else {
            limits::OPEN_SPLITS_MAX
        };
        while self.open.len() < open_max {
            let least = self.open.iter().map(|open| open.watermark).min();
            let below = least.unwrap_or(EventTime::MAX);
            let Some(lease) = self.feed.take(self.task.subtask, below) else {
                break;
            };
            let reader = self
                .scan
                .source
                .open(&lease.split, &self.scan.projection, &self.task)
                .await?;
            self.open.push(Open {
                split: lease.split,
                watermark: lease.low,
                passed: lease.low,
                reader,
            });
        }
        Ok(())
    }
}
