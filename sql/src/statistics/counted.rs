//! How often each value comes, or each combination of the values of some columns, exactly. What follows from it
//! does not depend on the order of the rows.

use std::collections::HashMap;

use arrow::array::{Array, ArrayRef, AsArray};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Float64Type};
use arrow::row::{RowConverter, SortField};
use datafusion::common::{Result as DfResult, exec_datafusion_err};

/// Bytes of an entry beside those of its value.
const ENTRY_BYTES: usize = 40;

/// Values with how often they came; rows in which one is null are left out.
#[derive(Debug)]
pub(super) struct Counted {
    rows: RowConverter,
    counts: HashMap<Box<[u8]>, u64>,
    bytes: usize,
}

/// The values in their order, by column, with how often each came.
#[derive(Debug)]
pub(super) struct Counts {
    pub(super) columns: Vec<ArrayRef>,
    pub(super) counts: Vec<u64>,
}

impl Counted {
    pub(super) fn new(types: &[DataType]) -> DfResult<Self> {
        let fields = types.iter().cloned().map(SortField::new);
        Ok(Self {
            rows: RowConverter::new(fields.collect())?,
            counts: HashMap::new(),
            bytes: 0,
        })
    }

    /// Adds rows, each once.
    pub(super) fn add(&mut self, columns: &[ArrayRef]) -> DfResult<()> {
        self.merge(columns, None)
    }

    /// Adds values with how often they came elsewhere.
    pub(super) fn merge(&mut self, columns: &[ArrayRef], counts: Option<&[u64]>) -> DfResult<()> {
        let columns = columns.iter().map(one_zero);
        let columns = columns.collect::<DfResult<Vec<_>>>()?;
        let rows = self.rows.convert_columns(&columns)?;
        let nulls: Vec<_> = columns.iter().filter_map(|c| c.logical_nulls()).collect();
        for at in 0..rows.num_rows() {
            if nulls.iter().any(|nulls| nulls.is_null(at)) {
                continue;
            }
            let row = rows.row(at);
            let key: &[u8] = row.as_ref();
            let more = counts.map_or(1, |counts| counts.get(at).copied().unwrap_or(0));
            match self.counts.get_mut(key) {
                Some(count) => *count += more,
                None => {
                    self.bytes += key.len() + ENTRY_BYTES;
                    self.counts.insert(key.into(), more);
                }
            }
        }
        Ok(())
    }

    /// What was counted, in the order of the values.
    pub(super) fn counts(&self) -> DfResult<Counts> {
        let mut sorted: Vec<_> = self.counts.iter().collect();
        sorted.sort_unstable();
        let parser = self.rows.parser();
        let rows = sorted.iter().map(|(key, _)| parser.parse(key));
        Ok(Counts {
            columns: self.rows.convert_rows(rows)?,
            counts: sorted.iter().map(|(_, count)| **count).collect(),
        })
    }

    /// Bytes that it takes.
    pub(super) fn held(&self) -> usize {
        self.bytes + self.rows.size()
    }
}

/// Zero has one sign: both are the same number.
fn one_zero(column: &ArrayRef) -> DfResult<ArrayRef> {
    if !column.data_type().is_floating() {
        return Ok(ArrayRef::clone(column));
    }
    let wide = cast(column, &DataType::Float64)?;
    let wide = wide.as_primitive::<Float64Type>();
    let plain = wide.unary::<_, Float64Type>(|value| value + 0.0);
    Ok(cast(&plain, column.data_type())?)
}

impl Counts {
    /// All values, each once.
    pub(super) fn distinct(mut self) -> Self {
        self.counts.fill(1);
        self
    }

    fn total(&self) -> f64 {
        self.counts.iter().sum::<u64>() as f64
    }

    /// The number of the value that comes most often, the least of several, with how often it comes.
    pub(super) fn most(&self) -> Option<(usize, u64)> {
        let mut most = None;
        for (at, count) in self.counts.iter().enumerate() {
            if most.is_none_or(|(_, best)| *count > best) {
                most = Some((at, *count));
            }
        }
        most
    }

    /// The share of the value that comes most often.
    pub(super) fn top_share(&self) -> Option<f64> {
        self.most().map(|(_, count)| count as f64 / self.total())
    }

    /// Values that come once, by all values and by different ones.
    pub(super) fn once(&self) -> Option<(f64, f64)> {
        let once = self.counts.iter().filter(|count| **count == 1).count() as f64;
        let different = self.counts.len() as f64;
        (different > 0.0).then(|| (once / self.total(), once / different))
    }

    /// The entropy in bits.
    pub(super) fn entropy(&self) -> Option<f64> {
        let total = self.total();
        let bits = self.counts.iter().map(|count| {
            let share = *count as f64 / total;
            -share * share.log2()
        });
        // The sum of nothing is -0.
        (total > 0.0).then(|| bits.sum::<f64>() + 0.0)
    }

    /// The entropy of one column by itself.
    fn entropy_of(&self, column: usize) -> DfResult<f64> {
        let alone = self.alone(column)?;
        Ok(alone.counts()?.entropy().unwrap_or(0.0))
    }

    /// The mutual information of two columns in bits.
    pub(super) fn mutual_information(&self) -> DfResult<Option<f64>> {
        let Some(both) = self.entropy() else {
            return Ok(None);
        };
        let apart = self.entropy_of(0)? + self.entropy_of(1)?;
        Ok(Some((apart - both).max(0.0)))
    }

    /// Cramér's V of two columns; `None` where one of them has a single value.
    pub(super) fn cramers_v(&self) -> DfResult<Option<f64>> {
        let (first, second) = (self.alone(0)?, self.alone(1)?);
        let least = first.counts.len().min(second.counts.len());
        if least < 2 {
            return Ok(None);
        }
        let (rows, columns) = (self.totals_of(&first, 0)?, self.totals_of(&second, 1)?);
        let cells = self.counts.iter().zip(rows).zip(columns);
        let sum: f64 = cells
            .map(|((count, row), column)| {
                let count = *count as f64;
                count * count / (row as f64 * column as f64)
            })
            .sum();
        let v = ((sum - 1.0).max(0.0) / (least - 1) as f64).sqrt();
        Ok(Some(v.min(1.0)))
    }

    /// One column by itself.
    fn alone(&self, at: usize) -> DfResult<Counted> {
        let column = self.column(at)?;
        let mut counted = Counted::new(&[column.data_type().clone()])?;
        counted.merge(std::slice::from_ref(column), Some(&self.counts))?;
        Ok(counted)
    }

    /// How often the value of a column comes at all, by row.
    fn totals_of(&self, alone: &Counted, at: usize) -> DfResult<Vec<u64>> {
        let rows = alone
            .rows
            .convert_columns(std::slice::from_ref(self.column(at)?))?;
        let count = |row: arrow::row::Row<'_>| alone.counts.get(row.as_ref()).copied();
        Ok(rows.iter().map(|row| count(row).unwrap_or(1)).collect())
    }

    fn column(&self, at: usize) -> DfResult<&ArrayRef> {
        let column = self.columns.get(at);
        column.ok_or_else(|| exec_datafusion_err!("a counted column is not there"))
    }

    /// The numbers of the first column, each as often as it came.
    pub(super) fn numbers(&self) -> DfResult<Vec<(f64, u64)>> {
        let column = self.column(0)?;
        let numbers = cast(column, &DataType::Float64)?;
        let numbers = numbers.as_primitive::<Float64Type>().values().to_vec();
        Ok(numbers
            .into_iter()
            .zip(self.counts.iter().copied())
            .collect())
    }
}
