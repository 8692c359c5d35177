//! Reads one part of the generated rows in order.

use async_trait::async_trait;
use weir_engine::error::Result;
use weir_engine::source::{Position, Read, SplitReader};

use super::columns::Column;
use super::interleave::Part;
use super::pace::Pace;
use super::rows::Rows;

/// Gives batches of the rows that are due.
#[derive(Debug)]
pub(super) struct GeneratorReader {
    rows: Rows,
    columns: Vec<Column>,
    part: Part,
    pace: Pace,
    batch_rows: u64,
}

impl GeneratorReader {
    pub(super) fn new(
        rows: Rows,
        columns: Vec<Column>,
        part: Part,
        pace: Pace,
        batch_rows: usize,
    ) -> Self {
        Self {
            rows,
            columns,
            part,
            pace,
            batch_rows: batch_rows.max(1) as u64,
        }
    }
}

#[async_trait]
impl SplitReader for GeneratorReader {
    async fn next(&mut self) -> Result<Read> {
        if self.part.left() == 0 {
            return Ok(Read::End);
        }
        let rows = self.pace.due(self.batch_rows.min(self.part.left())).await;
        if rows == 0 {
            return Ok(Read::Pending);
        }
        let batch = self
            .rows
            .batch(&self.columns, self.part.start_us, self.part.numbers(rows))?;
        self.part.done += rows;
        self.pace.given(rows);
        let bytes = batch.get_array_memory_size() as u64;
        Ok(Read::Rows { batch, bytes })
    }

    fn position(&self) -> Position {
        self.part.position()
    }
}
