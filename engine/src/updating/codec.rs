//! Rows as bytes that compare as the rows do: what the state of updating operators is keyed by.
//!
//! The bytes never leave the process: snapshots hold columns.

use std::collections::HashMap;
use std::sync::Arc;

use arrow::array::ArrayRef;
use arrow::compute::SortOptions;
use arrow::compute::cast;
use arrow::datatypes::DataType;
use arrow::record_batch::RecordBatch;
use arrow::row::{RowConverter, Rows, SortField};
use datafusion_common::hash_utils::RandomState;
use datafusion_physical_expr::PhysicalExpr;

use crate::error::{Error, Kind, Result, codes};

/// One encoded row; shared between the state and what is on its way to a checkpoint.
pub(crate) type RowBytes = Arc<[u8]>;

/// A map by rows. Its hashes are the same in each run, so that a run can be repeated.
pub(crate) type RowMap<V> = HashMap<RowBytes, V, RandomState>;

/// Encodes columns as rows and back.
#[derive(Debug)]
pub(crate) struct RowCodec {
    converter: RowConverter,
    types: Vec<DataType>,
    options: Vec<SortOptions>,
}

impl RowCodec {
    /// Makes a codec for columns of these types, each with its order.
    pub(crate) fn try_new(
        columns: impl IntoIterator<Item = (DataType, SortOptions)>,
    ) -> Result<Self> {
        let (types, options): (Vec<_>, Vec<_>) = columns.into_iter().unzip();
        let fields: Vec<SortField> = types
            .iter()
            .zip(&options)
            .map(|(data_type, options)| SortField::new_with_options(data_type.clone(), *options))
            .collect();
        if !RowConverter::supports_fields(&fields) {
            let names: Vec<_> = types.iter().map(ToString::to_string).collect();
            return Err(Error::new(
                Kind::Invalid,
                codes::UNSUPPORTED,
                "a column's type cannot be a key of updating state",
            )
            .detail(format!("the columns are {}", names.join(", "))));
        }
        Ok(Self {
            converter: RowConverter::new(fields)?,
            types,
            options,
        })
    }

    /// Whether another codec gives the same bytes.
    pub(crate) fn is_like(&self, other: &Self) -> bool {
        self.types == other.types && self.options == other.options
    }

    /// Makes a codec whose order does not matter.
    pub(crate) fn of(types: impl IntoIterator<Item = DataType>) -> Result<Self> {
        Self::try_new(types.into_iter().map(|t| (t, SortOptions::default())))
    }

    /// The types of the columns.
    pub(crate) fn types(&self) -> &[DataType] {
        &self.types
    }

    /// Encodes columns. Without columns there are no rows: callers treat that case themselves.
    pub(crate) fn encode(&self, columns: &[ArrayRef]) -> Result<Rows> {
        Ok(self.converter.convert_columns(columns)?)
    }

    /// Decodes rows that this codec, or one like it, has encoded.
    pub(crate) fn decode<'a>(
        &self,
        rows: impl IntoIterator<Item = &'a [u8]>,
    ) -> Result<Vec<ArrayRef>> {
        let parser = self.converter.parser();
        let columns = self
            .converter
            .convert_rows(rows.into_iter().map(|row| parser.parse(row)))?;
        columns
            .into_iter()
            .zip(&self.types)
            .map(|(column, data_type)| {
                // Dictionaries come back as their values.
                if column.data_type() == data_type {
                    Ok(column)
                } else {
                    Ok(cast(&column, data_type)?)
                }
            })
            .collect()
    }
}

/// Computes columns of a batch.
pub(crate) fn evaluate(
    exprs: &[Arc<dyn PhysicalExpr>],
    batch: &RecordBatch,
) -> Result<Vec<ArrayRef>> {
    let rows = batch.num_rows();
    let exprs = exprs.iter();
    exprs
        .map(|e| Ok(e.evaluate(batch)?.into_array(rows)?))
        .collect()
}

#[cfg(test)]
mod tests {
    use arrow::array::{Array, DictionaryArray, Int64Array};
    use arrow::datatypes::Int32Type;

    use super::*;

    #[test]
    fn columns_come_back_as_they_were() {
        let words: DictionaryArray<Int32Type> = [Some("a"), None, Some("a")].into_iter().collect();
        let columns: Vec<ArrayRef> = vec![
            Arc::new(words),
            Arc::new(Int64Array::from(vec![None, Some(-1), Some(1)])),
        ];
        let codec = RowCodec::of(columns.iter().map(|c| c.data_type().clone())).unwrap();
        let rows = codec.encode(&columns).unwrap();
        let back = codec.decode(rows.iter().map(|row| row.data())).unwrap();
        for (column, back) in columns.iter().zip(&back) {
            assert_eq!(column.to_data(), back.to_data());
        }
    }
}
