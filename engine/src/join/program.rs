//! A join that was checked: how rows of a side become rows with keys and hashes.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, UInt32Array};
use arrow::buffer::NullBuffer;
use arrow::compute::{cast, take_record_batch};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef, TimeUnit, TimestampMicrosecondType};
use arrow::record_batch::{RecordBatch, RecordBatchOptions};
use datafusion_common::NullEquality;
use datafusion_common::tree_node::{Transformed, TreeNode};
use datafusion_physical_expr::PhysicalExpr;
use datafusion_physical_expr::expressions::Column;
use datafusion_physical_expr::utils::collect_columns;

use super::spec::{JoinKind, JoinSpec, Side};
use crate::changelog;
use crate::error::{Error, Kind, Result, codes};
use crate::key_group::hash_keys;

/// A column of one of the sides.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct SideColumn {
    pub(super) side: Side,
    pub(super) column: usize,
}

/// The filter of pairs, over a batch of just the columns that it needs.
#[derive(Debug)]
pub(super) struct PairFilter {
    pub(super) columns: Vec<SideColumn>,
    pub(super) schema: SchemaRef,
    pub(super) predicate: Arc<dyn PhysicalExpr>,
}

/// What all subtasks of a join share.
#[derive(Debug)]
pub(super) struct Program {
    pub(super) kind: JoinKind,
    pub(super) null_equality: NullEquality,
    /// The columns of the sides, without row kinds.
    pub(super) rows: [SchemaRef; 2],
    /// The rows that are kept: the columns of a side, then the keys that are computed.
    pub(super) stored: [SchemaRef; 2],
    /// Where the keys are in the rows that are kept.
    pub(super) key_columns: [Vec<usize>; 2],
    keys: [Vec<Arc<dyn PhysicalExpr>>; 2],
    /// The times of rows, where pairs have a condition on time.
    times: Option<[Arc<dyn PhysicalExpr>; 2]>,
    pub(super) filter: Option<PairFilter>,
    pub(super) output: Vec<SideColumn>,
    pub(super) schema: SchemaRef,
    text: String,
}

/// Rows of one side with all that a join asks of them.
#[derive(Debug)]
pub(super) struct Keyed {
    /// In the schema of the rows that are kept.
    pub(super) batch: RecordBatch,
    pub(super) hashes: Vec<u64>,
    /// In microseconds, [`NO_TIME`] for NULL; empty where pairs have no condition on time.
    pub(super) times: Vec<i64>,
}

/// The time of a row that has none.
pub(super) const NO_TIME: i64 = i64::MIN;

impl Program {
    /// Checks a join; `times` are timestamps over each side where pairs have a condition on time.
    pub(super) fn try_new(
        spec: JoinSpec,
        times: Option<[Arc<dyn PhysicalExpr>; 2]>,
    ) -> Result<Self> {
        let text = describe(&spec);
        let rows = [0, 1].map(|i| {
            let schema = spec.inputs.get(i).map(Arc::clone);
            changelog::rows_schema(&schema.unwrap_or_else(|| Arc::new(Schema::empty())))
        });
        let keys: [Vec<_>; 2] = [
            spec.on.iter().map(|(left, _)| Arc::clone(left)).collect(),
            spec.on.iter().map(|(_, right)| Arc::clone(right)).collect(),
        ];
        check_keys(&spec, &rows)?;
        let mut stored = rows.clone();
        let mut key_columns = [Vec::new(), Vec::new()];
        for side in Side::BOTH {
            let keys: &Vec<_> = side.get(&keys);
            let (schema, columns) = stored_schema(side.get(&rows), keys)?;
            *side.get_mut(&mut stored) = schema;
            *side.get_mut(&mut key_columns) = columns;
        }
        let both = |column| side_column(&rows, column);
        let output = spec
            .output
            .iter()
            .map(|column| both(*column))
            .collect::<Result<Vec<_>>>()?;
        let right_alone = !spec.kind.gives_pairs() && output.iter().any(|c| c.side == Side::Right);
        if output.len() != spec.schema.fields().len() || right_alone {
            return Err(Error::internal(
                "a join's output does not fit its schema or its kind",
            ));
        }
        let filter = spec
            .filter
            .map(|predicate| pair_filter(&predicate, &rows))
            .transpose()?;
        Ok(Self {
            kind: spec.kind,
            null_equality: spec.null_equality,
            rows,
            stored,
            key_columns,
            keys,
            times,
            filter,
            output,
            schema: spec.schema,
            text,
        })
    }

    /// The times of rows; none where pairs have no condition on time.
    pub(super) fn times(&self, side: Side, rows: &RecordBatch) -> Result<Vec<i64>> {
        match &self.times {
            Some(times) => micros(side.get(times), rows),
            None => Ok(Vec::new()),
        }
    }

    /// The columns of a side without the keys that were computed.
    pub(super) fn without_keys(&self, side: Side, batch: &RecordBatch) -> Vec<ArrayRef> {
        let columns = batch.columns().iter();
        columns
            .take(side.get(&self.rows).fields().len())
            .map(Arc::clone)
            .collect()
    }

    /// Kind, keys and filter in one line.
    pub(super) fn text(&self) -> &str {
        &self.text
    }

    /// What kept rows depend on.
    pub(super) fn fingerprint(&self) -> String {
        let mut text = self.text.clone();
        for schema in &self.rows {
            for field in schema.fields() {
                text.push_str(&format!(";{}:{}", field.name(), field.data_type()));
            }
        }
        text
    }

    /// Evaluates the keys of rows and hashes them. `rows` has no column of row kinds.
    pub(super) fn keyed(&self, side: Side, rows: &RecordBatch) -> Result<Keyed> {
        let schema = side.get(&self.stored);
        let mut columns = rows.columns().to_vec();
        for key in side.get(&self.keys) {
            if key.downcast_ref::<Column>().is_none() {
                columns.push(key.evaluate(rows)?.into_array(rows.num_rows())?);
            }
        }
        let options = RecordBatchOptions::new().with_row_count(Some(rows.num_rows()));
        let batch = RecordBatch::try_new_with_options(Arc::clone(schema), columns, &options)?;
        let mut hashes = Vec::new();
        hash_keys(&self.key_arrays(side, &batch), rows.num_rows(), &mut hashes)?;
        let times = self.times(side, rows)?;
        Ok(Keyed {
            batch,
            hashes,
            times,
        })
    }

    /// Whether there are keys at all.
    pub(super) fn has_keys(&self) -> bool {
        let [left, _] = &self.keys;
        !left.is_empty()
    }

    /// The hashes of the keys of rows; a column of row kinds may follow those of the side.
    pub(super) fn hashes(&self, side: Side, rows: &RecordBatch) -> Result<Vec<u64>> {
        let keys = side.get(&self.keys).iter();
        let keys = keys.map(|key| Ok(key.evaluate(rows)?.into_array(rows.num_rows())?));
        let keys: Vec<ArrayRef> = keys.collect::<Result<_>>()?;
        let mut hashes = Vec::new();
        hash_keys(&keys, rows.num_rows(), &mut hashes)?;
        Ok(hashes)
    }

    /// The keys of rows that are kept.
    pub(super) fn key_arrays(&self, side: Side, batch: &RecordBatch) -> Vec<ArrayRef> {
        let columns = side.get(&self.key_columns).iter();
        columns
            .filter_map(|column| batch.columns().get(*column).map(Arc::clone))
            .collect()
    }

    /// Which rows may find a match as far as their keys go; `None` is all.
    pub(super) fn matchable(&self, side: Side, batch: &RecordBatch) -> Option<NullBuffer> {
        if self.null_equality == NullEquality::NullEqualsNull {
            return None;
        }
        self.valid_keys(side, batch)
    }

    /// Which rows have no NULL in their keys; `None` is all.
    pub(super) fn valid_keys(&self, side: Side, batch: &RecordBatch) -> Option<NullBuffer> {
        let keys = self.key_arrays(side, batch);
        let valid = keys.iter().fold(None, |all: Option<NullBuffer>, key| {
            NullBuffer::union(all.as_ref(), key.logical_nulls().as_ref())
        });
        valid.filter(|valid| valid.null_count() > 0)
    }
}

impl Keyed {
    pub(super) fn len(&self) -> usize {
        self.batch.num_rows()
    }

    /// The rows of these numbers, in this order.
    pub(super) fn take(&self, rows: &[u32]) -> Result<Self> {
        let indices = UInt32Array::from(rows.to_vec());
        let at = |values: &[u64]| {
            rows.iter()
                .filter_map(|row| values.get(*row as usize).copied())
                .collect()
        };
        Ok(Self {
            batch: take_record_batch(&self.batch, &indices)?,
            hashes: at(&self.hashes),
            times: rows
                .iter()
                .filter_map(|row| self.times.get(*row as usize).copied())
                .collect(),
        })
    }
}

/// Evaluates times in microseconds.
fn micros(time: &Arc<dyn PhysicalExpr>, rows: &RecordBatch) -> Result<Vec<i64>> {
    let times = time.evaluate(rows)?.into_array(rows.num_rows())?;
    let unit = DataType::Timestamp(TimeUnit::Microsecond, None);
    let times = match times.data_type() {
        DataType::Timestamp(TimeUnit::Microsecond, _) => times,
        _ => cast(&times, &unit)?,
    };
    let times = times.as_primitive::<TimestampMicrosecondType>();
    if times.null_count() == 0 {
        return Ok(times.values().to_vec());
    }
    Ok(times.iter().map(|time| time.unwrap_or(NO_TIME)).collect())
}

fn describe(spec: &JoinSpec) -> String {
    let on: Vec<String> = spec
        .on
        .iter()
        .map(|(left, right)| format!("{left} = {right}"))
        .collect();
    let mut text = format!("{} on [{}]", spec.kind, on.join(", "));
    if spec.null_equality == NullEquality::NullEqualsNull {
        text.push_str(" nulls equal");
    }
    if let Some(filter) = &spec.filter {
        text.push_str(&format!(" where {filter}"));
    }
    text
}

fn check_keys(spec: &JoinSpec, rows: &[SchemaRef; 2]) -> Result<()> {
    for (left, right) in &spec.on {
        let [left_rows, right_rows] = rows;
        let types = (left.data_type(left_rows)?, right.data_type(right_rows)?);
        if types.0 != types.1 {
            return Err(Error::internal(format!(
                "join keys {left} and {right} have types {} and {}",
                types.0, types.1
            )));
        }
        if types.0.is_nested() {
            return Err(Error::new(
                Kind::Invalid,
                codes::PLAN,
                format!("a streaming join cannot compare {left} of type {}", types.0),
            )
            .hint("join on the parts of the value"));
        }
    }
    Ok(())
}

/// The columns of a side, then the keys that are no columns; and where each key is.
fn stored_schema(
    rows: &SchemaRef,
    keys: &[Arc<dyn PhysicalExpr>],
) -> Result<(SchemaRef, Vec<usize>)> {
    let mut fields: Vec<_> = rows.fields().iter().map(Arc::clone).collect();
    let mut columns = Vec::with_capacity(keys.len());
    for key in keys {
        if let Some(column) = key.downcast_ref::<Column>() {
            columns.push(column.index());
            continue;
        }
        columns.push(fields.len());
        let name = format!("_key_{}", fields.len());
        fields.push(Arc::new(Field::new(
            name,
            key.data_type(rows)?,
            key.nullable(rows)?,
        )));
    }
    Ok((Arc::new(Schema::new(fields)), columns))
}

fn side_column(rows: &[SchemaRef; 2], column: usize) -> Result<SideColumn> {
    let [left, right] = rows.each_ref().map(|schema| schema.fields().len());
    if column < left {
        return Ok(SideColumn {
            side: Side::Left,
            column,
        });
    }
    if column < left + right {
        return Ok(SideColumn {
            side: Side::Right,
            column: column - left,
        });
    }
    Err(Error::internal(format!(
        "a join of {left} and {right} columns has no column {column}"
    )))
}

/// Rewrites a predicate over the columns of both sides to one over those that it needs.
fn pair_filter(predicate: &Arc<dyn PhysicalExpr>, rows: &[SchemaRef; 2]) -> Result<PairFilter> {
    let mut needed: Vec<usize> = collect_columns(predicate)
        .iter()
        .map(Column::index)
        .collect();
    needed.sort_unstable();
    needed.dedup();
    let columns = needed
        .iter()
        .map(|column| side_column(rows, *column))
        .collect::<Result<Vec<_>>>()?;
    let fields: Vec<_> = columns
        .iter()
        .filter_map(|c| c.side.get(rows).fields().get(c.column).map(Arc::clone))
        .collect();
    let rewritten = Arc::clone(predicate).transform(|expr| {
        let place = expr
            .downcast_ref::<Column>()
            .and_then(|column| Some((column.name(), needed.binary_search(&column.index()).ok()?)));
        Ok(match place {
            Some((name, at)) => {
                Transformed::yes(Arc::new(Column::new(name, at)) as Arc<dyn PhysicalExpr>)
            }
            None => Transformed::no(expr),
        })
    })?;
    Ok(PairFilter {
        columns,
        schema: Arc::new(Schema::new(fields)),
        predicate: rewritten.data,
    })
}
