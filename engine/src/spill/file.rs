//! Batches in temporary files: each is written once, read by itself, and goes with its last owner.
//!
//! Many batches share a file, so that thousands of small ones need few open files. A file is
//! deleted when nothing in it is needed any more.

use std::fmt;
use std::fs::File;
use std::io::{BufReader, Read as _, Seek as _, SeekFrom, Write as _};
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray};
use arrow::datatypes::DataType;
use arrow::ipc::reader::StreamReader;
use arrow::ipc::writer::StreamWriter;
use arrow::record_batch::{RecordBatch, RecordBatchOptions};
use datafusion_execution::disk_manager::DiskManager;
use datafusion_execution::{SpillFile, SpillWriter};

use crate::error::{Error, Result, no_room};

/// Bytes after which a new file is begun: few files for much state, and little that waits to be
/// deleted because of what is left in it. In tests there are several files.
const FILE_BYTES: u64 = if cfg!(test) { 64 << 10 } else { 64 << 20 };

/// One batch in a file.
#[derive(Clone)]
pub(crate) struct Frame {
    what: &'static str,
    file: Arc<dyn SpillFile>,
    offset: u64,
    pub(crate) bytes: u64,
}

impl fmt::Debug for Frame {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Frame")
            .field("offset", &self.offset)
            .field("bytes", &self.bytes)
            .finish_non_exhaustive()
    }
}

impl Frame {
    /// Reads the batch.
    pub(crate) fn read(&self) -> Result<RecordBatch> {
        let path = self.file.path();
        let path = path.ok_or_else(|| Error::internal("a temporary file has no path"))?;
        let failed = |e| no_room(self.what, e);
        let mut file = File::open(path).map_err(failed)?;
        file.seek(SeekFrom::Start(self.offset)).map_err(failed)?;
        let mut reader = StreamReader::try_new(BufReader::new(file.take(self.bytes)), None)?;
        let batch = reader
            .next()
            .ok_or_else(|| Error::internal("a temporary file is cut short"))??;
        Ok(batch)
    }
}

/// The end of the files, where batches are added.
pub(crate) struct Disk {
    /// What it holds, for the error of a full disk.
    what: &'static str,
    disk: Arc<DiskManager>,
    current: Option<Current>,
}

struct Current {
    file: Arc<dyn SpillFile>,
    writer: Box<dyn SpillWriter>,
    bytes: u64,
}

impl fmt::Debug for Disk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let bytes = self.current.as_ref().map_or(0, |current| current.bytes);
        write!(f, "{bytes} bytes of the last file")
    }
}

impl Disk {
    pub(crate) fn new(what: &'static str, disk: &Arc<DiskManager>) -> Self {
        Self {
            what,
            disk: Arc::clone(disk),
            current: None,
        }
    }

    /// Writes a batch; it can be read at once.
    pub(crate) fn write(&mut self, batch: &RecordBatch) -> Result<Frame> {
        let mut writer = StreamWriter::try_new(Vec::new(), batch.schema_ref())?;
        writer.write(&own_views(batch)?)?;
        let encoded = writer.into_inner()?;
        let current = match &mut self.current {
            Some(current) if current.bytes < FILE_BYTES => current,
            _ => {
                let file = self.disk.create_tmp_file(self.what);
                let file = file.map_err(|e| no_room(self.what, e))?;
                let writer = file.open_writer().map_err(|e| no_room(self.what, e))?;
                self.current.insert(Current {
                    file,
                    writer,
                    bytes: 0,
                })
            }
        };
        let failed = |e| no_room(self.what, e);
        current.writer.write_all(&encoded).map_err(failed)?;
        current.writer.flush().map_err(failed)?;
        let frame = Frame {
            what: self.what,
            file: Arc::clone(&current.file),
            offset: current.bytes,
            bytes: encoded.len() as u64,
        };
        current.bytes += frame.bytes;
        Ok(frame)
    }
}

/// Copies what views show: a file would get all that they could show.
pub(crate) fn own_views(batch: &RecordBatch) -> Result<RecordBatch> {
    let columns = batch.columns().iter().map(own_view).collect();
    let options = RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
    Ok(RecordBatch::try_new_with_options(
        batch.schema(),
        columns,
        &options,
    )?)
}

/// Copies what a view shows.
pub(crate) fn own_view(column: &ArrayRef) -> ArrayRef {
    match column.data_type() {
        DataType::Utf8View => Arc::new(column.as_string_view().gc()),
        DataType::BinaryView => Arc::new(column.as_binary_view().gc()),
        _ => Arc::clone(column),
    }
}
