//! Rows meet the rows of the other side: pairs are noted on both, and results come out.

use std::sync::Arc;

use arrow::record_batch::RecordBatch;

use super::pairs::{Cursor, Pairs, Search};
use super::program::{Keyed, NO_TIME, Program};
use super::results::{self, Collector};
use super::shape::Shape;
use super::slot::Segment;
use super::spec::{JoinKind, Side};
use super::table::Table;
use super::timing::Timing;
use crate::error::Result;
use crate::operator::Output;

/// Where results go.
pub(super) struct Results<'a> {
    pub(super) collector: &'a mut Collector,
    pub(super) out: &'a mut Output,
}

/// Rows of a side meet those of a table from a number on. `matches` are the counts of the rows.
pub(super) fn meet(
    shape: &Shape,
    side: Side,
    rows: &Keyed,
    matches: &mut [u32],
    (table, from): (&mut Table, u32),
    results: &mut Results<'_>,
) -> Result<()> {
    let mut cursor = Cursor::default();
    while meet_some(
        shape,
        side,
        rows,
        (matches, &mut cursor),
        (table, from),
        results,
    )? {}
    Ok(())
}

/// Goes on with [`meet`] for as many pairs as a batch has; says whether there were some.
pub(super) fn meet_some(
    shape: &Shape,
    side: Side,
    rows: &Keyed,
    (matches, cursor): (&mut [u32], &mut Cursor),
    (table, from): (&mut Table, u32),
    results: &mut Results<'_>,
) -> Result<bool> {
    let once = !shape.program.kind.gives_pairs();
    let by_time = shape.timing != Timing::Window;
    let rows_max = results.collector.rows_max;
    let search = Search::new(&shape.program, side, rows, table, rows_max);
    let mut search = search.from(*cursor);
    let accept = |row: usize, stored: u32| {
        let time = rows.times.get(row).copied().unwrap_or(NO_TIME);
        stored >= from
            && (!by_time || shape.timing.fits(side, time, table.time(stored)))
            && !(once && is_matched(side, matches, table, row, stored))
    };
    let Some(pairs) = search.next(table, accept)? else {
        return Ok(false);
    };
    *cursor = search.cursor();
    if let Some(batch) = found(&shape.program, side, rows, table, &pairs, matches)? {
        results.collector.push(batch, results.out)?;
    }
    Ok(true)
}

/// All rows of a segment meet the rows of a table from a number on.
pub(super) fn scan(
    shape: &Arc<Shape>,
    side: Side,
    segment: &mut Segment,
    (table, from): (&mut Table, u32),
    results: &mut Results<'_>,
) -> Result<()> {
    for rows in segment.read(shape, side)? {
        let (start, rows) = rows?;
        let mut matches = segment.matches(start, rows.len());
        meet(shape, side, &rows, &mut matches, (table, from), results)?;
        segment.set_matches(start, &matches);
    }
    Ok(())
}

/// Whether a left row of a semi or anti join has its match already.
fn is_matched(side: Side, matches: &[u32], table: &Table, row: usize, stored: u32) -> bool {
    match side {
        Side::Left => matches.get(row).is_some_and(|matches| *matches > 0),
        Side::Right => table.matches_of(stored) > 0,
    }
}

/// Notes pairs on both sides, and gives what comes out at once.
fn found(
    program: &Program,
    side: Side,
    rows: &Keyed,
    table: &mut Table,
    pairs: &Pairs,
    matches: &mut [u32],
) -> Result<Option<RecordBatch>> {
    // Left rows that had no match before this portion, for semi joins.
    let (mut first, mut first_stored) = (Vec::new(), Vec::new());
    for row in pairs.probe.values() {
        if let Some(matches @ 0) = matches.get_mut(*row as usize) {
            *matches = 1;
            first.push(*row);
        }
    }
    if program.kind.counts(side.other()) {
        for row in &pairs.stored {
            if table.matches_of(*row) == 0 {
                table.set_matches(*row, 1);
                first_stored.push(*row);
            }
        }
    }
    Ok(match (program.kind, side) {
        (JoinKind::LeftAnti, _) => None,
        (JoinKind::LeftSemi, Side::Left) => {
            Some(results::alone(program, side, &rows.batch, &first)?)
        }
        (JoinKind::LeftSemi, Side::Right) => {
            let left = side.other();
            Some(results::stored_alone(program, left, table, &first_stored)?)
        }
        _ => Some(results::pairs(program, side, rows, table, pairs)?),
    })
}
