//! Batches in temporary files: each is written once, read by itself, and goes with its last owner.
//!
//! Many batches share a file, so that thousands of small ones need few open files. A file is
//! deleted when nothing in it is needed any more.

use std::fmt;
use std::fs::File;
use std::io::{BufReader, Read as _, Seek as _, SeekFrom, Write as _};
use std::sync::Arc;

use arrow::ipc::reader::StreamReader;
use arrow::ipc::writer::StreamWriter;
use arrow::record_batch::RecordBatch;
use datafusion_execution::disk_manager::DiskManager;
use datafusion_execution::{SpillFile, SpillWriter};

use crate::error::{Error, Kind, Result, codes};

/// Bytes after which a new file is begun: few files for many rows, and little that waits to be
/// deleted because of what is left in it. In tests there are several files.
const FILE_BYTES: u64 = if cfg!(test) { 16 << 10 } else { 64 << 20 };

/// One batch in a file.
#[derive(Clone)]
pub(super) struct Frame {
    file: Arc<dyn SpillFile>,
    offset: u64,
    pub(super) bytes: u64,
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
    pub(super) fn read(&self) -> Result<RecordBatch> {
        let path = self.file.path();
        let path = path.ok_or_else(|| Error::internal("a temporary file has no path"))?;
        let mut file = File::open(path).map_err(no_room)?;
        file.seek(SeekFrom::Start(self.offset)).map_err(no_room)?;
        let mut reader = StreamReader::try_new(BufReader::new(file.take(self.bytes)), None)?;
        let batch = reader
            .next()
            .ok_or_else(|| Error::internal("a temporary file is cut short"))??;
        Ok(batch)
    }
}

/// The end of the files, where batches are added.
pub(super) struct Disk {
    manager: Arc<DiskManager>,
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
    pub(super) fn new(manager: &Arc<DiskManager>) -> Self {
        Self {
            manager: Arc::clone(manager),
            current: None,
        }
    }

    /// Writes a batch; it can be read at once.
    pub(super) fn write(&mut self, batch: &RecordBatch) -> Result<Frame> {
        let mut writer = StreamWriter::try_new(Vec::new(), batch.schema_ref())?;
        writer.write(batch)?;
        let encoded = writer.into_inner()?;
        let current = match &mut self.current {
            Some(current) if current.bytes < FILE_BYTES => current,
            _ => {
                let file = self.manager.create_tmp_file("rows of a view");
                let file = file.map_err(no_room)?;
                let writer = file.open_writer().map_err(no_room)?;
                self.current.insert(Current {
                    file,
                    writer,
                    bytes: 0,
                })
            }
        };
        current.writer.write_all(&encoded).map_err(no_room)?;
        current.writer.flush().map_err(no_room)?;
        let frame = Frame {
            file: Arc::clone(&current.file),
            offset: current.bytes,
            bytes: encoded.len() as u64,
        };
        current.bytes += frame.bytes;
        Ok(frame)
    }
}

fn no_room(cause: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Error {
    Error::new(
        Kind::Limit,
        codes::DISK,
        "the rows of a materialized view cannot be put into a temporary file",
    )
    .hint("free some room where TMPDIR is, or give more memory with --memory")
    .caused_by(cause)
}
