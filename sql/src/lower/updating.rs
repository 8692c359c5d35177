//! Aggregates without a window and DISTINCT: results that change as rows come.

use std::sync::Arc;

use arrow::datatypes::{Field, Schema};
use datafusion::logical_expr::{Aggregate, LogicalPlan};
use datafusion::physical_expr::PhysicalExpr;
use weir_engine::error::{Error, Result};
use weir_engine::graph::{Edge, NodeKind, Partitioning};
use weir_engine::operator::OperatorFactory;
use weir_engine::updating::aggregate::{AggregateFactory, AggregateSpec, OutputColumn};
use weir_engine::updating::distinct::DistinctFactory;

use super::flow::Flow;
use super::nodes::spread;
use super::stateless::node_column;
use super::{Lowering, refuse};

/// Expressions with the names of their columns.
type Named = Vec<(Arc<dyn PhysicalExpr>, String)>;

impl Lowering<'_> {
    /// GROUP BY of all rows so far: the results are a changelog, but for DISTINCT of rows that are
    /// only ever added.
    pub(super) fn updating_aggregate(
        &mut self,
        flow: Flow,
        aggregate: &Aggregate,
        plan: &LogicalPlan,
    ) -> Result<Flow> {
        if !self.is_streaming() {
            return Err(refuse::node(plan));
        }
        let flow = self.expand(flow)?;
        if aggregate.aggr_expr.is_empty() && !flow.is_changelog() {
            return self.distinct(flow, aggregate);
        }
        let flow = self.settle_filter(flow)?;
        let keys = self.keys(&flow, aggregate)?;
        let key = (0..keys.len()).collect();
        let spec = self.updating_spec(&flow, keys, aggregate)?;
        let keys = spec.keys.iter().map(|(key, _)| Arc::clone(key)).collect();
        let factory = Arc::new(AggregateFactory::try_new(spec)?);
        let flow = self.keyed(flow, keys, "aggregate", factory)?;
        Ok(Flow {
            key: Some(key),
            ..flow
        })
    }

    /// The first of equal rows.
    fn distinct(&mut self, flow: Flow, aggregate: &Aggregate) -> Result<Flow> {
        let columns = self.keys(&flow, aggregate)?;
        let flow = self.compute(flow, columns)?;
        let keys: Vec<_> = (0..flow.width()).map(|at| node_column(&flow, at)).collect();
        let input = Arc::clone(&flow.schema);
        let factory =
            DistinctFactory::try_new(input, keys.clone(), self.target.planner.state_ttl())?;
        let key = (0..keys.len()).collect();
        let flow = self.keyed(flow, keys, "distinct", Arc::new(factory))?;
        Ok(Flow {
            key: Some(key),
            ..flow
        })
    }

    /// Adds an operator in which rows with equal keys meet; without keys, all rows.
    pub(super) fn keyed(
        &mut self,
        flow: Flow,
        keys: Vec<Arc<dyn PhysicalExpr>>,
        what: &'static str,
        factory: Arc<dyn OperatorFactory>,
    ) -> Result<Flow> {
        let (parallelism, partitioning) = match keys.is_empty() {
            true => (1, spread(&flow, 1)),
            false => (self.target.parallelism, Partitioning::Hash(keys)),
        };
        let schema = factory.schema();
        let at = self.add(what, "", NodeKind::Operator(factory), parallelism, &schema)?;
        self.graph.connect(Edge {
            from: flow.at,
            to: at,
            input: 0,
            partitioning,
        })?;
        Ok(Flow {
            parallelism,
            ..flow.behind(at, schema, Vec::new())
        })
    }

    /// The keys of a GROUP BY over the columns of the flow's node.
    fn keys(&self, flow: &Flow, aggregate: &Aggregate) -> Result<Named> {
        let named = aggregate.schema.fields().iter();
        let keys = aggregate.group_expr.iter().zip(named);
        keys.map(|(expr, named)| {
            let key = self.compile(flow, expr, aggregate.input.schema())?;
            let key = key.ok_or_else(|| Error::internal("a key needs windows that are lowered"))?;
            Ok((key, named.name().clone()))
        })
        .collect()
    }

    fn updating_spec(
        &mut self,
        flow: &Flow,
        keys: Named,
        aggregate: &Aggregate,
    ) -> Result<AggregateSpec> {
        let mut output: Vec<_> = (0..keys.len()).map(OutputColumn::Key).collect();
        let mut fields = Vec::new();
        for (key, name) in &keys {
            let (data_type, nullable) = (key.data_type(&flow.schema)?, key.nullable(&flow.schema)?);
            fields.push(Arc::new(Field::new(name, data_type, nullable)));
        }
        let (mut aggregates, mut filters) = (Vec::new(), Vec::new());
        let named = aggregate.schema.fields().iter().skip(keys.len());
        for (expr, named) in aggregate.aggr_expr.iter().zip(named) {
            let lowered = self.function(flow, expr, aggregate)?;
            let field = lowered.aggregate.field().as_ref().clone();
            fields.push(Arc::new(field.with_name(named.name())));
            output.push(OutputColumn::Aggregate(aggregates.len()));
            aggregates.push(lowered.aggregate);
            filters.push(lowered.filter);
        }
        Ok(AggregateSpec {
            keys,
            aggregates,
            filters,
            input: Arc::clone(&flow.schema),
            output,
            schema: Arc::new(Schema::new(fields)),
            emit: self.updates()?,
            ttl: self.target.planner.state_ttl(),
        })
    }
}
