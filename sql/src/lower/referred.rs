//! Tables without an end that rules refer to: their keys flow through the pipeline to the rules.
//!
//! The keys of a table come before whatever asks for them in the graph, and behind the rules of the
//! table itself, so that tables can't refer to one another in a circle.

use std::sync::Arc;

use arrow::datatypes::{Schema, SchemaRef};
use datafusion::logical_expr::LogicalPlan;
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_expr::expressions::Column;
use weir_engine::changelog::rows_schema;
use weir_engine::error::{Error, Kind, Result, codes};
use weir_engine::graph::{Graph, KeysOf, Partitioning};
use weir_engine::rules::Reference;
use weir_engine::rules::keyed::Ask;

use super::{Lowering, Target, for_each_source};
use crate::ast::{Asks, Constraint, Expectation};
use crate::plan::Planner;
use crate::rules::Due;
use crate::settings::Mode;

/// Spreads keys as the rows that ask for them are.
pub(super) fn by_key(schema: &SchemaRef) -> Partitioning {
    let rows: Arc<Schema> = rows_schema(schema);
    let fields = rows.fields().iter().enumerate();
    let column = |(at, field): (usize, &Arc<_>)| {
        let field: &arrow::datatypes::Field = field;
        Arc::new(Column::new(field.name(), at)) as Arc<dyn PhysicalExpr>
    };
    Partitioning::Hash(fields.map(column).collect())
}

/// What the keys of a streaming job are lowered with.
pub(crate) struct Referrals<'a> {
    planner: &'a Planner,
    parallelism: u32,
    /// The tables without an end.
    all: Vec<Due>,
    /// Those whose keys are being lowered, to find circles.
    open: Vec<String>,
}

impl<'a> Referrals<'a> {
    /// The tables that rules refer to and that a streaming job doesn't read whole.
    pub(crate) fn of(planner: &'a Planner, parallelism: u32) -> Result<Self> {
        let all = planner.references().due()?;
        Ok(Self {
            planner,
            parallelism,
            all: all.into_iter().filter(|due| !due.ends).collect(),
            open: Vec::new(),
        })
    }

    /// Lowers the keys that the rules of the sources of a plan ask for.
    pub(crate) async fn of_plan(&mut self, graph: &mut Graph, plan: &LogicalPlan) -> Result<()> {
        let mut asked: Vec<Arc<Reference>> = Vec::new();
        for_each_source(plan, &mut |_, table| {
            for keyed in table.rules().iter().filter_map(|rule| rule.keyed.as_ref()) {
                if let Ask::Refers(refers) = &keyed.ask {
                    asked.push(Arc::clone(&refers.reference));
                }
            }
        })?;
        self.add(graph, |due| {
            asked.iter().any(|asked| Arc::ptr_eq(asked, &due.reference))
        })
        .await
    }

    /// Lowers the keys that rules of a view or a sink ask for.
    pub(crate) async fn of_rules(
        &mut self,
        graph: &mut Graph,
        constraints: &[Constraint],
    ) -> Result<()> {
        let asks = |due: &Due, constraint: &Constraint| match &constraint.expectation {
            Expectation::Keyed(keyed) => match &keyed.asks {
                Asks::References { table, to, .. } => {
                    due.reference.name() == crate::rules::name_of(table, to)
                }
                _ => false,
            },
            _ => false,
        };
        self.add(graph, |due| constraints.iter().any(|rule| asks(due, rule)))
            .await
    }

    async fn add(&mut self, graph: &mut Graph, wanted: impl Fn(&Due) -> bool) -> Result<()> {
        let chosen = self.all.iter().filter(|due| wanted(due));
        let chosen: Vec<Due> = chosen.cloned().collect();
        for due in chosen {
            if graph.keys_of(&due.reference).is_none() {
                self.lower(graph, &due).await?;
            }
        }
        Ok(())
    }

    async fn lower(&mut self, graph: &mut Graph, due: &Due) -> Result<()> {
        let name = due.reference.name().to_owned();
        if self.open.contains(&name) {
            let message = format!("REFERENCES {name}: the table refers to itself");
            return Err(Error::new(Kind::Invalid, codes::UNSUPPORTED, message)
                .detail(format!(
                    "its rows would wait for one another: {}",
                    self.open.join(", ")
                ))
                .hint("declare a second source over the same data, without the rule, and refer to that")
                .at(Some(due.place)));
        }
        self.open.push(name.clone());
        Box::pin(self.of_plan(graph, &due.plan)).await?;
        self.open.pop();
        let number = graph.keys().iter();
        let number = number.filter(|keys| keys.reference.name() == name).count();
        let prefix = match number {
            0 => format!("keys/{name}"),
            more => format!("keys/{name}.{more}"),
        };
        let target = Target {
            planner: self.planner,
            mode: Mode::Streaming,
            parallelism: self.parallelism,
            prefix: &prefix,
            place: Some(due.place),
            emit: None,
        };
        let flow = target.lower(graph, &due.plan).await?;
        let mut lowering = Lowering::new(target, std::mem::take(graph), Default::default());
        let flow = lowering.settle(flow)?;
        *graph = lowering.graph;
        graph.give_keys(KeysOf {
            reference: Arc::clone(&due.reference),
            at: flow.at,
            have_time: flow.watermarked,
            one_per_key: flow.is_changelog() && flow.key.is_some(),
        });
        Ok(())
    }
}
