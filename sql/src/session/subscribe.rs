//! SUBSCRIBE TO (query): the changes of a query's result as they happen.
//!
//! The query runs as a streaming pipeline of its own, without state that outlives it, whose sink is
//! the reader. Each row comes with `_epoch` and `_op` in front. `_epoch` counts the moments at
//! which rows came out together; `_op` says what happens to the row.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use arrow::array::{ArrayRef, Int64Array};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use arrow::record_batch::RecordBatch;
use datafusion::common::{DataFusionError, Result as DfResult};
use datafusion::execution::{RecordBatchStream, SendableRecordBatchStream};
use futures::future::BoxFuture;
use futures::{FutureExt, Stream, TryFutureExt};
use tokio::sync::{mpsc, watch};
use weir_engine::changelog;
use weir_engine::dead_letter::DeadLetters;
use weir_engine::error::{Place, Result};
use weir_engine::graph::Graph;
use weir_engine::job::Stop;
use weir_engine::runtime::{Job, TimeOptions};

use super::{Session, ephemeral::Found, outlet::Outlet};
use crate::ast::Subscribe;
use crate::lower::{Referrals, Target, add_outlet, check_last};
use crate::settings::Mode;
use crate::stored::{Follower, Stateless};

/// The column with the moment at which a row came out.
const EPOCH_COLUMN: &str = "_epoch";
/// Batches on their way to the reader: a slow reader holds the job back.
const BATCHES_MAX: usize = 16;

/// Batches of one moment each.
pub(super) type Moments = mpsc::Receiver<(i64, RecordBatch)>;

impl Session {
    /// Starts the pipeline of a subscription; it ends when the stream is dropped.
    pub(super) async fn subscribe(
        &self,
        subscribe: &Subscribe,
        place: Place,
    ) -> Result<SendableRecordBatchStream> {
        let planned = self
            .planner
            .query(&self.catalog, &subscribe.query, Some(place))?;
        let plan = super::insert::rename(planned.plan, &[], place)?;
        super::insert::check_unique(&plan, place)?;
        let (sender, moments) = mpsc::channel(BATCHES_MAX);
        let (stop, stopped) = watch::channel(Stop::Run);
        let limit = subscribe.limit;
        if let Some(query) = Stateless::find(&self.planner, &plan, Some(place))? {
            let schema = schema(&query.schema);
            let follower = Follower::new(query, sender, self.settings.batch_rows());
            let end = follower.run().boxed();
            return Ok(Subscription::boxed(schema, limit, moments, end, stop));
        }
        let target = Target {
            planner: &self.planner,
            mode: Mode::Streaming,
            parallelism: self.settings.parallelism(),
            prefix: "subscription",
            place: Some(place),
            emit: subscribe.emit,
        };
        let mut graph = Graph::default();
        let outlet = Arc::new(Outlet::new(sender));
        check_last(&plan, &[], place)?;
        let mut referrals = Referrals::of(&self.planner, target.parallelism)?;
        referrals.of_plan(&mut graph, &plan).await?;
        let rows = add_outlet(&mut graph, target, &plan, outlet).await?;
        self.add_references(&mut graph, Mode::Streaming).await?;
        // Rows that cannot be decoded are left out, as those of a query are.
        let letters = DeadLetters::new(Arc::new(Found::default())).muted();
        let job = Job::start(
            Arc::new(graph),
            self.ephemeral("subscription", letters, stopped),
            TimeOptions {
                streaming: true,
                idle_timeout: self.settings.idle_timeout(),
                drift_max: self.settings.max_drift(),
            },
            None,
        );
        let end = job.wait().map_ok(drop).boxed();
        Ok(Subscription::boxed(
            schema(&rows),
            limit,
            moments,
            end,
            stop,
        ))
    }
}

/// The columns of a subscription's rows.
pub(super) fn schema(rows: &SchemaRef) -> SchemaRef {
    let epoch = Arc::new(Field::new(EPOCH_COLUMN, DataType::Int64, false));
    let shown = changelog::shown_schema(rows);
    let fields = std::iter::once(epoch).chain(shown.fields().iter().map(Arc::clone));
    Arc::new(Schema::new(fields.collect::<Vec<_>>()))
}

/// Puts the epoch and the kind of change in front of rows.
pub(super) fn shown(epoch: i64, batch: &RecordBatch, schema: &SchemaRef) -> Result<RecordBatch> {
    let batch = changelog::shown(batch)?;
    let epochs: ArrayRef = Arc::new(Int64Array::from_value(epoch, batch.num_rows()));
    let columns = std::iter::once(epochs).chain(batch.columns().iter().map(Arc::clone));
    Ok(RecordBatch::try_new(Arc::clone(schema), columns.collect())?)
}

/// What the reader of a subscription holds: the rows, and the job that makes them.
struct Subscription {
    schema: SchemaRef,
    rows_left: Option<u64>,
    moments: Moments,
    /// What makes the rows: the end of the job, until it is told.
    end: Option<BoxFuture<'static, Result<()>>>,
    stop: watch::Sender<Stop>,
}

impl Subscription {
    fn boxed(
        schema: SchemaRef,
        limit: Option<u64>,
        moments: Moments,
        end: BoxFuture<'static, Result<()>>,
        stop: watch::Sender<Stop>,
    ) -> SendableRecordBatchStream {
        Box::pin(Self {
            schema,
            rows_left: limit,
            moments,
            end: Some(end),
            stop,
        })
    }

    /// Brings rows into the form of the reader, as many as it still wants.
    fn take(&mut self, epoch: i64, batch: &RecordBatch) -> Result<RecordBatch> {
        let rows = batch.num_rows();
        let wanted = self
            .rows_left
            .map_or(rows, |left| usize::try_from(left).unwrap_or(rows).min(rows));
        self.rows_left = self.rows_left.map(|left| left - wanted as u64);
        shown(epoch, &batch.slice(0, wanted), &self.schema)
    }
}

impl Stream for Subscription {
    type Item = DfResult<RecordBatch>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        if self.rows_left == Some(0) {
            self.stop.send_replace(Stop::Now);
            return Poll::Ready(None);
        }
        if let Poll::Ready(Some((epoch, batch))) = self.moments.poll_recv(cx) {
            let taken = self.take(epoch, &batch);
            return Poll::Ready(Some(taken.map_err(DataFusionError::from)));
        }
        // The channel closes when the job ends, whose error is the one to tell.
        let Some(end) = &mut self.end else {
            return Poll::Ready(None);
        };
        let Poll::Ready(result) = end.poll_unpin(cx) else {
            return Poll::Pending;
        };
        self.end = None;
        if let Err(error) = result {
            return Poll::Ready(Some(Err(error.into())));
        }
        // What was sent before the end may not have been taken yet.
        match self.moments.poll_recv(cx) {
            Poll::Ready(Some((epoch, batch))) => {
                let taken = self.take(epoch, &batch);
                Poll::Ready(Some(taken.map_err(DataFusionError::from)))
            }
            _ => Poll::Ready(None),
        }
    }
}

impl RecordBatchStream for Subscription {
    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }
}

impl Drop for Subscription {
    fn drop(&mut self) {
        self.stop.send_replace(Stop::Now);
    }
}
