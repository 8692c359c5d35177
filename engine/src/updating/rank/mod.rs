//! The first n rows of each partition in an order, as a changelog: `ROW_NUMBER() ... <= n`.
//!
//! Rows that are equal in the order are ordered by their columns, so that the result depends on the
//! rows alone: not on how they arrive, nor on the parallelism, and a replay gives the same. Without
//! an order the rows of an append-only stream are ordered by arrival.
//!
//! Of an append-only stream only the first n rows of each partition are kept; of a changelog all
//! rows are, since each may come to be among the first.

mod operator;
mod ordered;
mod rows;
mod state;
#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::Duration;

use arrow::array::{ArrayRef, RecordBatch};
use arrow::compute::SortOptions;
use arrow::datatypes::{DataType, FieldRef, Schema, SchemaRef};
use datafusion_physical_expr::PhysicalExpr;
use datafusion_physical_expr::expressions::Column;

use super::RowCodec;
use super::codec::evaluate;
use crate::changelog::{changelog_schema, is_changelog, rows_schema};
use crate::error::{Error, Kind, Result, codes};
use crate::job::TaskContext;
use crate::limits;
use crate::operator::{Consumes, Operator, OperatorFactory};
use crate::spill::{self, Spillable};

/// `SELECT *, ROW_NUMBER() OVER (PARTITION BY partition ORDER BY order) WHERE row_number <= rows`.
#[derive(Debug, Clone)]
pub struct RankSpec {
    /// The rows that come in: a changelog when its last column is `_op`.
    pub input: SchemaRef,
    /// What the rows are divided by; nothing means one partition, in one subtask. The exchange in
    /// front hashes by these expressions in this order.
    pub partition: Vec<Arc<dyn PhysicalExpr>>,
    /// The order within a partition; empty is by arrival.
    pub order: Vec<(Arc<dyn PhysicalExpr>, SortOptions)>,
    /// How many rows of each partition are in the result.
    pub rows: u64,
    /// The column with the number of the row, from 1, of type UInt64; it comes after the input's
    /// columns. Without it a change of places is no change of the result.
    pub rank: Option<FieldRef>,
    /// How long a partition is kept that no row touches, by the clock; a restart begins it anew. Its
    /// result stays with who reads the changelog.
    pub ttl: Option<Duration>,
}

/// Makes the operators that keep the first rows of each partition.
///
/// What comes out are the input's rows, the rank if it is asked for, and `_op`. With a rank, the
/// partition and the rank are the key of the changelog; without one and with `rows` of 1, the
/// partition is.
#[derive(Debug)]
pub struct RankFactory {
    program: Arc<Program>,
    text: String,
}

/// What all operators of a node share.
#[derive(Debug)]
struct Program {
    spec: RankSpec,
    /// The number of rows in the result.
    rows_max: usize,
    /// Rows are append-only: those that are not among the first need not be kept.
    appends: bool,
    /// The place in the order of arrival is a column of the state.
    arrival: bool,
    partition_codec: RowCodec,
    /// The partition and the first columns of the order, as far as they are short: the beginning of
    /// the bytes of [`Self::codec`].
    lead_codec: RowCodec,
    /// Partition, order, place of arrival, then those of the input's columns that are not among them.
    codec: RowCodec,
    /// Where each of the input's columns is among the encoded ones.
    places: Vec<usize>,
    /// The input's columns.
    rows_schema: SchemaRef,
    schema: SchemaRef,
}

impl RankFactory {
    /// Checks the parts; refuses more rows than [`limits::RANK_ROWS_MAX`].
    pub fn try_new(spec: RankSpec) -> Result<Self> {
        let text = describe(&spec);
        Ok(Self {
            program: Arc::new(Program::try_new(spec)?),
            text,
        })
    }
}

/// The rows by partition, for memory that does not hold all of them.
#[derive(Debug)]
struct ByPartition {
    program: Arc<Program>,
}

impl Spillable for ByPartition {
    fn what(&self) -> &'static str {
        "ranked rows"
    }

    fn make(&self, context: &TaskContext) -> Result<Box<dyn Operator>> {
        Ok(operator::create(&self.program, context))
    }

    fn hashes(&self, _input: usize, rows: &RecordBatch) -> Result<Vec<u64>> {
        spill::hashes_of(&self.program.partitions(rows)?, rows.num_rows())
    }

    fn state_hashes(&self, state: &RecordBatch) -> Result<Option<Vec<u64>>> {
        let rows = state::rows_of(&self.program, state)?;
        self.hashes(0, &rows).map(Some)
    }
}

impl OperatorFactory for RankFactory {
    fn outlives_input(&self) -> bool {
        true
    }

    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.program.schema)
    }

    fn create(&self, context: &TaskContext) -> Result<Box<dyn Operator>> {
        if self.program.spec.partition.is_empty() {
            return Ok(operator::create(&self.program, context));
        }
        let program = Arc::clone(&self.program);
        spill::create(Arc::new(ByPartition { program }), context)
    }

    fn describe(&self) -> String {
        self.text.clone()
    }

    fn fingerprint(&self) -> Option<String> {
        let spec = &self.program.spec;
        // The state of fewer rows does not hold those of more, so that their number belongs to it.
        Some(format!(
            "{} of {}",
            describe(&RankSpec {
                ttl: None,
                rank: None,
                ..spec.clone()
            }),
            if self.program.appends {
                "rows"
            } else {
                "a changelog"
            }
        ))
    }

    fn consumes(&self) -> Consumes {
        Consumes::Folds
    }
}

impl Program {
    fn try_new(spec: RankSpec) -> Result<Self> {
        let rows_max = usize::try_from(spec.rows).unwrap_or(usize::MAX);
        if rows_max > limits::RANK_ROWS_MAX {
            return Err(Error::new(
                Kind::Limit,
                codes::LIMIT,
                format!("the first {rows_max} rows of each partition are too many to keep"),
            )
            .detail(format!("at most {} can be kept", limits::RANK_ROWS_MAX))
            .hint("ask for fewer rows, or aggregate them"));
        }
        if let Some(rank) = &spec.rank
            && rank.data_type() != &DataType::UInt64
        {
            return Err(Error::internal("a rank is of type UInt64"));
        }
        let appends = !is_changelog(&spec.input);
        let arrival = appends && spec.order.is_empty();
        let rows = rows_schema(&spec.input);
        let any = SortOptions::default();
        let partition = spec
            .partition
            .iter()
            .map(|e| Ok((e.data_type(&spec.input)?, any)))
            .collect::<Result<Vec<_>>>()?;
        let order = spec
            .order
            .iter()
            .map(|(e, options)| Ok((e.data_type(&spec.input)?, *options)))
            .collect::<Result<Vec<_>>>()?;
        let short = order.iter().take_while(|(t, _)| t.is_primitive());
        let lead = partition.iter().chain(short).cloned();
        let lead_codec = RowCodec::try_new(lead)?;
        let fields = partition.iter().cloned().chain(order);
        let fields = fields.chain(arrival.then_some((DataType::UInt64, any)));
        let mut fields: Vec<_> = fields.collect();
        let ahead = || {
            spec.partition
                .iter()
                .chain(spec.order.iter().map(|(e, _)| e))
        };
        let mut places = Vec::with_capacity(rows.fields().len());
        for (index, field) in rows.fields().iter().enumerate() {
            let is_column = |e: &Arc<dyn PhysicalExpr>| {
                e.downcast_ref::<Column>()
                    .is_some_and(|column| column.index() == index)
            };
            places.push(ahead().position(is_column).unwrap_or_else(|| {
                fields.push((field.data_type().clone(), any));
                fields.len() - 1
            }));
        }
        let mut out: Vec<FieldRef> = rows.fields().iter().map(Arc::clone).collect();
        out.extend(spec.rank.iter().map(Arc::clone));
        Ok(Self {
            rows_max,
            appends,
            arrival,
            partition_codec: RowCodec::try_new(partition.clone())?,
            lead_codec,
            codec: RowCodec::try_new(fields)?,
            places,
            schema: changelog_schema(&Schema::new(out)),
            rows_schema: rows,
            spec,
        })
    }

    /// Encoded columns before those that only the rows need.
    fn prefix(&self) -> usize {
        self.spec.partition.len() + self.spec.order.len() + usize::from(self.arrival)
    }

    /// The partition's columns of a batch of rows.
    fn partitions(&self, rows: &RecordBatch) -> Result<Vec<ArrayRef>> {
        evaluate(&self.spec.partition, rows)
    }

    /// The columns of a batch of rows that are encoded.
    fn columns(
        &self,
        rows: &RecordBatch,
        partition: &[ArrayRef],
        arrival: Option<ArrayRef>,
    ) -> Result<Vec<ArrayRef>> {
        let order = self.spec.order.iter().map(|(expr, _)| {
            let value = expr.evaluate(rows)?;
            Ok(value.into_array(rows.num_rows())?)
        });
        let mut columns: Vec<ArrayRef> = partition.iter().map(Arc::clone).collect();
        columns.extend(order.collect::<Result<Vec<_>>>()?);
        columns.extend(arrival);
        let prefix = self.prefix();
        let later = rows.columns().iter().zip(&self.places);
        let later = later.filter(|(_, place)| **place >= prefix);
        columns.extend(later.map(|(column, _)| Arc::clone(column)));
        Ok(columns)
    }

    /// Decodes rows: the place of arrival, if there is one, and the input's columns.
    fn decode<'a>(
        &self,
        rows: impl IntoIterator<Item = &'a [u8]>,
    ) -> Result<(Option<ArrayRef>, Vec<ArrayRef>)> {
        let columns = self.codec.decode(rows)?;
        let arrival = self.arrival.then(|| self.prefix() - 1);
        let arrival = arrival.and_then(|place| columns.get(place)).map(Arc::clone);
        let column = |place: &usize| columns.get(*place).map(Arc::clone).ok_or_else(misfit);
        let rows = self.places.iter().map(column).collect::<Result<_>>()?;
        Ok((arrival, rows))
    }
}

fn misfit() -> Error {
    Error::internal("ranked rows do not fit their layout")
}

fn describe(spec: &RankSpec) -> String {
    let partition: Vec<_> = spec.partition.iter().map(ToString::to_string).collect();
    let order: Vec<_> = spec
        .order
        .iter()
        .map(|(expr, options)| format!("{expr} {options}"))
        .collect();
    let mut text = format!("Rank first {}", spec.rows);
    if !partition.is_empty() {
        text.push_str(&format!(" per [{}]", partition.join(", ")));
    }
    if order.is_empty() {
        text.push_str(" by arrival");
    } else {
        text.push_str(&format!(" by [{}]", order.join(", ")));
    }
    if let Some(rank) = &spec.rank {
        text.push_str(&format!(" as {}", rank.name()));
    }
    if let Some(ttl) = spec.ttl {
        text.push_str(&format!(" ttl {ttl:?}"));
    }
    text
}
