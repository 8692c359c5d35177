//! What rules measure of rows on hold: aggregates by segment, and what is computed of them.

use std::fmt;
use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, new_null_array};
use arrow::datatypes::{Schema, SchemaRef};
use arrow::record_batch::{RecordBatch, RecordBatchOptions};
use datafusion_expr::{EmitTo, GroupsAccumulator};
use datafusion_physical_expr::aggregate::AggregateFunctionExpr;
use datafusion_physical_expr::utils::reassign_expr_columns;
use datafusion_physical_expr::{GroupsAccumulatorAdapter, PhysicalExpr};

use crate::error::Result;
use crate::updating::codec::{RowMap, evaluate};
use crate::updating::{RowBytes, RowCodec};

/// Bytes of a segment beside its key.
const ENTRY_BYTES: usize = 64;

/// One aggregate over rows.
#[derive(Debug, Clone)]
pub struct Measure {
    /// The function.
    pub function: Arc<AggregateFunctionExpr>,
    /// Its arguments, over the columns of the rows.
    pub arguments: Vec<Arc<dyn PhysicalExpr>>,
    /// `FILTER (WHERE ..)`.
    pub filter: Option<Arc<dyn PhysicalExpr>>,
}

impl Measure {
    fn accumulator(&self) -> Result<Box<dyn GroupsAccumulator>> {
        if self.function.groups_accumulator_supported() {
            return Ok(self.function.create_groups_accumulator()?);
        }
        let function = Arc::clone(&self.function);
        Ok(Box::new(GroupsAccumulatorAdapter::new(move || {
            function.create_accumulator()
        })))
    }
}

/// `SELECT output FROM rows GROUP BY keys`.
#[derive(Debug, Clone)]
pub struct Measures {
    keys: Vec<Arc<dyn PhysicalExpr>>,
    aggregates: Vec<Measure>,
    /// Keys and aggregates, which the output is computed of.
    groups: SchemaRef,
    output: Vec<Arc<dyn PhysicalExpr>>,
    schema: SchemaRef,
    codec: Arc<RowCodec>,
}

impl Measures {
    /// The columns of `output`, over the keys and the aggregates as `groups` has them; those are over rows.
    pub fn try_new(
        keys: Vec<Arc<dyn PhysicalExpr>>,
        aggregates: Vec<Measure>,
        groups: SchemaRef,
        (output, schema): (Vec<Arc<dyn PhysicalExpr>>, SchemaRef),
    ) -> Result<Self> {
        // What cannot take its arguments is told here, not at the first row.
        for aggregate in &aggregates {
            aggregate.accumulator()?;
        }
        let keyed = groups.fields().iter().take(keys.len());
        let codec = RowCodec::of(keyed.map(|field| field.data_type().clone()))?;
        Ok(Self {
            keys,
            aggregates,
            groups,
            output,
            schema,
            codec: Arc::new(codec),
        })
    }

    pub(in crate::rules) fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    pub(in crate::rules) fn keys(&self) -> &[Arc<dyn PhysicalExpr>] {
        &self.keys
    }

    /// Tells segments apart.
    pub(in crate::rules) fn codec(&self) -> &RowCodec {
        &self.codec
    }

    /// All that it computes of rows.
    pub fn exprs(&self) -> impl Iterator<Item = &Arc<dyn PhysicalExpr>> {
        let aggregates = self.aggregates.iter();
        let aggregates =
            aggregates.flat_map(|measure| measure.arguments.iter().chain(&measure.filter));
        self.keys.iter().chain(aggregates)
    }

    pub(in crate::rules) fn over(&self, schema: &Schema) -> Result<Self> {
        let place = |expr: &Arc<dyn PhysicalExpr>| {
            Ok::<_, crate::Error>(reassign_expr_columns(Arc::clone(expr), schema)?)
        };
        let aggregates = self.aggregates.iter().map(|measure| {
            Ok(Measure {
                function: Arc::clone(&measure.function),
                arguments: measure.arguments.iter().map(place).collect::<Result<_>>()?,
                filter: measure.filter.as_ref().map(place).transpose()?,
            })
        });
        Ok(Self {
            keys: self.keys.iter().map(place).collect::<Result<_>>()?,
            aggregates: aggregates.collect::<Result<_>>()?,
            ..self.clone()
        })
    }

    /// What is measured of no row, behind keys that are null.
    pub(in crate::rules) fn of_nothing(&self) -> Result<RecordBatch> {
        let mut aggregates = Vec::with_capacity(self.aggregates.len());
        for measure in &self.aggregates {
            // A group that was given no row has no answer for all of them: a sum of nothing would be 0.
            let value = measure.function.create_accumulator()?.evaluate()?;
            aggregates.push(value.to_array_of_size(1)?);
        }
        let keys = self.groups.fields().iter().take(self.keys.len());
        let keys = keys.map(|field| new_null_array(field.data_type(), 1));
        self.computed(keys.chain(aggregates).collect(), 1)
    }

    /// Computes the output of keys and aggregates.
    fn computed(&self, columns: Vec<ArrayRef>, rows: usize) -> Result<RecordBatch> {
        let nullable = self.groups.fields().iter();
        let nullable = nullable.map(|field| field.as_ref().clone().with_nullable(true));
        let groups = Arc::new(Schema::new(nullable.collect::<Vec<_>>()));
        let options = RecordBatchOptions::new().with_row_count(Some(rows));
        let groups = RecordBatch::try_new_with_options(groups, columns, &options)?;
        let output = evaluate(&self.output, &groups)?;
        let schema = Arc::clone(&self.schema);
        Ok(RecordBatch::try_new_with_options(schema, output, &options)?)
    }
}

/// Measures on their way.
pub(in crate::rules) struct Measuring {
    of: Arc<Measures>,
    numbers: RowMap<usize>,
    segments: Vec<RowBytes>,
    accumulators: Vec<Box<dyn GroupsAccumulator>>,
    bytes: usize,
    rows: u64,
}

impl fmt::Debug for Measuring {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Measuring")
            .field("segments", &self.segments.len())
            .field("rows", &self.rows)
            .finish_non_exhaustive()
    }
}

impl Measuring {
    pub(in crate::rules) fn new(of: &Arc<Measures>) -> Result<Self> {
        let accumulators = of.aggregates.iter().map(Measure::accumulator);
        Ok(Self {
            accumulators: accumulators.collect::<Result<_>>()?,
            of: Arc::clone(of),
            numbers: RowMap::default(),
            segments: Vec::new(),
            bytes: 0,
            rows: 0,
        })
    }

    /// Rows that were measured.
    pub(in crate::rules) fn rows(&self) -> u64 {
        self.rows
    }

    /// Bytes of memory.
    pub(in crate::rules) fn bytes(&self) -> usize {
        let accumulators = self.accumulators.iter().map(|a| a.size());
        self.bytes + accumulators.sum::<usize>()
    }

    /// Measures rows.
    pub(in crate::rules) fn add(&mut self, batch: &RecordBatch) -> Result<()> {
        let rows = batch.num_rows();
        if rows == 0 {
            return Ok(());
        }
        self.rows += rows as u64;
        let of = Arc::clone(&self.of);
        let keys = evaluate(&of.keys, batch)?;
        let groups = match keys.is_empty() {
            true => vec![0; rows],
            false => self.groups_of(&keys)?,
        };
        let count = self.segments.len().max(1);
        for (measure, accumulator) in of.aggregates.iter().zip(&mut self.accumulators) {
            let arguments = evaluate(&measure.arguments, batch)?;
            let filter = match &measure.filter {
                Some(filter) => Some(filter.evaluate(batch)?.into_array(rows)?),
                None => None,
            };
            let filter = filter.as_ref().map(|filter| filter.as_boolean());
            accumulator.update_batch(&arguments, &groups, filter, count)?;
        }
        Ok(())
    }

    /// The number of the segment of each row.
    fn groups_of(&mut self, keys: &[ArrayRef]) -> Result<Vec<usize>> {
        let encoded = self.of.codec.encode(keys)?;
        let mut groups = Vec::with_capacity(encoded.num_rows());
        for row in &encoded {
            let known = self.numbers.get(row.data()).copied();
            groups.push(match known {
                Some(number) => number,
                None => {
                    let key: RowBytes = row.data().into();
                    let number = self.segments.len();
                    self.bytes += 2 * (key.len() + ENTRY_BYTES);
                    self.segments.push(Arc::clone(&key));
                    self.numbers.insert(key, number);
                    number
                }
            });
        }
        Ok(groups)
    }

    /// What was measured, a row for each segment that has rows.
    pub(in crate::rules) fn finish(mut self) -> Result<RecordBatch> {
        let groups = match (self.of.keys.is_empty(), self.rows) {
            (true, 0) => return self.of.of_nothing(),
            (true, _) => 1,
            (false, _) => self.segments.len(),
        };
        let mut columns = match self.of.keys.is_empty() {
            true => Vec::new(),
            false => {
                let segments = self.segments.iter().map(AsRef::as_ref);
                self.of.codec.decode(segments)?
            }
        };
        for accumulator in &mut self.accumulators {
            columns.push(accumulator.evaluate(EmitTo::All)?);
        }
        self.of.computed(columns, groups)
    }
}
