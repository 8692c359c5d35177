//! What a batch of a changelog does in sum: rows that come and go within it undo each other.

use std::collections::HashMap;

use arrow::array::ArrayRef;
use arrow::row::{Row, RowConverter, SortField};

use crate::error::Result;

/// The rows of a batch that go, and those that come, in their order. A row that goes was there
/// before the batch.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Net {
    pub(super) removed: Vec<u32>,
    pub(super) added: Vec<u32>,
}

/// Sums a batch up; `adds` says of each row whether it comes.
pub(super) fn net(columns: &[ArrayRef], adds: &[bool]) -> Result<Net> {
    let those = |wanted: bool| {
        let rows = (0_u32..).zip(adds).filter(|(_, adds)| **adds == wanted);
        rows.map(|(row, _)| row).collect::<Vec<_>>()
    };
    let sum = Net {
        removed: those(false),
        added: those(true),
    };
    if sum.removed.is_empty() || sum.added.is_empty() {
        return Ok(sum);
    }
    let fields = columns
        .iter()
        .map(|column| SortField::new(column.data_type().clone()));
    let converter = RowConverter::new(fields.collect())?;
    let rows = converter.convert_columns(columns)?;
    // Of each distinct row, those that are not undone yet: all come or all go.
    let mut open: HashMap<Row<'_>, (bool, Vec<u32>)> = HashMap::with_capacity(adds.len());
    for ((number, row), adds) in (0_u32..).zip(&rows).zip(adds) {
        let (kind, numbers) = open.entry(row).or_insert_with(|| (*adds, Vec::new()));
        if kind != adds && numbers.pop().is_some() {
            continue;
        }
        *kind = *adds;
        numbers.push(number);
    }
    let mut sum = Net {
        removed: Vec::new(),
        added: Vec::new(),
    };
    for (adds, numbers) in open.into_values() {
        let into = if adds {
            &mut sum.added
        } else {
            &mut sum.removed
        };
        into.extend(numbers);
    }
    sum.removed.sort_unstable();
    sum.added.sort_unstable();
    Ok(sum)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::Int64Array;

    use super::*;

    fn check(rows: &[(i64, bool)], removed: &[u32], added: &[u32]) {
        let values = Int64Array::from_iter_values(rows.iter().map(|(value, _)| *value));
        let adds: Vec<bool> = rows.iter().map(|(_, adds)| *adds).collect();
        let found = net(&[Arc::new(values)], &adds).unwrap();
        let expected = Net {
            removed: removed.to_vec(),
            added: added.to_vec(),
        };
        assert_eq!(found, expected, "{rows:?}");
    }

    #[test]
    fn rows_that_come_and_go_undo_each_other() {
        check(&[(1, true), (2, true)], &[], &[0, 1]);
        check(&[(1, false), (1, false)], &[0, 1], &[]);
        check(&[(1, true), (1, false)], &[], &[]);
        check(&[(1, false), (1, true), (1, true)], &[], &[2]);
        check(&[(1, false), (2, true), (1, false), (1, true)], &[0], &[1]);
        check(&[(1, true), (1, false), (1, false)], &[2], &[]);
    }
}
