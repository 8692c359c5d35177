//! Rules over many rows of the tables of a pipeline: checked where they are declared, and lowered with it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use datafusion::catalog::TableProvider;
use datafusion::catalog::view::ViewTable;
use datafusion::logical_expr::{LogicalPlan, LogicalPlanBuilder};
use weir_engine::error::{Error, Kind, Result, codes};
use weir_engine::graph::{Graph, NodeKind};

use super::insert::Insert;
use super::{Materialized, Session};
use crate::ast::Constraint;
use crate::catalog::source::SourceTable;
use crate::lower::{add_check, tables_read};
use crate::rules::check::{self, CheckPlan, Checked};
use crate::rules::{self, Arrival, Planned, Ruled};
use crate::settings::Mode;

/// Refuses rules over many rows of a table whose rows a query can't compute anew.
fn measured(plans: Vec<CheckPlan>, rules: &[Planned]) -> Result<Vec<CheckPlan>> {
    let (Some(plan), Some(rule)) = (plans.first(), rules::copy::withheld(rules)) else {
        return Ok(plans);
    };
    let message =
        format!("a rule over many rows beside \"{rule}\", which keeps rows back by others");
    Err(Error::new(Kind::Invalid, codes::UNSUPPORTED, message)
        .detail("the rows of the table would be computed anew, and come in another order")
        .hint("put one of them on a source, or let that rule warn")
        .at(Some(plan.place)))
}

impl Session {
    /// Plans rules over many rows of a source.
    pub(super) fn source_checks(
        &self,
        source: &Arc<SourceTable>,
        rules: &[Constraint],
    ) -> Result<Vec<CheckPlan>> {
        let time = source.watermark().map(|watermark| watermark.name.as_str());
        let rows: Arc<dyn TableProvider> = Arc::clone(source) as _;
        self.checks_of(source.name(), rows, time, rules)
    }

    /// Plans rules over many rows of a materialized view.
    pub(super) fn view_checks(
        &self,
        view: &Materialized,
        constraints: &[Constraint],
    ) -> Result<Vec<CheckPlan>> {
        if !self.has_checks(constraints) {
            return Ok(Vec::new());
        }
        let table = self.view_table(view, "")?;
        let plans = self.checks_of(&view.name, Arc::new(table), None, constraints)?;
        measured(plans, &view.rules(&self.planner)?)
    }

    /// Plans rules over many rows of a sink, which are those of the queries that are inserted into it.
    pub(super) fn sink_checks(
        &self,
        constraints: &[Constraint],
        inserts: &[&Insert],
    ) -> Result<Vec<CheckPlan>> {
        let first = inserts.first().filter(|_| self.has_checks(constraints));
        let Some(first) = first else {
            return Ok(Vec::new());
        };
        let sink = &first.sink;
        let mut all = first.plan.clone();
        for insert in inserts.iter().skip(1) {
            all = LogicalPlanBuilder::from(all)
                .union(insert.plan.clone())?
                .build()?;
        }
        let ruled = Ruled {
            table: &sink.name,
            schema: &first.columns,
            clock: true,
            arrival: Arrival::Unknown,
            fixed: &[],
        };
        let planned = rules::plan(&self.planner, &ruled, &sink.constraints.lock())?;
        let rows = rules::copy::published(&sink.name, all, &planned)?;
        let table = ViewTable::new(rows, None);
        let plans = self.checks_of(&sink.name, Arc::new(table), None, constraints)?;
        measured(plans, &planned)
    }

    /// Whether some of these rules look at many rows: without any, no query over their table is planned.
    fn has_checks(&self, rules: &[Constraint]) -> bool {
        rules
            .iter()
            .any(|rule| check::is_check(&self.planner, rule))
    }

    pub(super) fn checks_of(
        &self,
        name: &str,
        rows: Arc<dyn TableProvider>,
        time: Option<&str>,
        rules: &[Constraint],
    ) -> Result<Vec<CheckPlan>> {
        let checked = Checked {
            name,
            rows,
            time,
            tables: &self.catalog,
        };
        check::plan(&self.planner, &checked, rules)
    }

    /// Adds the rules over many rows of all tables that a pipeline reads or writes.
    pub(super) async fn add_checks(
        &self,
        graph: &mut Graph,
        inserts: &[Insert],
        views: &[Materialized],
        how: (Mode, u32),
    ) -> Result<()> {
        let judged = judged(graph);
        let mut all = Vec::new();
        for (name, table) in read_by(inserts, views)? {
            let source: Option<Arc<SourceTable>> =
                match self.catalog.objects().find(|(known, _)| *known == name) {
                    Some((_, crate::catalog::Object::Source(source))) => Some(Arc::clone(source)),
                    _ => None,
                };
            if let (Some(source), Some(_)) = (source, table.downcast_ref::<SourceTable>()) {
                let rules = without(source.constraints(), &judged, &name);
                all.extend(named(&name, self.source_checks(&source, &rules)?));
            }
        }
        for view in views {
            let rules = without(view.constraints.clone(), &judged, &view.name);
            all.extend(named(&view.name, self.view_checks(view, &rules)?));
        }
        let mut sinks: BTreeMap<&str, Vec<&Insert>> = BTreeMap::new();
        for insert in inserts {
            sinks.entry(&insert.sink.name).or_default().push(insert);
        }
        for (name, inserts) in sinks {
            if let Some(first) = inserts.first() {
                let rules = without(first.sink.constraints.lock().clone(), &judged, name);
                all.extend(named(name, self.sink_checks(&rules, &inserts)?));
            }
        }
        for (table, plan) in all {
            self.add_check(graph, &table, plan, how).await?;
        }
        Ok(())
    }

    /// Adds a query that measures, with the rules that judge what it gives.
    pub(super) async fn add_check(
        &self,
        graph: &mut Graph,
        table: &str,
        mut plan: CheckPlan,
        how: (Mode, u32),
    ) -> Result<()> {
        self.recall(table, &mut plan).await?;
        let place = plan.place;
        let id = format!("check/{table}/{}", plan.id);
        let added = add_check(graph, (table, &id), plan, &self.planner, how).await;
        added.map_err(|error: Error| error.at(Some(place)))
    }
}

/// The rules over many rows that nodes of the graph ask themselves, with their tables.
fn judged(graph: &Graph) -> BTreeSet<(String, String)> {
    let mut judged = BTreeSet::new();
    for (_, node) in graph.nodes() {
        let (table, rules) = match &node.kind {
            NodeKind::Operator(factory) => (&node.name, factory.judges()),
            NodeKind::Scan(scan) => {
                let rules = scan.rules.iter().flat_map(|rules| rules.judge.rules());
                let rules = rules.filter(|rule| rule.gate.is_some());
                (&scan.name, rules.map(|rule| rule.name.clone()).collect())
            }
            _ => continue,
        };
        judged.extend(rules.into_iter().map(|rule| (table.clone(), rule)));
    }
    judged
}

/// The rules of a table that no node asks itself.
fn without(
    rules: Vec<Constraint>,
    judged: &BTreeSet<(String, String)>,
    table: &str,
) -> Vec<Constraint> {
    let asked = |rule: &Constraint| judged.contains(&(table.to_owned(), rule.name.text.clone()));
    rules.into_iter().filter(|rule| !asked(rule)).collect()
}

fn named(table: &str, plans: Vec<CheckPlan>) -> impl Iterator<Item = (String, CheckPlan)> {
    plans.into_iter().map(move |plan| (table.to_owned(), plan))
}

/// The sources that queries read.
fn read_by(
    inserts: &[Insert],
    views: &[Materialized],
) -> Result<BTreeMap<String, Arc<dyn TableProvider>>> {
    let inserts = inserts.iter().map(|insert| &insert.plan);
    let plans: Vec<&LogicalPlan> = inserts.chain(views.iter().map(|view| &view.plan)).collect();
    let mut all = BTreeMap::new();
    for plan in plans {
        all.extend(tables_read(plan)?);
    }
    Ok(all)
}
