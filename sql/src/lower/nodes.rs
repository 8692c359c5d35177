//! Leaves and unions, and the adding of nodes with stable ids.

use std::collections::BTreeSet;
use std::sync::Arc;

use arrow::datatypes::{Field, Schema, SchemaRef};
use datafusion::common::{DFSchema, ScalarValue};
use datafusion::datasource::memory::MemorySourceConfig;
use datafusion::datasource::source_as_provider;
use datafusion::logical_expr::{LogicalPlan, TableScan};
use datafusion::physical_expr::expressions::Literal;
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::empty::EmptyExec;
use datafusion::physical_plan::placeholder_row::PlaceholderRowExec;
use weir_engine::changelog::{OP_COLUMN, RowKind, changelog_schema};
use weir_engine::error::{Error, Result};
use weir_engine::graph::{Edge, Node, NodeIndex, NodeKind, Partitioning};
use weir_engine::operator::{OperatorFactory, union::Union};

use super::flow::{Flow, Role};
use super::stateless::node_column;
use super::{Lowering, refuse};
use crate::catalog::source::SourceTable;

impl Lowering<'_> {
    /// Adds a node; its id is made of what it does and how many of its kind came before, so that
    /// other operators of the statement may come and go.
    pub(super) fn add(
        &mut self,
        what: &'static str,
        suffix: &str,
        kind: NodeKind,
        parallelism: u32,
        schema: &SchemaRef,
    ) -> Result<NodeIndex> {
        let count = self.counts.entry(what).or_default();
        let id = format!("{}/{count}-{what}{suffix}", self.target.prefix);
        // The phases of one operator share their number.
        if suffix != ".local" {
            *count += 1;
        }
        let name = match &kind {
            NodeKind::Scan(scan) => scan.name.clone(),
            _ => what.to_owned(),
        };
        let schema = Arc::clone(schema);
        self.graph.add(Node {
            id: id.into(),
            name,
            kind,
            parallelism,
            schema,
        })
    }

    /// Adds an operator behind a flow with the same subtasks.
    pub(super) fn follow(
        &mut self,
        from: NodeIndex,
        parallelism: u32,
        what: &'static str,
        suffix: &str,
        factory: Arc<dyn OperatorFactory>,
    ) -> Result<(NodeIndex, SchemaRef)> {
        let schema = factory.schema();
        let at = self.add(
            what,
            suffix,
            NodeKind::Operator(factory),
            parallelism,
            &schema,
        )?;
        let partitioning = Partitioning::Forward;
        self.graph.connect(Edge {
            from,
            to: at,
            input: 0,
            partitioning,
        })?;
        Ok((at, schema))
    }

    pub(super) fn scan(&mut self, scan: &TableScan) -> Result<Flow> {
        let provider = source_as_provider(&scan.source)?;
        let Some(table) = provider.downcast_ref::<SourceTable>() else {
            return Err(refuse::node(&LogicalPlan::TableScan(scan.clone())));
        };
        let Some(source) = self.sources.get(table.name()) else {
            return Err(Error::internal(format!(
                "source {} was not made",
                table.name()
            )));
        };
        let all: Vec<usize> = (0..table.columns().len()).collect();
        let projection = scan.projection.as_deref().unwrap_or(&all);
        let event_time = table.watermark().map(|watermark| watermark.column);
        let arriving = table.is_arriving();
        let role = |column: &usize| {
            let is_time = match arriving {
                // By its own time a late row would be in no window.
                true => table.is_arrival_time(*column),
                false => Some(*column) == event_time,
            };
            if is_time {
                Role::EventTime
            } else if table.is_processing_time(*column) {
                Role::Clock
            } else {
                Role::Plain
            }
        };
        let roles = projection.iter().map(role).collect();
        let place = |column: &usize| projection.iter().position(|read| read == column);
        let key = table
            .primary_key()
            .iter()
            .map(place)
            .collect::<Option<Vec<_>>>();
        let read = table.scan(Arc::clone(source), projection, (true, self.is_streaming()))?;
        let schema = read.schema();
        let parallelism = self.target.parallelism;
        let at = self.add(
            "source",
            "",
            NodeKind::Scan(Arc::new(read)),
            parallelism,
            &schema,
        )?;
        let flow = Flow::of(at, parallelism, schema, roles);
        Ok(Flow {
            watermarked: event_time.is_some(),
            // Rows that are only added may repeat the key.
            key: key.filter(|key| flow.is_changelog() && !key.is_empty()),
            ..flow
        })
    }

    /// Rows that stand in the query itself.
    pub(super) fn constant(&mut self, plan: &LogicalPlan) -> Result<Flow> {
        let schema = Arc::clone(plan.schema().inner());
        let exec: Arc<dyn ExecutionPlan> = match plan {
            LogicalPlan::Values(values) => {
                let empty = DFSchema::empty();
                let rows = values
                    .values
                    .iter()
                    .map(|row| {
                        row.iter()
                            .map(|e| self.target.planner.physical_expr(e, &empty))
                            .collect()
                    })
                    .collect::<Result<Vec<Vec<_>>>>()?;
                MemorySourceConfig::try_new_as_values(Arc::clone(&schema), rows)?
            }
            LogicalPlan::EmptyRelation(empty) if empty.produce_one_row => {
                Arc::new(PlaceholderRowExec::new(Arc::clone(&schema)))
            }
            _ => Arc::new(EmptyExec::new(Arc::clone(&schema))),
        };
        let at = self.add("constant", "", NodeKind::Island(exec), 1, &schema)?;
        let roles = vec![Role::Plain; schema.fields().len()];
        Ok(Flow::of(at, 1, schema, roles))
    }

    /// UNION ALL of settled flows; `names` names the columns.
    pub(super) fn union(&mut self, flows: Vec<Flow>, names: &SchemaRef) -> Result<Flow> {
        let changes = flows.iter().any(Flow::is_changelog);
        let flows = flows
            .into_iter()
            .map(|flow| match changes && !flow.is_changelog() {
                true => self.insertions(flow),
                false => Ok(flow),
            })
            .collect::<Result<Vec<_>>>()?;
        let Some(first) = flows.first() else {
            return Err(Error::internal("a union has no inputs"));
        };
        let mut roles = first.roles.clone();
        for flow in &flows {
            for (column, role) in roles.iter_mut().enumerate() {
                if flow.node_role(column) != *role {
                    *role = Role::Plain;
                }
            }
        }
        let schema = union_schema(&flows, names);
        let schema = match changes {
            true => changelog_schema(&schema),
            false => Arc::new(schema),
        };
        let parallelism = flows.iter().map(|flow| flow.parallelism).max().unwrap_or(1);
        let watermarked = flows.iter().any(|flow| flow.watermarked);
        let factory = Arc::new(Union::new(Arc::clone(&schema)));
        let at = self.add(
            "union",
            "",
            NodeKind::Operator(factory),
            parallelism,
            &schema,
        )?;
        let senders: BTreeSet<NodeIndex> = flows.iter().map(|flow| flow.at).collect();
        if senders.len() != flows.len() {
            return Err(Error::internal("a union reads one node twice"));
        }
        for (input, flow) in flows.iter().enumerate() {
            self.graph.connect(Edge {
                from: flow.at,
                to: at,
                input,
                partitioning: spread(flow, parallelism),
            })?;
        }
        Ok(Flow {
            watermarked,
            ..Flow::of(at, parallelism, schema, roles)
        })
    }

    /// Makes a changelog of rows that are only ever added.
    fn insertions(&mut self, flow: Flow) -> Result<Flow> {
        let mut columns: Vec<_> = (0..flow.width())
            .map(|at| (node_column(&flow, at), flow.schema.field(at).name().clone()))
            .collect();
        let kind = ScalarValue::Int8(Some(RowKind::Insert.number()));
        columns.push((Arc::new(Literal::new(kind)), OP_COLUMN.to_owned()));
        self.compute(flow, columns)
    }
}

/// The rows of a union, without the kinds of changes.
fn union_schema(flows: &[Flow], names: &SchemaRef) -> Schema {
    let fields: Vec<Field> = names
        .fields()
        .iter()
        .enumerate()
        .map(|(column, named)| {
            let mut given = flows.iter().map(|flow| flow.schema.fields().get(column));
            let data_type = match given.clone().next().flatten() {
                Some(first) => first.data_type().clone(),
                None => named.data_type().clone(),
            };
            let nullable = given.any(|field| field.is_none_or(|field| field.is_nullable()));
            Field::new(named.name(), data_type, nullable)
        })
        .collect();
    Schema::new(fields)
}

/// How the rows of a flow go to `parallelism` subtasks. The changes of a row must stay in order, so
/// they take one way: by the key of the row, or by all of it.
pub(super) fn spread(flow: &Flow, parallelism: u32) -> Partitioning {
    if flow.parallelism == parallelism {
        return Partitioning::Forward;
    }
    if !flow.is_changelog() || parallelism == 1 {
        return Partitioning::Rebalance;
    }
    let all = || (0..flow.width()).collect();
    let key: Vec<usize> = flow.key.clone().unwrap_or_else(all);
    Partitioning::Hash(key.iter().map(|at| node_column(flow, *at)).collect())
}
