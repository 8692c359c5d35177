//! One task: its head reads a source, an island or an inbox, and drives its chain.

use std::sync::Arc;
use std::time::Duration;

use arrow::compute::concat_batches;
use arrow::record_batch::RecordBatch;
use datafusion_physical_plan::ExecutionPlan;
use tokio::sync::watch;

use super::asking::Asking;
use super::chain::Chain;
use super::heads::{Island, Scanning};
use super::report::{Barrier, Wire};
use crate::error::{Error, Result};
use crate::exchange::{Event, Inbox, Merge, batch_bytes};
use crate::feed::{Feed, Reading, SplitReport};
use crate::island;
use crate::job::{JobContext, Stop, TaskContext};
use crate::join::LookupJoin;
use crate::limits;
use crate::message::{Epoch, EventTime, Message};
use crate::metrics::SubtaskMetrics;
use crate::scan::Scan;

/// Where a task's rows come from.
#[derive(Debug)]
pub(super) enum Head {
    /// A source.
    Scan {
        scan: Arc<Scan>,
        feed: Arc<Feed>,
        task: TaskContext,
        idle: Option<Duration>,
        drift_max: Option<Duration>,
    },
    /// A partition of an island.
    Island {
        plan: Arc<dyn ExecutionPlan>,
        partition: usize,
        metrics: Arc<SubtaskMetrics>,
        node: Arc<str>,
        /// Batches that an earlier run has given already.
        given: u64,
    },
    /// Other tasks; each channel belongs to an input of the first operator.
    Inbox { inbox: Inbox, inputs: Vec<usize> },
    /// Other tasks, whose rows are joined with a table that is asked.
    Lookup { inbox: Inbox, join: Box<LookupJoin> },
}

/// A task before it runs.
#[derive(Debug)]
pub(super) struct Task {
    pub(super) head: Head,
    pub(super) chain: Chain,
    pub(super) job: JobContext,
    /// `None` without checkpoints.
    pub(super) wire: Option<Wire>,
    /// Becomes true when another task has failed.
    pub(super) failed: watch::Receiver<bool>,
}

impl Task {
    /// Runs to the end. When the job fails or is stopped at once, what is open is thrown away.
    pub(super) async fn run(self) -> Result<()> {
        let Self {
            head,
            mut chain,
            job,
            mut wire,
            failed,
        } = self;
        let result = tokio::select! {
            biased;
            result = drive(head, &mut chain, &job, &mut wire) => result,
            () = stopped(&job, failed) => Err(Error::cancelled()),
        };
        if result.is_err() {
            chain.tail.discard().await?;
        }
        result
    }
}

async fn stopped(job: &JobContext, mut failed: watch::Receiver<bool>) {
    let mut stop = job.stop.clone();
    let now = async {
        if stop.wait_for(|stop| *stop == Stop::Now).await.is_err() {
            std::future::pending::<()>().await;
        }
    };
    let fail = async {
        if failed.wait_for(|failed| *failed).await.is_err() {
            std::future::pending::<()>().await;
        }
    };
    tokio::select! {
        biased;
        () = now => {}
        () = fail => {}
    }
}

async fn drive(
    head: Head,
    chain: &mut Chain,
    job: &JobContext,
    wire: &mut Option<Wire>,
) -> Result<()> {
    let splits = match head {
        Head::Scan {
            scan,
            feed,
            task,
            idle,
            drift_max,
        } => {
            let node = Arc::clone(&task.node);
            let reading = Reading::new(scan, Arc::clone(&feed), task.clone(), drift_max);
            let scanning = Scanning {
                reading,
                feed,
                task,
                idle_timeout: idle,
            };
            Some((node, scanning.run(chain, wire).await?))
        }
        Head::Island {
            plan,
            partition,
            metrics,
            node,
            given,
        } => {
            let rows = plan.execute(partition, island::context(job))?;
            let island = Island {
                rows,
                id: partition.to_string(),
                node,
                given,
            };
            Some(island.run(&metrics, chain, wire).await?)
        }
        Head::Inbox { inbox, inputs } => {
            read_inbox(inbox, &inputs, chain, job, wire).await?;
            None
        }
        Head::Lookup { inbox, join } => {
            Asking::new(inbox, join).run(chain, job, wire).await?;
            None
        }
    };
    let mut handover = chain.end(wire.is_some()).await?;
    handover.splits = splits;
    match wire {
        Some(wire) => wire.end(handover).await,
        None => Ok(()),
    }
}

async fn read_inbox(
    mut inbox: Inbox,
    inputs: &[usize],
    chain: &mut Chain,
    job: &JobContext,
    wire: &mut Option<Wire>,
) -> Result<()> {
    let mut merge = Merge::of(inputs).without_time(chain.timeless);
    let mut preferred = Preferred::new(chain.prefers, inputs);
    preferred.hold_others(&mut inbox);
    loop {
        let (channel, message) = match inbox.try_recv() {
            Some(found) => found,
            None => tokio::select! {
                biased;
                found = inbox.recv() => found,
                () = job.env.clock().sleep(limits::SINK_TICK_INTERVAL) => {
                    chain.tick().await?;
                    continue;
                }
            },
        };
        let is_watermark = matches!(message, Message::Watermark(_));
        if matches!(message, Message::End) && preferred.ended(channel) {
            inbox.unblock();
        }
        match merge.take(channel, message) {
            Event::Batch(batch) if chain.gathers => {
                let input = inputs.get(channel).copied().unwrap_or(0);
                let gathered = gather(batch, input, inputs, &mut inbox, &mut merge).await?;
                chain.process(input, gathered.rows).await?;
                if let Some(watermark) = gathered.watermark {
                    chain.watermark(watermark).await?;
                }
            }
            Event::Batch(batch) => {
                let input = inputs.get(channel).copied().unwrap_or(0);
                chain.process(input, batch).await?;
            }
            Event::Watermark(watermark) => {
                chain.watermark(watermark).await?;
                if merge.is_idle() {
                    // It was the last idle mark that has freed the watermark.
                    chain.idle().await?;
                }
            }
            Event::Idle => chain.idle().await?,
            Event::Block(channel) => inbox.block(channel),
            Event::Barrier(epoch) => {
                pass(chain, wire, epoch, None).await?;
                inbox.unblock();
            }
            Event::End => return Ok(()),
            Event::Nothing => {}
        }
        chain.tick().await?;
        if !is_watermark {
            tokio::task::yield_now().await;
        }
    }
}

/// Rows that waited, and the last watermark among them: it comes after them, which is never wrong.
struct Gathered {
    rows: RecordBatch,
    watermark: Option<EventTime>,
}

/// Adds the rows that wait for the same input and have nothing before them but watermarks. Whoever sends
/// rows has a turn in between, and another one while some come: who is behind waits for nobody.
async fn gather(
    first: RecordBatch,
    input: usize,
    inputs: &[usize],
    inbox: &mut Inbox,
    merge: &mut Merge,
) -> Result<Gathered> {
    let schema = first.schema();
    let (mut rows, mut bytes) = (first.num_rows(), batch_bytes(&first));
    let mut batches = vec![first];
    let mut last = None;
    let mut is_due = false;
    while rows < limits::GATHERED_ROWS_MAX && bytes < limits::GATHERED_BYTES_MAX {
        let found = inbox.try_recv_flow(|channel| inputs.get(channel) == Some(&input));
        let Some((channel, message)) = found else {
            if std::mem::replace(&mut is_due, true) {
                break;
            }
            tokio::task::yield_now().await;
            continue;
        };
        match merge.take(channel, message) {
            Event::Batch(batch) => {
                is_due = false;
                rows += batch.num_rows();
                bytes += batch_bytes(&batch);
                batches.push(batch);
            }
            Event::Watermark(watermark) => last = Some(watermark),
            _ => {}
        }
    }
    let rows = match batches.as_slice() {
        [one] => one.clone(),
        several => concat_batches(&schema, several)?,
    };
    Ok(Gathered {
        rows,
        watermark: last,
    })
}

/// Takes the chain through a barrier and hands over what it gives.
pub(super) async fn pass(
    chain: &mut Chain,
    wire: &mut Option<Wire>,
    epoch: Epoch,
    splits: Option<(Arc<str>, SplitReport)>,
) -> Result<()> {
    let barrier = match wire {
        Some(wire) => wire.current(),
        None => Barrier {
            epoch: epoch.0,
            ..Barrier::default()
        },
    };
    if barrier.epoch != epoch.0 {
        return Err(Error::internal("a barrier came that nobody has sent"));
    }
    let mut handover = chain.barrier(&barrier).await?;
    handover.splits = splits;
    match wire {
        Some(wire) => wire.pass(epoch, handover).await,
        None => Ok(()),
    }
}

/// The input that an operator wants to its end before it takes others.
#[derive(Debug)]
struct Preferred {
    /// Its channels that have not ended.
    left: Vec<usize>,
    others: Vec<usize>,
}

impl Preferred {
    fn new(input: Option<usize>, inputs: &[usize]) -> Self {
        let channels = |preferred: bool| {
            let of = inputs.iter().enumerate();
            of.filter(|(_, of)| input.is_some() && (Some(**of) == input) == preferred)
                .map(|(channel, _)| channel)
                .collect()
        };
        Self {
            left: channels(true),
            others: channels(false),
        }
    }

    fn hold_others(&self, inbox: &mut Inbox) {
        if !self.left.is_empty() {
            self.others.iter().for_each(|channel| inbox.block(*channel));
        }
    }

    /// Notes the end of a channel; says whether it was the last of them.
    fn ended(&mut self, channel: usize) -> bool {
        let before = self.left.len();
        self.left.retain(|left| *left != channel);
        before > 0 && self.left.is_empty()
    }
}
