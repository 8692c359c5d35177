//! Rows in a temporary file: what a join puts on disk when the job's memory is used up.

use std::fmt;
use std::fs::File;
use std::io::BufReader;
use std::sync::Arc;

use arrow::datatypes::SchemaRef;
use arrow::ipc::reader::StreamReader;
use arrow::ipc::writer::StreamWriter;
use arrow::record_batch::RecordBatch;
use datafusion_execution::SpillFile;
use datafusion_execution::disk_manager::DiskManager;

use crate::error::{Error, Result, no_room};
use crate::spill::{bytes_of, own_views};

/// Rows of one batch in a file: what is in memory at once when it is read.
const FILE_BATCH_ROWS: usize = if cfg!(test) { 16 } else { 8_192 };
/// Bytes of one batch in a file, but for a single row.
const FILE_BATCH_BYTES: usize = 1 << 20;

/// A file of rows; it is deleted with its last owner.
#[derive(Clone)]
pub(super) struct Spilled {
    file: Arc<dyn SpillFile>,
}

impl fmt::Debug for Spilled {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Spilled").field(&self.file.path()).finish()
    }
}

impl Spilled {
    /// Writes rows, in batches of a bounded size.
    pub(super) fn write(
        disk: &Arc<DiskManager>,
        schema: &SchemaRef,
        batches: impl Iterator<Item = Result<RecordBatch>>,
    ) -> Result<Self> {
        let file = disk.create_tmp_file("join rows");
        let file = file.map_err(|e| failed(e.into()))?;
        let writer = file.open_writer().map_err(|e| failed(e.into()))?;
        let mut writer = StreamWriter::try_new(writer, schema).map_err(|e| failed(e.into()))?;
        for batch in batches {
            let batch = batch?;
            let row_bytes = bytes_of(&batch) / batch.num_rows().max(1);
            let step = (FILE_BATCH_BYTES / row_bytes.max(1)).clamp(1, FILE_BATCH_ROWS);
            for start in (0..batch.num_rows()).step_by(step) {
                let rows = step.min(batch.num_rows() - start);
                let part = own_views(&batch.slice(start, rows))?;
                writer.write(&part).map_err(|e| failed(e.into()))?;
            }
        }
        writer.finish().map_err(|e| failed(e.into()))?;
        let mut inner = writer.into_inner().map_err(|e| failed(e.into()))?;
        inner.finish().map_err(|e| failed(e.into()))?;
        Ok(Self { file })
    }

    /// Reads all rows, in their order.
    pub(super) fn read(&self) -> Result<impl Iterator<Item = Result<RecordBatch>> + Send + use<>> {
        let path = self.file.path();
        let path = path.ok_or_else(|| Error::internal("a temporary file has no path"))?;
        let file = File::open(path).map_err(|e| failed(e.into()))?;
        let reader = StreamReader::try_new(BufReader::new(file), None)?;
        Ok(reader.map(|batch| Ok(batch?)))
    }
}

fn failed(cause: Box<dyn std::error::Error + Send + Sync>) -> Error {
    no_room("the rows of a join", cause)
}
