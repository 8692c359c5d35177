//! Parts on disk: what panes put into temporary files when the job's memory is used up.
//!
//! A file is written once, for many panes, and goes with the last part in it. A large part is cut
//! by the hash of its keys, so that a window that is larger than memory can be merged one cut at a
//! time.

use std::fmt;
use std::fs::File;
use std::io::{BufReader, Read, Seek, SeekFrom, Write as _};
use std::sync::Arc;

use arrow::array::{ArrayRef, UInt32Array};
use arrow::compute::take_arrays;
use arrow::datatypes::{Schema, SchemaRef};
use arrow::ipc::reader::StreamReader;
use arrow::ipc::writer::StreamWriter;
use datafusion_execution::disk_manager::DiskManager;
use datafusion_execution::{SpillFile, SpillWriter};

use super::part::Part;
use super::program::Program;
use super::results;
use super::table::pick;
use crate::error::{Error, Result, no_room};
use crate::key_group::hash_keys;
use crate::spill::own_view;

/// Cuts of a window that is larger than memory: a window ten times the budget then takes a sixth
/// of it while it is merged.
pub(super) const CUTS: usize = 64;
/// Rows of a pane from which its parts are cut; less is merged at once.
const CUT_ROWS_MIN: usize = if cfg!(test) { 512 } else { 1 << 15 };

/// The cut of each row, by its keys.
pub(super) fn cuts_of(program: &Program, columns: &[ArrayRef], rows: usize) -> Result<Vec<u8>> {
    let keys = pick(columns, &program.part_keys())?;
    let mut hashes = Vec::new();
    hash_keys(&keys, rows, &mut hashes)?;
    // The first bits are the key group, which is nearly the same for all rows of a subtask.
    let cut = |hash: &u64| u8::try_from((hash >> 32) % CUTS as u64).unwrap_or(0);
    Ok(hashes.iter().map(cut).collect())
}

/// Gives the rows of one cut.
pub(super) fn rows_of_cut(
    columns: &[ArrayRef],
    cuts: &[u8],
    cut: usize,
) -> Result<(Vec<ArrayRef>, usize)> {
    let rows = (0_u32..)
        .zip(cuts)
        .filter(|(_, own)| usize::from(**own) == cut);
    let rows: UInt32Array = rows.map(|(row, _)| Some(row)).collect();
    Ok((take_arrays(columns, &rows, None)?, rows.len()))
}

/// Some rows in a file.
#[derive(Debug, Clone, Copy)]
struct Piece {
    /// `None` holds rows of all cuts.
    cut: Option<usize>,
    offset: u64,
    bytes: u64,
    rows: usize,
}

/// A part in a file.
#[derive(Clone)]
pub(super) struct OnDisk {
    file: Arc<dyn SpillFile>,
    pieces: Vec<Piece>,
}

impl fmt::Debug for OnDisk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OnDisk")
            .field("file", &self.file.path())
            .field("pieces", &self.pieces.len())
            .finish()
    }
}

impl OnDisk {
    /// Whether it was cut.
    pub(super) fn is_cut(&self) -> bool {
        self.pieces.iter().any(|piece| piece.cut.is_some())
    }

    /// How many pieces there are.
    pub(super) fn pieces(&self) -> usize {
        self.pieces.len()
    }

    /// Reads one piece.
    pub(super) fn piece_at(&self, at: usize) -> Result<(Vec<ArrayRef>, usize)> {
        let piece = self.pieces.get(at);
        self.piece(piece.ok_or_else(|| Error::internal("a part has fewer pieces"))?)
    }

    /// Reads rows piece by piece: all, or those of one cut of a part that was cut.
    pub(super) fn read(
        &self,
        cut: Option<usize>,
    ) -> impl Iterator<Item = Result<(Vec<ArrayRef>, usize)>> {
        let wanted = move |piece: &&Piece| cut.is_none() || piece.cut == cut;
        self.pieces
            .iter()
            .filter(wanted)
            .map(|piece| self.piece(piece))
    }

    fn piece(&self, piece: &Piece) -> Result<(Vec<ArrayRef>, usize)> {
        let path = self.file.path();
        let path = path.ok_or_else(|| Error::internal("a temporary file has no path"))?;
        let mut file = File::open(path).map_err(|e| disk(e.into()))?;
        file.seek(SeekFrom::Start(piece.offset))
            .map_err(|e| disk(e.into()))?;
        let mut reader = StreamReader::try_new(BufReader::new(file.take(piece.bytes)), None)?;
        let batch = reader
            .next()
            .ok_or_else(|| Error::internal("a temporary file is cut short"))??;
        Ok((batch.columns().to_vec(), piece.rows))
    }
}

/// A file that is being written.
pub(super) struct Spill {
    file: Arc<dyn SpillFile>,
    writer: Box<dyn SpillWriter>,
    schema: SchemaRef,
    offset: u64,
}

impl Spill {
    pub(super) fn create(on: &Arc<DiskManager>, program: &Program) -> Result<Self> {
        let file = on
            .create_tmp_file("window state")
            .map_err(|e| disk(e.into()))?;
        let writer = file.open_writer().map_err(|e| disk(e.into()))?;
        Ok(Self {
            file,
            writer,
            schema: Arc::new(Schema::new(program.part_fields.clone())),
            offset: 0,
        })
    }

    /// Writes a part that is in memory; gives it as it is on disk. `rows` are those of its pane so
    /// far.
    pub(super) fn write(&mut self, program: &Program, part: &Part, rows: usize) -> Result<Part> {
        let mut pieces = Vec::new();
        if rows < CUT_ROWS_MIN || program.keys.is_empty() {
            pieces.push(self.piece(&part.columns, part.rows, None)?);
        } else {
            let cuts = cuts_of(program, &part.columns, part.rows)?;
            for cut in 0..CUTS {
                let (columns, rows) = rows_of_cut(&part.columns, &cuts, cut)?;
                if rows > 0 {
                    pieces.push(self.piece(&columns, rows, Some(cut))?);
                }
            }
        }
        let file = Arc::clone(&self.file);
        Ok(Part::on_disk(OnDisk { file, pieces }, part.rows))
    }

    fn piece(&mut self, columns: &[ArrayRef], rows: usize, cut: Option<usize>) -> Result<Piece> {
        let columns = columns.iter().map(own_view).collect();
        let batch = results::batch(Arc::clone(&self.schema), columns, rows)?;
        let mut writer = StreamWriter::try_new(Vec::new(), &self.schema)?;
        writer.write(&batch)?;
        let bytes = writer.into_inner()?;
        self.writer.write_all(&bytes).map_err(|e| disk(e.into()))?;
        let bytes = bytes.len() as u64;
        let offset = self.offset;
        self.offset += bytes;
        Ok(Piece {
            cut,
            offset,
            bytes,
            rows,
        })
    }

    /// Ends the file: only now may it be read.
    pub(super) fn finish(mut self) -> Result<()> {
        self.writer.flush().map_err(|e| disk(e.into()))?;
        self.writer.finish().map_err(|e| disk(e.into()))
    }
}

fn disk(cause: Box<dyn std::error::Error + Send + Sync>) -> Error {
    no_room("the open windows", cause)
}
