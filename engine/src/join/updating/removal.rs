//! Finds the kept rows that deletions mean: those that are equal in all columns.

use std::collections::HashSet;

use arrow::array::{Array, ArrayRef, BooleanArray, UInt32Array, make_comparator};
use arrow::compute::kernels::cmp::not_distinct;
use arrow::compute::{SortOptions, and, take};

use crate::error::Result;
use crate::join::pairs::Search;
use crate::join::program::{Keyed, Program};
use crate::join::spec::Side;
use crate::join::table::{GONE, Table};

/// Gives the kept row of each row, `None` where there is none. No kept row is given twice.
pub(super) fn find(
    program: &Program,
    side: Side,
    rows: &Keyed,
    table: &Table,
    rows_max: usize,
) -> Result<Vec<Option<u32>>> {
    let mut found: Vec<Option<u32>> = vec![None; rows.len()];
    let mut taken: HashSet<u32> = HashSet::new();
    let mut search = Search::new(program, side, rows, table, rows_max);
    loop {
        let open = |row: usize, stored: u32| {
            found.get(row).is_some_and(Option::is_none)
                && table.matches_of(stored) != GONE
                && !taken.contains(&stored)
        };
        let (probe, stored) = search.candidates(table, &open);
        if stored.is_empty() {
            return Ok(found);
        }
        let equal = all_equal(program, side, rows, &probe, table, &stored)?;
        for (at, (row, stored)) in probe.iter().zip(&stored).enumerate() {
            if let (true, Some(place @ None)) = (equal.value(at), found.get_mut(*row as usize))
                && taken.insert(*stored)
            {
                *place = Some(*stored);
            }
        }
    }
}

fn all_equal(
    program: &Program,
    side: Side,
    rows: &Keyed,
    probe: &[u32],
    table: &Table,
    stored: &[u32],
) -> Result<BooleanArray> {
    let places = table.rows.places(stored);
    let probe = UInt32Array::from(probe.to_vec());
    let columns = side.get(&program.rows).fields().len();
    let mut equal = BooleanArray::from(vec![true; stored.len()]);
    for (at, column) in rows.batch.columns().iter().take(columns).enumerate() {
        let ours = take(column, &probe, None)?;
        let theirs = table.rows.column(at, &places)?;
        equal = and(&equal, &same(&ours, &theirs)?)?;
    }
    Ok(equal)
}

fn same(left: &ArrayRef, right: &ArrayRef) -> Result<BooleanArray> {
    if !left.data_type().is_nested() {
        return Ok(not_distinct(left, right)?);
    }
    let compare = make_comparator(left, right, SortOptions::default())?;
    let rows = (0..left.len()).map(|row| Some(compare(row, row).is_eq()));
    Ok(rows.collect())
}
