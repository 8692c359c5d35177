//! Reads a scan's splits in one subtask: opens, picks the reader that is furthest behind in event
//! time, shapes its rows.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use arrow::record_batch::RecordBatch;

use crate::error::Result;
use crate::feed::Feed;
use crate::job::{Stop, TaskContext};
use crate::limits;
use crate::message::EventTime;
use crate::scan::Scan;
use crate::source::{Read, SplitReader};

#[derive(Debug)]
struct Open {
    split: String,
    watermark: EventTime,
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
}

impl Reading {
    /// Starts with nothing open.
    pub fn new(scan: Arc<Scan>, feed: Arc<Feed>, mut task: TaskContext) -> Self {
        if scan.quiet {
            task.job.dead_letters = task.job.dead_letters.muted();
        }
        Self {
            scan,
            feed,
            task,
            open: Vec::new(),
        }
    }

    /// Reads on: at most one batch.
    pub async fn next(&mut self) -> Result<Next> {
        if self.task.job.is_stopping(Stop::Drain) {
            return Ok(Next::End);
        }
        self.feed.discover().await?;
        self.open_more().await?;
        let behind = self
            .open
            .iter()
            .enumerate()
            .min_by_key(|(_, open)| open.watermark);
        let Some(index) = behind.map(|(index, _)| index) else {
            return Ok(if self.feed.is_exhausted() {
                Next::End
            } else {
                Next::Wait
            });
        };
        let Some(open) = self.open.get_mut(index) else {
            return Ok(Next::Wait);
        };
        match open.reader.next().await? {
            Read::Rows { batch, bytes } => {
                self.task.metrics.add_in(batch.num_rows());
                self.task.metrics.bytes.fetch_add(bytes, Relaxed);
                if self.feed.follows_rows()
                    && let Some(watermark) = self.scan.watermark_after(&batch)?
                {
                    open.watermark = open.watermark.max(watermark);
                    self.feed.advance(&open.split, open.watermark);
                }
                let rows = self.scan.shape(&batch, &open.split, &self.task)?;
                self.task.metrics.add_out(rows.num_rows());
                Ok(Next::Rows(rows))
            }
            Read::Pending if self.open.len() > 1 => {
                // Of splits that are equally far behind, another one is asked next.
                self.open.rotate_left(1);
                Ok(Next::Wait)
            }
            Read::Pending => Ok(Next::Wait),
            Read::End => {
                let open = self.open.remove(index);
                self.feed.close(&open.split);
                Ok(Next::Moved)
            }
        }
    }

    async fn open_more(&mut self) -> Result<()> {
        while self.open.len() < limits::OPEN_SPLITS_MAX {
            let least = self.open.iter().map(|open| open.watermark).min();
            let Some(lease) = self.feed.take(least.unwrap_or(EventTime::MAX)) else {
                break;
            };
            let reader = self
                .scan
                .source
                .open(&lease.split, &self.scan.projection, &self.task)
                .await?;
            self.open.push(Open {
                split: lease.split.id,
                watermark: lease.low,
                reader,
            });
        }
        Ok(())
    }
}
