//! VALIDATE TABLE: asks rules of what a table holds now, as a batch job of its own that keeps nothing.
//!
//! All rules warn: each is asked of all rows, whatever the others say.

use std::sync::Arc;

use arrow::record_batch::RecordBatch;
use datafusion::catalog::TableProvider;
use datafusion::catalog::view::ViewTable;
use datafusion::logical_expr::LogicalPlan;
use tokio::sync::mpsc;
use weir_engine::dead_letter::DeadLetters;
use weir_engine::error::{Error, Kind, Place, Result, codes};
use weir_engine::graph::Graph;
use weir_engine::rules::Switch;
use weir_engine::runtime::{Job, TimeOptions};

use super::ephemeral::Found;
use super::outlet::Outlet;
use super::subscribe::Moments;
use super::{Outcome, Session};
use crate::ast::{Constraint, FailOn, Name, OnViolation, ValidateTable};
use crate::catalog::Object;
use crate::lower::{Target, add_judged, share};
use crate::parse::{check_new, skeleton};
use crate::plan::Tables as _;
use crate::rules::check::{Checked, THIS};
use crate::rules::of_set;
use crate::settings::Mode;
use crate::verdicts::verdicts;

/// The rows that rules are asked of.
struct Rows {
    table: Arc<dyn TableProvider>,
    /// The column of the watermark.
    time: Option<String>,
    /// The table asks its rules itself.
    judges: bool,
}

impl Session {
    pub(super) async fn validate(&self, ask: &ValidateTable, place: Place) -> Result<Outcome> {
        let asked = self.asked(ask)?;
        self.refer_to(&asked)?;
        let tried: Vec<Constraint> = asked.iter().map(warning).collect();
        let rows = self.rows_of(&ask.table, &tried, place)?;
        let job = self.judging(&ask.table.text, &rows, &tried, place).await?;
        let results = self.results_of(job).await?;
        let (told, broken) = verdicts(&ask.table.text, &asked, &results)?;
        let fails = |rule: &&Constraint| {
            rule.switch == Switch::On && ask.fail_on.takes(&rule.grade.severity)
        };
        let broken: Vec<&Constraint> = broken.into_iter().filter(fails).collect();
        Ok(Outcome::Validated {
            schema: told.schema(),
            rows: told,
            failed: (!broken.is_empty()).then(|| failed(ask, &broken, asked.len())),
        })
    }

    /// The rules that are asked: those of the sets, or of the table.
    fn asked(&self, ask: &ValidateTable) -> Result<Vec<Constraint>> {
        let table = &ask.table;
        if ask.using.is_empty() {
            let mut rules = self.constraints(&table.text);
            rules.retain(|rule| rule.switch != Switch::Off);
            if !rules.is_empty() {
                return Ok(rules);
            }
            // A table that is not there is the better error.
            self.catalog
                .table(&table.text)
                .map_err(|error| error.at(table.place))?;
            let message = format!("\"{}\" has no rule that could be asked", table.text);
            return Err(Error::new(Kind::Invalid, codes::RULE, message)
                .hint("name a set of rules: VALIDATE TABLE name USING set")
                .at(table.place));
        }
        let mut rules: Vec<Constraint> = Vec::new();
        for set in &ask.using {
            for rule in self.rules_of(set)? {
                check_new(&rules, &rule).map_err(|error| of_set(error, &rule))?;
                rules.push(rule);
            }
        }
        Ok(rules)
    }

    /// The rows of a table as they are before its own rules.
    fn rows_of(&self, name: &Name, rules: &[Constraint], place: Place) -> Result<Rows> {
        let object = self
            .catalog
            .objects()
            .find(|(known, _)| *known == name.text);
        match object.map(|(_, object)| object) {
            Some(Object::Source(source)) => Ok(Rows {
                time: source.watermark().map(|watermark| watermark.name.clone()),
                table: Arc::new(source.with_rules(&self.planner, rules)?),
                judges: true,
            }),
            Some(Object::Sink(_)) => {
                let message = format!("\"{}\" is a sink, which cannot be read", name.text);
                Err(Error::new(Kind::Invalid, codes::UNSUPPORTED, message)
                    .hint("validate the view or source that is inserted, or read the files of the sink with CREATE SOURCE")
                    .at(name.place))
            }
            _ => Ok(Rows {
                table: self.unruled(name, place)?,
                time: None,
                judges: false,
            }),
        }
    }

    /// The rows of a view as its query gives them.
    fn unruled(&self, name: &Name, place: Place) -> Result<Arc<dyn TableProvider>> {
        if let Some(view) = self.views.iter().find(|view| view.name == name.text) {
            return Ok(Arc::new(ViewTable::new(view.plan.clone(), None)));
        }
        let query = skeleton::query(&format!("SELECT * FROM {}", full(name)))?;
        let planned = self
            .planner
            .query(&self.catalog, &query, name.place.or(Some(place)))?;
        Ok(Arc::new(ViewTable::new(planned.plan, None)))
    }

    /// The graph that asks rules of rows.
    async fn judging(
        &self,
        name: &str,
        rows: &Rows,
        rules: &[Constraint],
        place: Place,
    ) -> Result<(Graph, Moments)> {
        let checked = || Checked {
            name,
            rows: Arc::clone(&rows.table),
            time: rows.time.as_deref(),
            tables: &self.catalog,
        };
        // A source reads what its rules need, and counts; other rows are judged on their way.
        let (text, ruled) = match rows.judges {
            true => ("count(*)", &[][..]),
            false => ("*", rules),
        };
        let query = skeleton::query(&format!("SELECT {text} FROM \"{THIS}\""))?;
        let planned = self.planner.query(&checked(), &query, Some(place))?;
        let plan: LogicalPlan = self.planner.analyze(planned.plan, Some(place))?;
        let how = (Mode::Batch, self.settings.parallelism());
        let target = Target {
            planner: &self.planner,
            mode: how.0,
            parallelism: how.1,
            prefix: "validate",
            place: Some(place),
            emit: None,
        };
        let (sender, rest) = mpsc::channel(1);
        let outlet = Arc::new(Outlet::new(sender));
        let mut graph = Graph::default();
        add_judged(&mut graph, target, &plan, (name, ruled), outlet).await?;
        let time = rows.time.as_deref();
        for plan in self.checks_of(name, Arc::clone(&rows.table), time, rules)? {
            self.add_check(&mut graph, name, plan, how).await?;
        }
        let mut graph = share(graph)?;
        self.add_references(&mut graph, Mode::Batch).await?;
        Ok((graph, rest))
    }

    /// Runs a graph and gives what its rules have found.
    async fn results_of(&self, (graph, mut rest): (Graph, Moments)) -> Result<Vec<RecordBatch>> {
        let found = Arc::new(Found::default());
        let letters = DeadLetters::new(Arc::clone(&found) as _);
        let context = self.ephemeral("validate", letters, self.stop.subscribe());
        let time = TimeOptions {
            streaming: false,
            idle_timeout: None,
            drift_max: None,
        };
        let job = Job::start(Arc::new(graph), context, time, None);
        // Nobody asks for the rows themselves.
        let drained = async { while rest.recv().await.is_some() {} };
        let (end, ()) = futures::future::join(job.wait(), drained).await;
        end?;
        Ok(found.take())
    }
}

/// The same rule, which does nothing about what breaks it.
fn warning(rule: &Constraint) -> Constraint {
    Constraint {
        on_violation: OnViolation::Warn,
        on_overflow: None,
        switch: Switch::On,
        ..rule.clone()
    }
}

/// The name as a query writes it: that of a table in a schema has two parts.
fn full(name: &Name) -> String {
    let parts = name.text.split('.').map(skeleton::quoted);
    parts.collect::<Vec<_>>().join(".")
}

fn failed(ask: &ValidateTable, broken: &[&Constraint], all: usize) -> Error {
    let names: Vec<&str> = broken.iter().map(|rule| rule.name.text.as_str()).collect();
    let (count, table) = (broken.len(), &ask.table.text);
    let message = format!("{count} of {all} rules do not hold for \"{table}\"");
    let least = match ask.fail_on {
        FailOn::Critical => "CRITICAL",
        FailOn::Warning => "WARNING",
        FailOn::Info | FailOn::None => "INFO",
    };
    Error::new(Kind::Data, codes::RULE_BROKEN, message)
        .detail(format!("of severity {least} or above: {}", names.join(", ")))
        .hint("correct the data; FAIL ON says which rules fail the statement, with NONE it only tells")
        .at(ask.table.place)
}
