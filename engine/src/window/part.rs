//! A part of a pane: groups that no longer change, in memory or on disk.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef};
use arrow::compute::concat;

use super::spill::OnDisk;
use crate::error::Result;

/// Rows of a part that are given to a snapshot at once: columns are made for them on the way.
const PIECE_ROWS_MAX: usize = 1 << 15;

/// Groups that no longer change: their keys and states, or the rows themselves where an aggregate
/// needs them in order. Columns as in the program's part fields.
#[derive(Debug)]
pub(super) struct Part {
    pub(super) columns: Vec<ArrayRef>,
    pub(super) rows: usize,
    /// Bytes of memory.
    pub(super) bytes: usize,
    /// Where the columns are, when they are not in memory.
    pub(super) disk: Option<OnDisk>,
}

impl Part {
    pub(super) fn on_disk(disk: OnDisk, rows: usize) -> Self {
        Self {
            columns: Vec::new(),
            rows,
            bytes: 0,
            disk: Some(disk),
        }
    }

    /// Gives the rows, in as many pieces as they are kept in.
    pub(super) fn pieces(&self) -> impl Iterator<Item = Result<(Vec<ArrayRef>, usize)>> {
        let memory = self
            .disk
            .is_none()
            .then(|| Ok((self.columns.clone(), self.rows)));
        let disk = self.disk.iter().flat_map(|disk| disk.read(None));
        memory.into_iter().chain(disk)
    }

    /// Gives the rows as [`Self::pieces`] does, to another thread, but never many at once.
    pub(super) fn into_pieces(
        self: Arc<Self>,
    ) -> impl Iterator<Item = Result<(Vec<ArrayRef>, usize)>> + Send {
        let cuts = self.rows.div_ceil(PIECE_ROWS_MAX);
        let pieces = self.disk.as_ref().map_or(cuts, OnDisk::pieces);
        (0..pieces).map(move |at| match &self.disk {
            Some(disk) => disk.piece_at(at),
            None => {
                let from = at * PIECE_ROWS_MAX;
                let rows = PIECE_ROWS_MAX.min(self.rows - from);
                let columns = self.columns.iter().map(|c| c.slice(from, rows));
                Ok((columns.collect(), rows))
            }
        })
    }

    pub(super) fn new(columns: Vec<ArrayRef>, rows: usize) -> Self {
        let size = |c: &ArrayRef| {
            c.to_data()
                .get_slice_memory_size()
                .unwrap_or_else(|_| c.get_array_memory_size())
        };
        let bytes = columns.iter().map(size).sum();
        Self {
            columns,
            rows,
            bytes,
            disk: None,
        }
    }
}

/// Puts parts one after the other.
pub(super) fn concat_parts(parts: &[Arc<Part>]) -> Result<Part> {
    let pieces = parts.iter().flat_map(|part| part.pieces());
    let pieces = pieces.collect::<Result<Vec<_>>>()?;
    let width = pieces.first().map_or(0, |(columns, _)| columns.len());
    let mut columns = Vec::with_capacity(width);
    for i in 0..width {
        let arrays: Vec<&dyn Array> = pieces
            .iter()
            .filter_map(|(columns, _)| columns.get(i))
            .map(|c| &**c)
            .collect();
        columns.push(concat(&arrays)?);
    }
    Ok(Part::new(columns, parts.iter().map(|p| p.rows).sum()))
}
