//! Operators that are fused into one task: rows go through all of them in one call.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use arrow::record_batch::RecordBatch;

use super::tail::Tail;
use crate::env::Clock;
use crate::error::Result;
use crate::message::{Epoch, EventTime, Message};
use crate::metrics::SubtaskMetrics;
use crate::operator::{Operator, Output};

/// One operator with its counters.
#[derive(Debug)]
pub(super) struct Link {
    pub(super) operator: Box<dyn Operator>,
    pub(super) metrics: Arc<SubtaskMetrics>,
}

/// The operators of one task, in order, and where their results go.
#[derive(Debug)]
pub(super) struct Chain {
    pub(super) links: Vec<Link>,
    pub(super) tail: Tail,
    pub(super) clock: Arc<dyn Clock>,
    /// A watermark that an operator has said by itself, to be sent after its rows.
    pub(super) own_watermark: Option<EventTime>,
}

impl Chain {
    /// Takes rows for an input of the first operator.
    pub(super) async fn process(&mut self, input: usize, batch: RecordBatch) -> Result<()> {
        let start = self.clock.monotonic();
        let mut results = Vec::new();
        self.push(0, input, batch, &mut results)?;
        self.count_busy(start);
        self.send(results).await
    }

    /// Sends a batch through the operators from `at` on, depth first, so that order is kept.
    fn push(
        &mut self,
        at: usize,
        input: usize,
        batch: RecordBatch,
        results: &mut Vec<RecordBatch>,
    ) -> Result<()> {
        let Some(link) = self.links.get_mut(at) else {
            results.push(batch);
            return Ok(());
        };
        let mut out = Output::default();
        link.metrics.add_in(batch.num_rows());
        link.operator.process(input, batch, &mut out)?;
        self.pass(at, out, results)
    }

    fn pass(&mut self, at: usize, mut out: Output, results: &mut Vec<RecordBatch>) -> Result<()> {
        for batch in out.take() {
            if let Some(link) = self.links.get(at) {
                link.metrics.add_out(batch.num_rows());
            }
            self.push(at + 1, 0, batch, results)?;
        }
        match out.take_watermark() {
            Some(watermark) => self.own_watermark(at + 1, watermark, results),
            None => Ok(()),
        }
    }

    /// Takes a watermark that the operator before `from` has said by itself.
    fn own_watermark(
        &mut self,
        from: usize,
        mut watermark: EventTime,
        results: &mut Vec<RecordBatch>,
    ) -> Result<()> {
        for at in from..self.links.len() {
            let Some(link) = self.links.get_mut(at) else {
                break;
            };
            let mut out = Output::default();
            link.operator.watermark(watermark, &mut out)?;
            link.metrics.set_watermark(watermark);
            watermark = link.operator.output_watermark(watermark);
            self.pass(at, out, results)?;
        }
        self.own_watermark = self.own_watermark.max(Some(watermark));
        Ok(())
    }

    /// Takes a watermark: each operator sends what it closes, then the watermark goes on.
    pub(super) async fn watermark(&mut self, mut watermark: EventTime) -> Result<()> {
        let start = self.clock.monotonic();
        let mut results = Vec::new();
        for at in 0..self.links.len() {
            let Some(link) = self.links.get_mut(at) else {
                break;
            };
            let mut out = Output::default();
            link.operator.watermark(watermark, &mut out)?;
            link.metrics.set_watermark(watermark);
            watermark = link.operator.output_watermark(watermark);
            self.pass(at, out, &mut results)?;
        }
        self.count_busy(start);
        self.send(results).await?;
        self.tail.watermark(watermark);
        self.tail.control(&Message::Watermark(watermark)).await
    }

    /// Passes an idle mark on.
    pub(super) async fn idle(&mut self) -> Result<()> {
        self.tail.control(&Message::Idle).await
    }

    /// Passes a barrier on: what was written up to it is prepared.
    pub(super) async fn barrier(&mut self, epoch: Epoch) -> Result<()> {
        self.tail.barrier(epoch).await
    }

    /// All inputs have ended: each operator sends what it keeps.
    pub(super) async fn end(&mut self) -> Result<()> {
        let start = self.clock.monotonic();
        let mut results = Vec::new();
        for at in 0..self.links.len() {
            let Some(link) = self.links.get_mut(at) else {
                break;
            };
            let mut out = Output::default();
            link.operator.watermark(EventTime::MAX, &mut out)?;
            link.operator.end(&mut out)?;
            link.metrics.set_watermark(EventTime::MAX);
            self.pass(at, out, &mut results)?;
        }
        self.count_busy(start);
        self.send(results).await?;
        self.tail.watermark(EventTime::MAX);
        self.tail.end().await
    }

    async fn send(&mut self, results: Vec<RecordBatch>) -> Result<()> {
        let start = self.clock.monotonic();
        for batch in results {
            self.tail.send(batch).await?;
        }
        if let Some(watermark) = self.own_watermark.take() {
            self.tail.watermark(watermark);
            self.tail.control(&Message::Watermark(watermark)).await?;
        }
        if let (Some(link), true) = (self.links.last(), self.tail.is_exchange()) {
            link.metrics
                .add_blocked(self.clock.monotonic().saturating_sub(start));
        }
        Ok(())
    }

    fn count_busy(&self, start: std::time::Duration) {
        // The whole of a fused chain is counted on its first operator.
        if let Some(link) = self.links.first() {
            let busy = self.clock.monotonic().saturating_sub(start);
            link.metrics
                .busy_ns
                .fetch_add(u64::try_from(busy.as_nanos()).unwrap_or(0), Relaxed);
        }
    }
}
