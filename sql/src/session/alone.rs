//! A batch run that takes requests about rows in quarantine. What it publishes is what these rows would
//! have added to the run that kept them back, so it reads nothing else of their tables, and leaves out
//! what does not depend on them. A query whose result is no sum over rows, such as an aggregate,
//! cannot be added to and is refused.

use std::collections::BTreeSet;
use std::sync::Arc;

use datafusion::common::JoinType;
use datafusion::logical_expr::{EmptyRelation, LogicalPlan};
use weir_engine::error::{Error, Kind, Result, codes};

use super::insert::Insert;
use super::{Materialized, Session};
use crate::catalog::Object;
use crate::lower::{for_each_source, tables_read};
use crate::settings::Mode;

impl Session {
    /// The inserts of the run, and whether it takes requests alone: if some were made and it ends.
    pub(super) fn alone(
        &self,
        inserts: Vec<Insert>,
        views: &[Materialized],
    ) -> Result<(Vec<Insert>, bool)> {
        let plans = inserts.iter().map(|insert| &insert.plan);
        let plans = plans.chain(views.iter().map(|view| &view.plan));
        if !self.requested || self.mode_of(plans)? != Mode::Batch {
            self.read_alone(&BTreeSet::new());
            return Ok((inserts, false));
        }
        if let Some(view) = views.first() {
            let message = format!(
                "rows of quarantine cannot be added to materialized view \"{}\" in batch mode",
                view.name
            );
            let hint = "run the script in streaming mode: it takes the requests by itself";
            return Err(refused(message).hint(hint).at(Some(view.place)));
        }
        let pending = self.pending()?;
        self.read_alone(&pending);
        let mut kept: Vec<Insert> = Vec::new();
        for mut insert in inserts {
            let read = tables_read(&insert.plan)?;
            let reads = read.keys().any(|name| pending.contains(name));
            let first = !kept.iter().any(|kept| kept.sink.name == insert.sink.name);
            if reads {
                check_adds(&insert, &pending)?;
            } else if pending.contains(&insert.sink.name) && first {
                insert.plan = LogicalPlan::EmptyRelation(EmptyRelation {
                    produce_one_row: false,
                    schema: Arc::clone(insert.plan.schema()),
                });
            } else {
                continue;
            }
            check_appends(&insert)?;
            kept.push(insert);
        }
        Ok((kept, true))
    }

    /// Says of all sources whether the pipeline takes requests about their rows alone.
    fn read_alone(&self, pending: &BTreeSet<String>) {
        for (name, object) in self.catalog.objects() {
            if let Object::Source(source) = object {
                source.read_requests_alone(pending.contains(name));
            }
        }
    }

    /// The tables of which rows in quarantine are asked for and not shown yet.
    fn pending(&self) -> Result<BTreeSet<String>> {
        let mut pending = BTreeSet::new();
        for declared in self.declared_quarantines() {
            for store in &self.quarantines {
                if store.last(&declared.name)? > store.applied(&declared.name)? {
                    pending.insert(declared.owner.clone());
                }
            }
        }
        Ok(pending)
    }
}

/// Refuses a sink that would put the rows in the place of all others.
fn check_appends(insert: &Insert) -> Result<()> {
    let existing = insert.sink.options.get("on_existing");
    if existing.is_none_or(|value| !value.text.eq_ignore_ascii_case("replace")) {
        return Ok(());
    }
    let name = &insert.sink.name;
    let message =
        format!("sink \"{name}\" replaces what it has: only rows of quarantine would be left");
    let hint = "run the whole script again without REPLAY and RELEASE";
    Err(refused(message).hint(hint).at(Some(insert.place)))
}

/// Refuses a query whose result the rows cannot be added to.
fn check_adds(insert: &Insert, pending: &BTreeSet<String>) -> Result<()> {
    let mut found = 0;
    let adds = adds(&insert.plan, pending, &mut found)?;
    let all = count(&insert.plan, pending)?;
    if adds && found == all {
        return Ok(());
    }
    let name = &insert.sink.name;
    let message = format!("rows of quarantine cannot be added to the result of \"{name}\"");
    Err(refused(message)
        .detail("its query aggregates, or reads the table in more than one place")
        .hint("run the whole script again without REPLAY and RELEASE, or in streaming mode")
        .at(Some(insert.place)))
}

/// Whether more rows of the tables only add rows to a plan; counts the places where it reads them.
fn adds(plan: &LogicalPlan, pending: &BTreeSet<String>, found: &mut usize) -> Result<bool> {
    let reads = |plan: &LogicalPlan| Ok::<_, Error>(count(plan, pending)? > 0);
    match plan {
        LogicalPlan::Projection(projection) => adds(&projection.input, pending, found),
        LogicalPlan::Filter(filter) => adds(&filter.input, pending, found),
        LogicalPlan::SubqueryAlias(alias) => adds(&alias.input, pending, found),
        LogicalPlan::Sort(sort) if sort.fetch.is_none() => adds(&sort.input, pending, found),
        LogicalPlan::TableScan(_) => {
            *found += count(plan, pending)?;
            Ok(true)
        }
        LogicalPlan::Union(union) => {
            for input in &union.inputs {
                // A branch without them would give its rows once more.
                if !reads(input)? || !adds(input, pending, found)? {
                    return Ok(false);
                }
            }
            Ok(true)
        }
        LogicalPlan::Join(join) => {
            let side = match (join.join_type, reads(&join.left)?, reads(&join.right)?) {
                (JoinType::Inner | JoinType::Left, true, false)
                | (JoinType::LeftSemi | JoinType::LeftAnti, true, false) => &join.left,
                (JoinType::Inner | JoinType::Right, false, true)
                | (JoinType::RightSemi | JoinType::RightAnti, false, true) => &join.right,
                _ => return Ok(false),
            };
            adds(side, pending, found)
        }
        _ => Ok(false),
    }
}

/// How often a plan reads the tables.
fn count(plan: &LogicalPlan, pending: &BTreeSet<String>) -> Result<usize> {
    let mut found = 0;
    for_each_source(plan, &mut |_, table| {
        found += usize::from(pending.contains(table.name()));
    })?;
    Ok(found)
}

fn refused(message: String) -> Error {
    Error::new(Kind::Invalid, codes::QUARANTINE, message)
}
