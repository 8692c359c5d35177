//! The head of a task that joins rows with a table it asks: a few batches wait for their answers at
//! once, and go on in the order in which they came, with the watermarks between them.
//!
//! A barrier passes when all rows before it are answered and have gone on, so that a checkpoint
//! needs nothing of a lookup.

use futures::StreamExt;
use futures::stream::FuturesOrdered;

use super::chain::Chain;
use super::report::Wire;
use super::task::pass;
use crate::env::BoxFuture;
use crate::error::Result;
use crate::exchange::{Event, Inbox, Merge};
use crate::job::JobContext;
use crate::join::{Answered, LookupJoin};
use crate::limits;
use crate::message::EventTime;

/// What goes on, in order.
enum Step {
    Rows(Box<Answered>),
    Watermark(EventTime),
    Idle,
}

/// A lookup join that reads an inbox.
pub(super) struct Asking {
    inbox: Inbox,
    join: Box<LookupJoin>,
    merge: Merge,
    steps: FuturesOrdered<BoxFuture<Result<Step>>>,
    /// Batches among the steps.
    waiting: usize,
}

impl Asking {
    /// Reads this inbox for this join.
    pub(super) fn new(inbox: Inbox, join: Box<LookupJoin>) -> Self {
        Self {
            merge: Merge::new(inbox.channels()),
            inbox,
            join,
            steps: FuturesOrdered::new(),
            waiting: 0,
        }
    }

    /// Runs to the end of the input.
    pub(super) async fn run(
        mut self,
        chain: &mut Chain,
        job: &JobContext,
        wire: &mut Option<Wire>,
    ) -> Result<()> {
        loop {
            let room = self.waiting < limits::LOOKUP_BATCHES_MAX
                && self.steps.len() < limits::CHANNEL_MESSAGES_MAX;
            tokio::select! {
                biased;
                Some(step) = self.steps.next() => self.go_on(step?, chain).await?,
                (channel, message) = self.inbox.recv(), if room => {
                    match self.merge.take(channel, message) {
                        Event::Barrier(epoch) => {
                            self.answer_all(chain).await?;
                            pass(chain, wire, epoch, None).await?;
                            self.inbox.unblock();
                        }
                        Event::End => {
                            self.answer_all(chain).await?;
                            self.join.passed(EventTime::MAX);
                            return Ok(());
                        }
                        event => {
                            let freed = matches!(event, Event::Watermark(_));
                            self.take(event)?;
                            if freed && self.merge.is_idle() {
                                self.take(Event::Idle)?;
                            }
                        }
                    }
                }
                () = job.env.clock().sleep(limits::SINK_TICK_INTERVAL) => {}
            }
            chain.tick().await?;
            tokio::task::yield_now().await;
        }
    }

    fn take(&mut self, event: Event) -> Result<()> {
        let step: BoxFuture<Result<Step>> = match event {
            Event::Batch(batch) => {
                self.waiting += 1;
                let answered = self.join.start(&batch)?;
                Box::pin(async move { Ok(Step::Rows(Box::new(answered.await?))) })
            }
            Event::Watermark(watermark) => Box::pin(async move { Ok(Step::Watermark(watermark)) }),
            Event::Idle => Box::pin(async { Ok(Step::Idle) }),
            Event::Block(channel) => {
                self.inbox.block(channel);
                return Ok(());
            }
            Event::Barrier(_) | Event::End | Event::Nothing => return Ok(()),
        };
        self.steps.push_back(step);
        Ok(())
    }

    async fn answer_all(&mut self, chain: &mut Chain) -> Result<()> {
        while let Some(step) = self.steps.next().await {
            self.go_on(step?, chain).await?;
        }
        Ok(())
    }

    async fn go_on(&mut self, step: Step, chain: &mut Chain) -> Result<()> {
        match step {
            Step::Rows(answered) => {
                self.waiting -= 1;
                for batch in self.join.finish(*answered)? {
                    chain.process(0, batch).await?;
                }
                Ok(())
            }
            Step::Watermark(watermark) => {
                self.join.passed(watermark);
                chain.watermark(watermark).await
            }
            Step::Idle => chain.idle().await,
        }
    }
}
