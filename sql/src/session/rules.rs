//! The rules of a table that is there: changed by CREATE EXPECTATION and ALTER TABLE, and where their
//! rows are kept.

use std::collections::BTreeMap;
use std::sync::Arc;

use weir_engine::error::{Error, Kind, Result, codes};
use weir_engine::rules::Action;

use super::{Materialized, Session};
use crate::ast::{Constraint, Name};
use crate::catalog::create_sink::SinkTable;
use crate::catalog::{Entry, Object, word};
use crate::rules::{self, Arrival, Ruled};

impl Session {
    /// The rules of a table as they are written.
    pub(super) fn constraints(&self, table: &str) -> Vec<Constraint> {
        let mut objects = self.catalog.objects();
        match objects.find(|(name, _)| *name == table) {
            Some((_, Object::Source(source))) => source.constraints(),
            Some((_, Object::Sink(sink))) => sink.constraints.lock().clone(),
            Some((_, Object::MaterializedView(_))) => {
                let view = self.views.iter().find(|view| view.name == table);
                view.map_or_else(Vec::new, |view| view.constraints.clone())
            }
            _ => Vec::new(),
        }
    }

    /// Changes the rules of a table, and plans all of them anew: they stay if one of them is wrong.
    pub(super) fn change_rules(
        &mut self,
        table: &Name,
        change: &dyn Fn(&mut Vec<Constraint>) -> Result<()>,
    ) -> Result<()> {
        match &self.catalog.get(table)?.object {
            Object::Source(source) => {
                let mut rules = source.constraints();
                change(&mut rules)?;
                self.source_checks(source, &rules)?;
                source.expect(&self.planner, &rules)
            }
            Object::Sink(sink) => {
                let mut rules = sink.constraints.lock().clone();
                change(&mut rules)?;
                self.plan_of_sink(sink, &rules)?;
                *sink.constraints.lock() = rules;
                Ok(())
            }
            Object::MaterializedView(_) => self.change_view(table, change),
            other => {
                let (name, kind) = (&table.text, word(other.kind()));
                let message = format!("\"{name}\" is a {kind} that this script does not keep");
                Err(Error::new(Kind::Invalid, codes::UNSUPPORTED, message)
                    .hint("put the rule on a source, on a MATERIALIZED VIEW of the script or on a sink")
                    .at(table.place))
            }
        }
    }

    /// Plans the rules of a sink, once its columns are known.
    fn plan_of_sink(&self, sink: &SinkTable, rules: &[Constraint]) -> Result<()> {
        let mut inserts = self.inserts.iter();
        let insert = inserts.find(|insert| insert.sink.name == sink.name);
        let columns = insert.map(|insert| &insert.columns);
        let Some(columns) = columns.or(sink.columns.as_ref()) else {
            return Ok(());
        };
        let ruled = Ruled {
            table: &sink.name,
            schema: columns,
            clock: true,
            arrival: Arrival::Unknown,
            fixed: &[],
        };
        rules::plan(&self.planner, &ruled, rules).map(drop)
    }

    /// Queries that are planned already would not see the change.
    fn change_view(
        &mut self,
        table: &Name,
        change: &dyn Fn(&mut Vec<Constraint>) -> Result<()>,
    ) -> Result<()> {
        let name = &table.text;
        let inserts = self
            .inserts
            .iter()
            .filter(|insert| insert.uses.contains(name));
        let readers = inserts.map(|insert| insert.sink.name.as_str());
        if let Some(reader) = readers.chain(self.catalog.users(name)).next() {
            let message = format!("\"{reader}\" reads view \"{name}\" already, without the rule");
            return Err(Error::new(Kind::Invalid, codes::RULE, message)
                .hint("put the statement right behind the view")
                .at(table.place));
        }
        let at = self.views.iter().position(|view| view.name == *name);
        let Some(mut view) = at.and_then(|at| self.views.get(at).cloned()) else {
            let message = format!("the rows of view \"{name}\" are being kept already");
            return Err(Error::new(Kind::Invalid, codes::RULE, message)
                .hint("put the statement right behind the view")
                .at(table.place));
        };
        change(&mut view.constraints)?;
        self.view_checks(&view, &view.constraints)?;
        let entry = self.catalog.get(table)?;
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
                if source.keeps_unread() {
                    check(name, name)?;
                }
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

/// The quarantine tables that rules of a table name.
pub(super) fn targets<'a>(
    table: &'a str,
    rules: &'a [Constraint],
) -> impl Iterator<Item = &'a str> {
    let into = |rule: &'a Constraint| rule.on_violation.quarantine(table);
    rules.iter().filter_map(into)
}
