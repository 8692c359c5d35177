//! CREATE EXPECTATION: a rule added to a table that is there.

use std::collections::BTreeMap;
use std::sync::Arc;

use weir_engine::error::{Error, Kind, Result, codes};
use weir_engine::rules::Action;

use super::{Materialized, Session};
use crate::ast::{Constraint, CreateExpectation};
use crate::catalog::{Entry, Object, word};
use crate::parse::{check_new, taken};
use crate::rules::{self, Arrival, Ruled};

impl Session {
    pub(super) fn create_expectation(&mut self, create: &CreateExpectation) -> Result<()> {
        let rule = &create.constraint;
        let entry = self.catalog.get(&create.table)?;
        match &entry.object {
            Object::Source(source) => {
                if source.has_rule(&rule.name.text) {
                    return Err(taken(rule));
                }
                self.source_checks(source, std::slice::from_ref(rule))?;
                source.expect(&self.planner, std::slice::from_ref(rule))
            }
            Object::Sink(sink) => {
                check_new(&sink.constraints.lock(), rule)?;
                let insert = self
                    .inserts
                    .iter()
                    .find(|insert| insert.sink.name == sink.name);
                let columns = insert
                    .map(|insert| &insert.columns)
                    .or(sink.columns.as_ref());
                if let Some(columns) = columns {
                    let ruled = Ruled {
                        table: &sink.name,
                        schema: columns,
                        clock: true,
                        arrival: Arrival::Unknown,
                        fixed: &[],
                    };
                    rules::plan(&self.planner, &ruled, std::slice::from_ref(rule))?;
                }
                sink.constraints.lock().push(rule.clone());
                Ok(())
            }
            Object::MaterializedView(_) => self.expect_of_view(create),
            Object::View(_) | Object::Stored(_) | Object::Quarantine(_) => Err(Error::new(
                Kind::Invalid,
                codes::UNSUPPORTED,
                format!(
                    "\"{}\" is a {} that this script does not keep",
                    create.table.text,
                    word(entry.object.kind())
                ),
            )
            .hint("put the rule on a source, on a MATERIALIZED VIEW of the script or on a sink")
            .at(create.table.place)),
        }
    }

    /// Queries that are planned already would not see the rule.
    fn expect_of_view(&mut self, create: &CreateExpectation) -> Result<()> {
        let name = &create.table.text;
        let inserts = self
            .inserts
            .iter()
            .filter(|insert| insert.uses.contains(name));
        let readers = inserts.map(|insert| insert.sink.name.as_str());
        if let Some(reader) = readers.chain(self.catalog.users(name)).next() {
            let message = format!("\"{reader}\" reads view \"{name}\" already, without the rule");
            return Err(Error::new(Kind::Invalid, codes::RULE, message)
                .hint("put CREATE EXPECTATION right behind the view")
                .at(create.table.place));
        }
        let at = self.views.iter().position(|view| view.name == *name);
        let Some(mut view) = at.and_then(|at| self.views.get(at).cloned()) else {
            let message = format!("the rows of view \"{name}\" are being kept already");
            return Err(Error::new(Kind::Invalid, codes::RULE, message)
                .hint("put CREATE EXPECTATION right behind the view")
                .at(create.table.place));
        };
        check_new(&view.constraints, &create.constraint)?;
        view.constraints.push(create.constraint.clone());
        let entry = self.catalog.get(&create.table)?;
        let (text, uses) = (entry.text.clone(), entry.uses.clone());
        let object = Object::MaterializedView(Arc::new(self.view_table(&view, &text)?));
        self.catalog.put(name, Entry { object, text, uses });
        self.withhold(&view)?;
        if let Some(place) = at.and_then(|at| self.views.get_mut(at)) {
            *place = view;
        }
        Ok(())
    }

    /// Two tables can't share a quarantine table: their rows have other columns, and it would not be
    /// known where a row is to go back to.
    pub(super) fn check_quarantines(&self, views: &[Materialized]) -> Result<()> {
        let mut tables: BTreeMap<String, String> = BTreeMap::new();
        let mut check = |table: &str, into: &str| {
            let owner = tables
                .entry(into.to_owned())
                .or_insert_with(|| table.to_owned());
            if owner == table {
                return Ok(());
            }
            let message =
                format!("\"{owner}\" and \"{table}\" share the quarantine table \"{into}\"");
            Err(Error::new(Kind::Invalid, codes::RULE, message)
                .hint("name another one: ON VIOLATION QUARANTINE INTO name"))
        };
        for (name, object) in self.catalog.objects() {
            if let Object::Source(source) = object {
                for rule in source.rules() {
                    if let Action::Quarantine(into) = &rule.action {
                        check(name, into)?;
                    }
                }
            }
            if let Object::Sink(sink) = object {
                let constraints = sink.constraints.lock();
                targets(name, &constraints).try_for_each(|into| check(name, into))?;
            }
        }
        for view in views {
            let name = &view.name;
            targets(name, &view.constraints).try_for_each(|into| check(name, into))?;
        }
        Ok(())
    }
}

/// The quarantine tables of a table's rules.
/// The quarantine tables that rules of a table name.
pub(super) fn targets<'a>(
    table: &'a str,
    rules: &'a [Constraint],
) -> impl Iterator<Item = &'a str> {
    let into = |rule: &'a Constraint| rule.on_violation.quarantine(table);
    rules.iter().filter_map(into)
}
