//! Rows that wait for another row, of another table or of their own: found by the key, and given up when
//! their time is over.

use std::collections::HashMap;
use std::hash::BuildHasherDefault;
use std::sync::Arc;

use arrow::array::{AsArray, BooleanArray, Int64Array};
use arrow::compute::{concat_batches, filter_record_batch};
use arrow::datatypes::{DataType, Field, Int64Type, SchemaRef};
use arrow::record_batch::RecordBatch;

use super::fingerprint::{self, Low};
use super::operator::none_waits;
use super::stage::Stage;
use super::state::{FORMAT, WAITING};
use crate::error::Result;
use crate::key_group::KeyGroups;
use crate::operator::Extent;
use crate::spill;
use crate::updating::codec::evaluate;
use crate::updating::state::unreadable;

/// What is known of a row that waits.
#[derive(Debug, Clone, Copy)]
pub(super) struct Turn {
    pub(super) key: u128,
    /// Until when it waits.
    pub(super) due: i64,
    /// What the watermark must not pass meanwhile.
    pub(super) hold: i64,
}

/// Rows with what is known of each.
#[derive(Debug)]
struct Piece {
    rows: RecordBatch,
    turns: Vec<Turn>,
    bytes: usize,
}

/// All rows that wait.
#[derive(Debug)]
pub(super) struct Waiting {
    pieces: Vec<Piece>,
    /// How many rows wait for each key.
    keys: HashMap<u128, u32, BuildHasherDefault<Low>>,
    /// The earliest end of a wait.
    due: i64,
    /// The least hold.
    hold: i64,
    /// A checkpoint has some of them.
    saved: bool,
}

impl Default for Waiting {
    fn default() -> Self {
        Self {
            pieces: Vec::new(),
            keys: HashMap::default(),
            due: i64::MAX,
            hold: i64::MAX,
            saved: false,
        }
    }
}

impl Waiting {
    /// Lets rows wait; pieces stay few, however few rows come at once.
    pub(super) fn push(&mut self, rows: RecordBatch, turns: Vec<Turn>, max: usize) -> Result<()> {
        if rows.num_rows() == 0 {
            return Ok(());
        }
        for turn in &turns {
            *self.keys.entry(turn.key).or_default() += 1;
        }
        self.add(rows, turns);
        while let [.., before, last] = self.pieces.as_slice()
            && last.turns.len() * 2 > before.turns.len()
            && last.turns.len() + before.turns.len() <= max
        {
            let rows = concat_batches(&last.rows.schema(), [&before.rows, &last.rows])?;
            let turns = [before.turns.as_slice(), &last.turns].concat();
            self.pieces.truncate(self.pieces.len() - 2);
            self.add(rows, turns);
        }
        Ok(())
    }

    fn add(&mut self, rows: RecordBatch, turns: Vec<Turn>) {
        for turn in &turns {
            self.due = self.due.min(turn.due);
            self.hold = self.hold.min(turn.hold);
        }
        let bytes = spill::bytes_of(&rows) + turns.len() * size_of::<Turn>();
        self.pieces.push(Piece { rows, turns, bytes });
    }

    /// Whether rows wait for a key.
    pub(super) fn has(&self, key: u128) -> bool {
        self.keys.contains_key(&key)
    }

    /// Whether some rows have waited for long enough.
    pub(super) fn is_due(&self, now: i64) -> bool {
        self.due < now
    }

    /// What the watermark must not pass.
    pub(super) fn hold(&self) -> i64 {
        self.hold
    }

    /// Takes the rows that wait no more, in the order in which they came, in which all are asked.
    pub(super) fn take(&mut self, mut ends: impl FnMut(&Turn) -> bool) -> Result<Vec<RecordBatch>> {
        let mut taken = Vec::new();
        (self.due, self.hold) = (i64::MAX, i64::MAX);
        for piece in std::mem::take(&mut self.pieces) {
            let goes: BooleanArray = piece.turns.iter().map(|turn| Some(ends(turn))).collect();
            if goes.true_count() == 0 {
                self.add(piece.rows, piece.turns);
                continue;
            }
            taken.push(filter_record_batch(&piece.rows, &goes)?);
            let mut left = Vec::new();
            for (turn, goes) in piece.turns.into_iter().zip(goes.values()) {
                if !goes {
                    left.push(turn);
                } else if let Some(rows) = self.keys.get_mut(&turn.key) {
                    *rows -= 1;
                    if *rows == 0 {
                        self.keys.remove(&turn.key);
                    }
                }
            }
            if !left.is_empty() {
                let rest = filter_record_batch(&piece.rows, &arrow::compute::not(&goes)?)?;
                self.add(rest, left);
            }
        }
        Ok(taken)
    }

    /// How many rows wait, and for how many keys.
    pub(super) fn counts(&self) -> (usize, usize) {
        let rows = self.pieces.iter().map(|piece| piece.turns.len());
        (rows.sum(), self.keys.len())
    }

    /// What is known of the rows, in the order in which they came.
    pub(super) fn turns(&self) -> impl Iterator<Item = &Turn> {
        self.pieces.iter().flat_map(|piece| &piece.turns)
    }

    /// What a checkpoint has of them: rows of a schema, with the ends of their waits as a last column.
    pub(super) fn save(
        &mut self,
        schema: &SchemaRef,
        extent: Extent,
    ) -> Result<Vec<Result<RecordBatch>>> {
        let mut batches = Vec::new();
        if self.saved && extent == Extent::Changes {
            batches.push(none_waits());
        }
        let mut fields: Vec<_> = schema.fields().iter().cloned().collect();
        fields.push(Arc::new(Field::new("_due", DataType::Int64, false)));
        let schema = FORMAT.schema(WAITING, fields);
        for piece in &self.pieces {
            let due: Int64Array = piece.turns.iter().map(|turn| Some(turn.due)).collect();
            let mut columns = piece.rows.columns().to_vec();
            columns.push(Arc::new(due));
            batches.push(Ok(RecordBatch::try_new(Arc::clone(&schema), columns)?));
        }
        self.restored();
        Ok(batches)
    }

    /// A checkpoint has what waits now.
    pub(super) fn restored(&mut self) {
        self.saved = !self.pieces.is_empty();
    }

    pub(super) fn bytes(&self) -> usize {
        let rows: usize = self.pieces.iter().map(|piece| piece.bytes).sum();
        rows + self.keys.capacity() * 8 / 7 * (size_of::<(u128, u32)>() + 1)
    }
}

/// The rows of some key groups as a checkpoint has them, with the key of each and the end of its wait.
pub(super) fn restore(
    batch: &RecordBatch,
    stage: &Stage,
    groups: &KeyGroups,
) -> Result<(RecordBatch, Vec<(u128, i64)>)> {
    let Some((due, columns)) = batch.columns().split_last() else {
        return Err(unreadable("rows that wait have no columns".to_owned()));
    };
    let rows = RecordBatch::try_new(Arc::clone(stage.schema()), columns.to_vec())?;
    let due = due.as_primitive_opt::<Int64Type>();
    let due = due.ok_or_else(|| unreadable("the ends of waits are no numbers".to_owned()))?;
    let key = evaluate(stage.key(), &rows)?;
    let mine = groups.mask(&key, rows.num_rows())?;
    let numbers = fingerprint::keys(&key, rows.num_rows())?;
    let waits = numbers.into_iter().zip(due.values().iter().copied());
    let waits = waits.zip(mine.values());
    let waits = waits.filter_map(|(wait, mine)| mine.then_some(wait));
    Ok((filter_record_batch(&rows, &mine)?, waits.collect()))
}
