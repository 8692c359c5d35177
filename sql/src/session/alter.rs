//! ALTER TABLE: rules that come, go and are switched after their table.
//!
//! What counts is what the script says when its pipeline starts: the rules of a pipeline that runs are
//! those of its start.

use weir_engine::error::{Error, Result, codes};
use weir_engine::options::unknown;

use super::{Outcome, Session};
use crate::ast::{AlterTable, Alteration, Constraint, Name, StatementKind};
use crate::parse::check_new;
use crate::rules::of_set;

impl Session {
    /// Executes a statement about rules.
    pub(super) fn change_constraints(&mut self, statement: &StatementKind) -> Result<Outcome> {
        let done = match statement {
            StatementKind::CreateExpectation(create) => {
                self.add_rules(&create.table, std::slice::from_ref(&create.constraint))?;
                "CREATE EXPECTATION"
            }
            StatementKind::CreateRuleSet(create) => {
                self.create_rule_set(create)?;
                "CREATE RULE SET"
            }
            StatementKind::DropRuleSets { names, if_exists } => {
                self.drop_rule_sets(names, *if_exists)?;
                "DROP RULE SET"
            }
            StatementKind::AlterTable(alter) => {
                self.alter_table(alter)?;
                "ALTER TABLE"
            }
            _ => return Err(Error::internal("a statement that is not about rules")),
        };
        Ok(Outcome::Done(done.to_owned()))
    }

    fn alter_table(&mut self, alter: &AlterTable) -> Result<()> {
        let table = &alter.table;
        match &alter.change {
            Alteration::Add(rule) => self.add_rules(table, std::slice::from_ref(rule)),
            Alteration::AddSet(set) => self.add_rules(table, &self.rules_of(set)?),
            Alteration::Drop { name, if_exists } => {
                self.change_rules(table, &|rules| match find(rules, name) {
                    Ok(at) => {
                        rules.remove(at);
                        Ok(())
                    }
                    Err(_) if *if_exists => Ok(()),
                    Err(error) => Err(error),
                })
            }
            Alteration::Switch(rule, switch) => self.change_rules(table, &|rules| {
                let at = find(rules, rule)?;
                if let Some(rule) = rules.get_mut(at) {
                    rule.switch = *switch;
                }
                Ok(())
            }),
        }
    }

    /// Adds rules to a table: all of them, or none if one is wrong.
    fn add_rules(&mut self, table: &Name, more: &[Constraint]) -> Result<()> {
        self.change_rules(table, &|rules| {
            for rule in more {
                check_new(rules, rule).map_err(|error| of_set(error, rule))?;
                rules.push(rule.clone());
            }
            Ok(())
        })
    }
}

fn find(rules: &[Constraint], name: &Name) -> Result<usize> {
    let found = rules.iter().position(|rule| rule.name.text == name.text);
    found.ok_or_else(|| {
        let known = rules.iter().map(|rule| rule.name.text.as_str());
        unknown(codes::UNKNOWN_COLUMN, "rule", &name.text, known).at(name.place)
    })
}
