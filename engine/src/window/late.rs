//! Which rows of a batch are late, and why.

use arrow::array::{Array, PrimitiveArray};
use arrow::datatypes::Int64Type;
use arrow::record_batch::RecordBatch;

use super::aggregate::{Assign, Phase};
use super::program::Program;
use super::spec::WindowSpec;
use super::split::{Share, Split};
use super::times;
use crate::error::Result;
use crate::late::{LateRows, Why};
use crate::message::EventTime;

/// Keeps the rows of a batch that are in none of the live shares.
pub(super) fn keep(
    letters: &LateRows,
    program: &Program,
    batch: &RecordBatch,
    split: &Split,
    shares: &[Share],
    watermark: i64,
) -> Result<()> {
    let mut live = vec![false; batch.num_rows()];
    for place in shares.iter().flat_map(|s| s.offset..s.offset + s.rows) {
        let row = match &split.order {
            Some(order) => order.values().get(place).map(|row| *row as usize),
            None => Some(place),
        };
        if let Some(live) = row.and_then(|row| live.get_mut(row)) {
            *live = true;
        }
    }
    let watermark = EventTime(watermark);
    let column = |column: usize| times::micros(batch.column(column));
    if program.phase == Phase::Final {
        // Partial states say nothing to people: the window and the keys do.
        let known: Vec<usize> = (0..program.ids() + program.keys.len()).collect();
        let ends = match program.assign {
            Assign::Time { column: c, .. } | Assign::Session { column: c, .. } => column(c)?,
            Assign::Columns { start, end } => column(end.or(start).unwrap_or(0))?,
        };
        return letters.keep(&batch.project(&known)?, &live, watermark, |row| {
            Why::Partial {
                end: EventTime(end_of(program, ends.value(row))),
            }
        });
    }
    match program.assign {
        Assign::Time { column: c, spec } => {
            let times = column(c)?;
            letters.keep(batch, &live, watermark, |row| of_time(&times, row, &spec))
        }
        Assign::Session { .. } => Ok(()),
        Assign::Columns { start, end } => {
            let ends = column(end.or(start).unwrap_or(0))?;
            letters.keep(batch, &live, watermark, |row| match time_at(&ends, row) {
                Some(end) => Why::Over {
                    time: None,
                    end: EventTime(end),
                },
                None => Why::NoTime,
            })
        }
    }
}

/// Why a row with such a time is late.
pub(super) fn of_time(times: &PrimitiveArray<Int64Type>, row: usize, spec: &WindowSpec) -> Why {
    match time_at(times, row).filter(|time| WindowSpec::accepts(*time)) {
        Some(time) => Why::Over {
            time: Some(EventTime(time)),
            end: EventTime(spec.last_end(time)),
        },
        None => Why::NoTime,
    }
}

fn time_at(times: &PrimitiveArray<Int64Type>, row: usize) -> Option<i64> {
    (row < times.len() && times.is_valid(row)).then(|| times.value(row))
}

fn end_of(program: &Program, named: i64) -> i64 {
    match program.assign {
        Assign::Time { spec, .. } => spec.last_end(named),
        Assign::Session { .. } | Assign::Columns { .. } => named,
    }
}
