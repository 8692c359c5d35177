//! SUBSCRIBE to a materialized view: its rows, then what each new epoch changes.

use std::sync::Arc;
use std::time::Duration;

use arrow::record_batch::RecordBatch;
use tokio::sync::mpsc;
use weir_engine::changelog::{RowKind, changelog_schema, kinds, rows_schema};
use weir_engine::checkpoint::{Manifest, NodeState, ViewInfo};
use weir_engine::error::{Error, Kind, Result, codes};
use weir_engine::operator::StateBatches;
use weir_engine::view::{Rows, changes, difference as difference_of};

use super::changes::{Difference, News, difference};
use super::{Stateless, StoredPipeline, changed, find, is_gone};

/// How often a new epoch is looked for: far more often than epochs come.
const POLL_INTERVAL: Duration = Duration::from_millis(200);

/// Rows that go, and rows that come.
type Differing = [Vec<RecordBatch>; 2];

/// What two epochs differ in, share by share.
type Compared = Box<dyn Iterator<Item = Result<Differing>> + Send>;

/// Where the changes go, with their epoch.
type Reader = mpsc::Sender<(i64, RecordBatch)>;

/// Follows one view.
#[derive(Debug)]
pub(crate) struct Follower {
    query: Stateless,
    reader: Reader,
    rows_max: usize,
}

impl Follower {
    /// Makes the follower of a query's view.
    pub(crate) fn new(query: Stateless, reader: Reader, rows_max: usize) -> Self {
        Self {
            query,
            reader,
            rows_max,
        }
    }

    /// Sends the rows, then changes until the reader is gone.
    pub(crate) async fn run(self) -> Result<()> {
        let pipeline = Arc::clone(&self.query.view.pipeline);
        let mut last = self.snapshot(&pipeline).await?;
        loop {
            let epochs = pipeline.store.epochs().await?;
            let seen = last.epoch;
            for epoch in epochs.into_iter().filter(|epoch| *epoch > seen) {
                // Nobody but the pipeline makes epochs, one after the other.
                if epoch != last.epoch + 1 {
                    return Err(behind(self.query.view.name(), last.epoch));
                }
                let read = self.advance(&pipeline, &last, epoch).await;
                match read {
                    Ok(next) => last = next,
                    Err(error) if is_gone(&error) && pipeline.has_left(last.epoch).await? => {
                        return Err(behind(self.query.view.name(), last.epoch));
                    }
                    Err(error) => return Err(error),
                }
            }
            tokio::select! {
                () = pipeline.env.clock().sleep(POLL_INTERVAL) => {}
                () = self.reader.closed() => return Ok(()),
            }
        }
    }

    /// Sends all rows of the newest epoch; one that is removed meanwhile is tried again.
    async fn snapshot(&self, pipeline: &StoredPipeline) -> Result<Arc<Manifest>> {
        loop {
            pipeline.refresh().await?;
            let name = self.query.view.name();
            let Some(manifest) = pipeline.newest() else {
                return Err(changed(name, "its pipeline has no checkpoint"));
            };
            let view = find(&manifest, name)?;
            match pipeline.rows(&manifest, view).await {
                Ok(rows) => {
                    let rows = Arc::new(rows);
                    for at in 0..rows.shares() {
                        for batch in pipeline.share(&rows, at, self.rows_max).await? {
                            let batch = of_kind(&batch, RowKind::Insert)?;
                            self.send(&manifest, &batch).await?;
                        }
                    }
                    return Ok(manifest);
                }
                Err(error) if is_gone(&error) && pipeline.has_left(manifest.epoch).await? => {}
                Err(error) => return Err(error),
            }
        }
    }

    /// Sends what an epoch has changed.
    async fn advance(
        &self,
        pipeline: &StoredPipeline,
        last: &Manifest,
        epoch: u64,
    ) -> Result<Arc<Manifest>> {
        let next = Arc::new(pipeline.store.inspect(epoch).await?);
        let name = self.query.view.name();
        let (old, new) = (find(last, name)?, find(&next, name)?);
        if rows_schema(&old.schema.0) != rows_schema(&new.schema.0) {
            return Err(changed(name, "it has other columns now"));
        }
        let (before, after) = (state(last, old), state(&next, new));
        match difference(before, after, (epoch, next.kind)) {
            Difference::Read(news) => {
                for news in news {
                    for batch in pipeline.news(new, news).await? {
                        self.send(&next, &batch).await?;
                    }
                }
            }
            Difference::Compare => {
                let before = pipeline.rows(last, old).await?;
                let after = pipeline.rows(&next, new).await?;
                let rows_max = self.rows_max;
                let compared = move || difference_of(before, after, rows_max);
                let mut shares: Compared = Box::new(pipeline.env.blocking(compared).await??);
                while let Some((rest, share)) = pipeline.next_of(shares).await? {
                    shares = rest;
                    for (batches, kind) in share.iter().zip([RowKind::Delete, RowKind::Insert]) {
                        for batch in batches {
                            self.send(&next, &of_kind(batch, kind)?).await?;
                        }
                    }
                }
            }
        }
        Ok(next)
    }

    async fn send(&self, manifest: &Manifest, batch: &RecordBatch) -> Result<()> {
        let batch = self.query.apply(batch)?;
        if batch.num_rows() == 0 {
            return Ok(());
        }
        let epoch = i64::try_from(manifest.epoch).unwrap_or(i64::MAX);
        let sent = self.reader.send((epoch, batch)).await;
        sent.map_err(|_| Error::cancelled())
    }
}

impl StoredPipeline {
    /// Whether an epoch was removed.
    async fn has_left(&self, epoch: u64) -> Result<bool> {
        Ok(!self.store.epochs().await?.contains(&epoch))
    }

    /// The rows of one share of a view.
    pub(super) async fn share(
        &self,
        rows: &Arc<Rows>,
        at: usize,
        rows_max: usize,
    ) -> Result<Vec<RecordBatch>> {
        let rows = Arc::clone(rows);
        let read = self.env.blocking(move || rows.share(at)?.batches(rows_max));
        read.await?
    }

    /// The next share of what two epochs differ in, and those after it.
    async fn next_of(&self, mut shares: Compared) -> Result<Option<(Compared, Differing)>> {
        let next = self.env.blocking(move || {
            let next = shares.next().transpose()?;
            Ok(next.map(|share| (shares, share)))
        });
        next.await?
    }

    /// Reads what is new in a chain.
    async fn news(&self, view: &ViewInfo, news: News<'_>) -> Result<Vec<RecordBatch>> {
        let batches = self.batches(news.files).await?;
        let schema = Arc::clone(&view.schema.0);
        let read = self.env.blocking(move || {
            let new = passed(batches, news_rows(news.known_rows));
            changes(&schema, new).collect::<Result<Vec<_>>>()
        });
        read.await?
    }
}

fn news_rows(rows: u64) -> usize {
    usize::try_from(rows).unwrap_or(usize::MAX)
}

/// Passes over rows at the beginning.
fn passed(batches: StateBatches, mut rows: usize) -> StateBatches {
    Box::new(batches.filter_map(move |batch| {
        let batch = match batch {
            Ok(batch) => batch,
            Err(error) => return Some(Err(error)),
        };
        let skipped = rows.min(batch.num_rows());
        rows -= skipped;
        let left = batch.num_rows() - skipped;
        (left > 0).then(|| Ok(batch.slice(skipped, left)))
    }))
}

fn state<'m>(manifest: &'m Manifest, view: &ViewInfo) -> Option<&'m NodeState> {
    manifest.nodes.iter().find(|node| node.id == view.node)
}

/// Rows that are all of one kind.
fn of_kind(rows: &RecordBatch, kind: RowKind) -> Result<RecordBatch> {
    let mut columns = rows.columns().to_vec();
    columns.push(kinds(kind, rows.num_rows()));
    let schema = changelog_schema(rows.schema_ref());
    Ok(RecordBatch::try_new(schema, columns)?)
}

fn behind(view: &str, epoch: u64) -> Error {
    Error::new(
        Kind::Unavailable,
        codes::LIMIT,
        format!("the subscription to \"{view}\" fell behind: the epoch after {epoch} is gone"),
    )
    .detail("the pipeline keeps a number of epochs, and the reader was slower than that")
    .hint("subscribe again, or raise pipeline.checkpoints_retained of the pipeline")
}
