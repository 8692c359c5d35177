//! The sink of a subscription: hands rows to the reader as they come.

use arrow::datatypes::SchemaRef;
use arrow::record_batch::RecordBatch;
use async_trait::async_trait;
use tokio::sync::mpsc;
use weir_engine::error::{Error, Result};
use weir_engine::job::TaskContext;
use weir_engine::message::Epoch;
use weir_engine::sink::{CommitToken, Sink, SinkWriter, Start};

/// Where the rows of a subscription go, with the number of the moment at which they come out.
type Reader = mpsc::Sender<(i64, RecordBatch)>;

/// The sink; it keeps nothing, so nothing is to be committed.
#[derive(Debug)]
pub(crate) struct Outlet {
    reader: Reader,
}

impl Outlet {
    /// Makes the sink before a reader.
    pub(super) fn new(reader: Reader) -> Self {
        Self { reader }
    }
}

#[async_trait]
impl Sink for Outlet {
    async fn check(&self, _schema: &SchemaRef, _start: Start) -> Result<()> {
        Ok(())
    }

    async fn writer(
        &self,
        _schema: &SchemaRef,
        _context: &TaskContext,
    ) -> Result<Box<dyn SinkWriter>> {
        Ok(Box::new(OutletWriter {
            reader: self.reader.clone(),
            moment: 1,
            has_rows: false,
        }))
    }

    async fn commit(&self, _epoch: Epoch, _tokens: &[CommitToken]) -> Result<()> {
        Ok(())
    }

    async fn abort(&self, _token: &CommitToken) -> Result<()> {
        Ok(())
    }

    fn takes_changelog(&self) -> bool {
        true
    }

    fn is_single(&self) -> bool {
        true
    }

    fn describe(&self) -> String {
        "subscription".to_owned()
    }
}

/// Counts the moments: a tick of the runtime ends one in which rows came.
#[derive(Debug)]
struct OutletWriter {
    reader: Reader,
    moment: i64,
    has_rows: bool,
}

#[async_trait]
impl SinkWriter for OutletWriter {
    async fn write(&mut self, batch: RecordBatch) -> Result<()> {
        if batch.num_rows() == 0 {
            return Ok(());
        }
        self.has_rows = true;
        let sent = self.reader.send((self.moment, batch)).await;
        sent.map_err(|_| Error::cancelled())
    }

    async fn tick(&mut self) -> Result<()> {
        self.moment += i64::from(std::mem::take(&mut self.has_rows));
        Ok(())
    }

    async fn prepare(&mut self) -> Result<Vec<CommitToken>> {
        Ok(Vec::new())
    }

    async fn discard(&mut self) -> Result<()> {
        Ok(())
    }
}
