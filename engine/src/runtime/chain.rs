//! Operators that are fused into one task: rows go through all of them in one call.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use arrow::record_batch::RecordBatch;

use super::report::{Barrier, Handover, Part, Subtask};
use super::tail::Tail;
use crate::env::Clock;
use crate::error::Result;
use crate::limits;
use crate::message::{Epoch, EventTime, Message};
use crate::metrics::SubtaskMetrics;
use crate::operator::{Extent, Operator, Output};

/// One operator with its counters.
#[derive(Debug)]
pub(super) struct Link {
    pub(super) operator: Box<dyn Operator>,
    pub(super) metrics: Arc<SubtaskMetrics>,
    pub(super) of: Subtask,
    /// Whether its state goes into checkpoints.
    pub(super) keeps: bool,
}

/// The operators of one task, in order, and where their results go.
#[derive(Debug)]
pub(super) struct Chain {
    pub(super) links: Vec<Link>,
    /// The input of the first operator that is read to its end before others.
    pub(super) prefers: Option<usize>,
    /// The input of the first operator that has no event time.
    pub(super) timeless: Option<usize>,
    /// Whether the first operator is better given the rows of several batches at once.
    pub(super) gathers: bool,
    pub(super) tail: Tail,
    pub(super) clock: Arc<dyn Clock>,
    /// A watermark that an operator has said by itself, to be sent after its rows.
    pub(super) own_watermark: Option<EventTime>,
    pub(super) ticked: Duration,
    /// It has passed a barrier: what it has left is what has changed since.
    pub(super) is_saved: bool,
}

impl Chain {
    /// Takes rows for an input of the first operator.
    pub(super) async fn process(&mut self, input: usize, batch: RecordBatch) -> Result<()> {
        let start = self.clock.monotonic();
        let mut results = Vec::new();
        self.push(0, input, batch, &mut results)?;
        self.count_busy(start);
        self.send(results).await?;
        self.drain_all().await
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
            while link.operator.resume(&mut out)? {}
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
            self.drain(at, &mut results).await?;
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

    /// Lets operators act by processing time, and the sink roll.
    pub(super) async fn tick(&mut self) -> Result<()> {
        let now = self.clock.monotonic();
        if now < self.ticked + limits::SINK_TICK_INTERVAL {
            return Ok(());
        }
        self.ticked = now;
        let micros = self.clock.now_micros();
        let mut results = Vec::new();
        for at in 0..self.links.len() {
            let Some(link) = self.links.get_mut(at) else {
                break;
            };
            let mut out = Output::default();
            link.operator.tick(micros, &mut out)?;
            self.pass(at, out, &mut results)?;
        }
        self.send(results).await?;
        self.drain_all().await?;
        self.tail.tick().await
    }

    /// Takes a barrier: each operator gives its state, then the barrier goes on; a sink finishes
    /// what was written up to it.
    pub(super) async fn barrier(&mut self, barrier: &Barrier) -> Result<Handover> {
        for at in 0..self.links.len() {
            if let Some(link) = self.links.get_mut(at) {
                link.operator.before_barrier()?;
            }
            let mut results = Vec::new();
            self.drain(at, &mut results).await?;
        }
        let (parts, results) = self.snapshot(|of| barrier.extent(&of.0, of.1))?;
        self.is_saved = true;
        self.send(results).await?;
        let tokens = self.tail.barrier(Epoch(barrier.epoch)).await?;
        Ok(Handover {
            parts,
            splits: None,
            tokens,
        })
    }

    fn snapshot(
        &mut self,
        extent: impl Fn(&Subtask) -> Extent,
    ) -> Result<(Vec<Part>, Vec<RecordBatch>)> {
        let (mut parts, mut results) = (Vec::new(), Vec::new());
        for at in 0..self.links.len() {
            let Some(link) = self.links.get_mut(at) else {
                break;
            };
            let mut out = Output::default();
            let mut extent = extent(&link.of);
            if link.operator.renews() {
                extent = Extent::All;
            }
            let state = link.operator.snapshot(extent, &mut out)?;
            if link.keeps {
                let of = link.of.clone();
                parts.push(Part { of, extent, state });
            }
            self.pass(at, out, &mut results)?;
        }
        Ok((parts, results))
    }

    /// All inputs have ended: each operator sends what it keeps, and gives its state if it is saved.
    pub(super) async fn end(&mut self, saves: bool) -> Result<Handover> {
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
            self.drain(at, &mut results).await?;
        }
        self.count_busy(start);
        self.send(results).await?;
        let mut parts = Vec::new();
        if saves {
            // What is left is what a view shows, or that there is nothing more to say.
            let extent = if self.is_saved {
                Extent::Changes
            } else {
                Extent::All
            };
            let results;
            (parts, results) = self.snapshot(|_| extent)?;
            self.send(results).await?;
        }
        self.tail.watermark(EventTime::MAX);
        let tokens = self.tail.end().await?;
        Ok(Handover {
            parts,
            splits: None,
            tokens,
        })
    }

    /// Sends on what any operator could not give at once; what it gives may be much again for one
    /// behind it.
    async fn drain_all(&mut self) -> Result<()> {
        for at in 0..self.links.len() {
            self.drain(at, &mut Vec::new()).await?;
        }
        Ok(())
    }

    /// Sends on what an operator could not give at once.
    async fn drain(&mut self, at: usize, results: &mut Vec<RecordBatch>) -> Result<()> {
        loop {
            let Some(link) = self.links.get_mut(at) else {
                return Ok(());
            };
            let mut out = Output::default();
            if !link.operator.resume(&mut out)? {
                return Ok(());
            }
            self.pass(at, out, results)?;
            self.send(std::mem::take(results)).await?;
        }
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

    fn count_busy(&self, start: Duration) {
        // The whole of a fused chain is counted on its first operator.
        if let Some(link) = self.links.first() {
            let busy = self.clock.monotonic().saturating_sub(start);
            link.metrics
                .busy_ns
                .fetch_add(u64::try_from(busy.as_nanos()).unwrap_or(0), Relaxed);
        }
    }
}
