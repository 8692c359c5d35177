//! CREATE RULE SET: rules under a name, for any table that has their columns. A table that takes a set
//! gets its rules as they are then: the set may change or go.

use std::borrow::Cow;

use weir_engine::error::{Error, Kind, Result, codes};
use weir_engine::limits;
use weir_engine::options::unknown;

use super::Session;
use crate::ast::{Constraint, CreateRuleSet, Name, StatementKind};
use crate::parse::check_new;
use crate::rules::of_set;

impl Session {
    pub(super) fn create_rule_set(&mut self, create: &CreateRuleSet) -> Result<()> {
        let name = &create.name;
        if self.rule_sets.contains_key(&name.text) {
            if create.existing.if_not_exists {
                return Ok(());
            }
            if !create.existing.or_replace {
                let message = format!("rule set \"{}\" exists already", name.text);
                return Err(Error::new(Kind::Invalid, codes::DUPLICATE, message)
                    .hint("write CREATE OR REPLACE, or IF NOT EXISTS to keep what is there")
                    .at(name.place));
            }
        }
        if let Some(first) = create.constraints.get(limits::RULES_MAX) {
            let message = format!("a rule set has {} rules at most", limits::RULES_MAX);
            return Err(Error::new(Kind::Limit, codes::LIMIT, message).at(first.name.place));
        }
        let rules = create.constraints.clone();
        self.rule_sets.insert(name.text.clone(), rules);
        Ok(())
    }

    pub(super) fn drop_rule_sets(&mut self, names: &[Name], if_exists: bool) -> Result<()> {
        for name in names {
            if self.rule_sets.remove(&name.text).is_none() && !if_exists {
                return Err(self.no_set(name));
            }
        }
        Ok(())
    }

    /// The sets with their rules.
    pub(super) fn rule_sets(&self) -> impl Iterator<Item = (&str, &[Constraint])> {
        let sets = self.rule_sets.iter();
        sets.map(|(name, rules)| (name.as_str(), rules.as_slice()))
    }

    /// The rules of a set, for the table that takes it where `set` stands.
    pub(super) fn rules_of(&self, set: &Name) -> Result<Vec<Constraint>> {
        let rules = self.rule_sets.get(&set.text);
        let rules = rules.ok_or_else(|| self.no_set(set))?.iter();
        let taken = rules.map(|rule| Constraint {
            of_set: Some(set.clone()),
            ..rule.clone()
        });
        Ok(taken.collect())
    }

    fn no_set(&self, name: &Name) -> Error {
        let known = self.rule_sets.keys().map(String::as_str);
        let error = unknown(codes::UNKNOWN_TABLE, "rule set", &name.text, known).at(name.place);
        match self.rule_sets.is_empty() {
            true => {
                error.hint("declare it first: CREATE RULE SET name (CONSTRAINT rule EXPECT ...)")
            }
            false => error,
        }
    }

    /// A statement with the rules of the sets that it names among its own.
    pub(super) fn with_sets<'a>(
        &self,
        statement: &'a StatementKind,
    ) -> Result<Cow<'a, StatementKind>> {
        let mut kind = statement.clone();
        let (constraints, sets) = match &mut kind {
            StatementKind::CreateSource(create) => (&mut create.constraints, &create.rule_sets),
            StatementKind::CreateSink(create) => (&mut create.constraints, &create.rule_sets),
            StatementKind::CreateMaterializedView(create) => {
                (&mut create.constraints, &create.rule_sets)
            }
            StatementKind::Explain { statement, .. } => {
                let inner = self.with_sets(&statement.kind)?.into_owned();
                statement.kind = inner;
                return Ok(Cow::Owned(kind));
            }
            _ => return Ok(Cow::Borrowed(statement)),
        };
        for set in sets {
            for rule in self.rules_of(set)? {
                check_new(constraints, &rule).map_err(|error| of_set(error, &rule))?;
                constraints.push(rule);
            }
        }
        Ok(Cow::Owned(kind))
    }
}
