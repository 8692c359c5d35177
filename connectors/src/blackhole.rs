//! The `blackhole` sink: takes rows and keeps nothing, for measuring a pipeline without a sink's
//! cost.

use std::sync::Arc;

use arrow::datatypes::SchemaRef;
use arrow::record_batch::RecordBatch;
use async_trait::async_trait;
use weir_engine::connector::{Connector, SinkRequest};
use weir_engine::error::Result;
use weir_engine::job::TaskContext;
use weir_engine::message::Epoch;
use weir_engine::options::{OptionSpec, Options};
use weir_engine::sink::{CommitToken, Sink, SinkWriter, Start};

const OPTIONS: &[OptionSpec] = &[];

/// The connector `blackhole`.
#[derive(Debug, Default)]
pub struct BlackholeConnector;

#[async_trait]
impl Connector for BlackholeConnector {
    fn name(&self) -> &'static str {
        "blackhole"
    }

    fn summary(&self) -> &'static str {
        "Takes rows and keeps nothing, for measuring"
    }

    fn sink_options(&self) -> Option<Vec<&'static [OptionSpec]>> {
        Some(vec![OPTIONS])
    }

    fn takes_changelog(&self) -> Option<&'static str> {
        Some("connector = 'blackhole'")
    }

    async fn sink(&self, request: SinkRequest) -> Result<Arc<dyn Sink>> {
        drop(Options::check(
            "connector 'blackhole'",
            &[OPTIONS],
            request.options,
        )?);
        Ok(Arc::new(BlackholeSink))
    }
}

#[derive(Debug)]
struct BlackholeSink;

#[async_trait]
impl Sink for BlackholeSink {
    async fn check(&self, _schema: &SchemaRef, _start: Start) -> Result<()> {
        Ok(())
    }

    async fn writer(
        &self,
        _schema: &SchemaRef,
        _context: &TaskContext,
    ) -> Result<Box<dyn SinkWriter>> {
        Ok(Box::new(BlackholeWriter { rows: 0 }))
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

    fn describe(&self) -> String {
        "blackhole".to_owned()
    }
}

/// Counts rows since the last token.
#[derive(Debug)]
struct BlackholeWriter {
    rows: u64,
}

#[async_trait]
impl SinkWriter for BlackholeWriter {
    async fn write(&mut self, batch: RecordBatch) -> Result<()> {
        self.rows += batch.num_rows() as u64;
        Ok(())
    }

    async fn prepare(&mut self) -> Result<Vec<CommitToken>> {
        let rows = std::mem::take(&mut self.rows);
        Ok(vec![CommitToken::new(String::new(), rows, 0)])
    }

    async fn discard(&mut self) -> Result<()> {
        self.rows = 0;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use arrow::datatypes::Schema;
    use futures::executor::block_on;

    use super::*;

    #[test]
    fn counts_rows_into_its_tokens() {
        let schema = Arc::new(Schema::empty());
        let options = arrow::record_batch::RecordBatchOptions::new().with_row_count(Some(3));
        let batch = RecordBatch::try_new_with_options(schema, vec![], &options).unwrap();
        let mut writer = BlackholeWriter { rows: 0 };
        block_on(writer.write(batch.clone())).unwrap();
        block_on(writer.write(batch)).unwrap();
        assert_eq!(block_on(writer.prepare()).unwrap()[0].rows, 6);
        assert_eq!(block_on(writer.prepare()).unwrap()[0].rows, 0);
    }
}
