//! Tables that rules refer to: looked up where a rule is declared, and planned with each job.

use std::sync::Arc;

use datafusion::physical_plan::{ExecutionPlan, displayable};
use weir_engine::error::{Error, Kind, Result, codes};
use weir_engine::graph::Graph;
use weir_engine::job::JobContext;
use weir_engine::rules::Reference;

use super::Session;
use crate::ast::{Alteration, Asks, Constraint, Expectation, StatementKind};
use crate::lower::{agree, reads_changes};
use crate::plan::Tables;
use crate::rules::Due;
use crate::settings::Mode;

impl Session {
    /// Looks up the tables that the rules of a statement refer to.
    pub(super) fn refer(&self, statement: &StatementKind) -> Result<()> {
        let constraints: &[Constraint] = match statement {
            StatementKind::CreateSource(create) => &create.constraints,
            StatementKind::CreateMaterializedView(create) => &create.constraints,
            StatementKind::CreateSink(create) => &create.constraints,
            StatementKind::CreateExpectation(create) => std::slice::from_ref(&create.constraint),
            StatementKind::AlterTable(alter) => match &alter.change {
                Alteration::Add(rule) => std::slice::from_ref(rule),
                Alteration::AddSet(set) => return self.refer_to(&self.rules_of(set)?),
                _ => return Ok(()),
            },
            StatementKind::Explain { statement, .. } => return self.refer(&statement.kind),
            _ => return Ok(()),
        };
        self.refer_to(constraints)
    }

    pub(super) fn refer_to(&self, constraints: &[Constraint]) -> Result<()> {
        for constraint in constraints {
            let Expectation::Keyed(keyed) = &constraint.expectation else {
                continue;
            };
            if let Asks::References { table, to, .. } = &keyed.asks {
                let provider = self.catalog.table(&table.text);
                let provider = provider.map_err(|error| error.at(table.place))?;
                let references = self.planner.references();
                references.add(&self.planner, (table, provider), to, constraint.place)?;
            }
        }
        Ok(())
    }

    /// Plans the reading of the tables that the rules of a plan refer to; `plan` is how it is shown, with
    /// all of its rules.
    async fn due(&self, mode: Mode, plan: &str) -> Result<Vec<Arc<Reference>>> {
        let mut all = Vec::new();
        let asked = |due: &Due| plan.contains(due.reference.name());
        for due in self.planner.references().due()?.into_iter().filter(asked) {
            if mode == Mode::Streaming && !due.ends {
                // Its keys come while the job runs.
                continue;
            }
            if reads_changes(&due.plan)? {
                let name = due.reference.name();
                let message = format!("REFERENCES {name}: the rows of the table change");
                return Err(Error::new(Kind::Invalid, codes::UNSUPPORTED, message)
                    .detail(
                        "its keys are read when a batch job starts, as rows that are only added",
                    )
                    .hint("run the job in streaming mode: SET pipeline.mode = 'streaming'")
                    .at(Some(due.place)));
            }
            let island = self.planner.island(&due.plan, Some(due.place)).await?;
            agree(&island)?;
            due.reference.set_plan(island);
            all.push(due.reference);
        }
        Ok(all)
    }

    /// Lets a pipeline read the tables that rules refer to.
    pub(super) async fn add_references(&self, graph: &mut Graph, mode: Mode) -> Result<()> {
        let plan = graph.to_string();
        let all = self.due(mode, &plan).await?;
        all.into_iter().for_each(|reference| graph.refer(reference));
        let all = self.baselines_of(mode, &plan).await?;
        all.into_iter().for_each(|baseline| graph.compare(baseline));
        Ok(())
    }

    /// Reads the tables that rules refer to, for a bare query.
    pub(super) async fn load_references(
        &self,
        island: &Arc<dyn ExecutionPlan>,
        job: &JobContext,
    ) -> Result<()> {
        let plan = displayable(&**island).indent(true).to_string();
        for reference in self.due(Mode::Batch, &plan).await? {
            reference.load(job).await?;
        }
        for baseline in self.baselines_of(Mode::Batch, &plan).await? {
            baseline.load(job).await?;
        }
        Ok(())
    }
}
