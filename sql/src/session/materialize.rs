//! CREATE MATERIALIZED VIEW: a view for the queries of the script, and a query of the pipeline that
//! keeps its rows.

use std::sync::Arc;

use datafusion::catalog::view::ViewTable;
use datafusion::logical_expr::LogicalPlan;
use weir_engine::error::{Place, Result};

use super::{Outcome, Session, insert};
use crate::ast::{Constraint, CreateMaterializedView, Emit, ObjectKind, Statement};
use crate::catalog::{Create, Object};
use crate::plan::Planner;
use crate::rules::{self, Arrival, Planned, Ruled};

/// A query whose rows are kept up to date under a name.
#[derive(Debug, Clone)]
pub(crate) struct Materialized {
    /// The name in the script.
    pub(crate) name: String,
    /// The rows.
    pub(crate) plan: LogicalPlan,
    /// When they change.
    pub(crate) emit: Option<Emit>,
    /// The rules of its rows.
    pub(crate) constraints: Vec<Constraint>,
    /// Where the statement stands.
    pub(crate) place: Place,
}

impl Materialized {
    /// Plans its rules over the columns of its query. They can't ask for the time: queries that read the
    /// view judge its rows again.
    pub(super) fn rules(&self, planner: &Planner) -> Result<Vec<Planned>> {
        let ruled = Ruled {
            table: &self.name,
            schema: self.plan.schema().inner(),
            clock: false,
            arrival: Arrival::Unknown,
            fixed: &[],
        };
        rules::plan(planner, &ruled, &self.constraints)
    }
}

impl Session {
    pub(super) fn create_materialized_view(
        &mut self,
        create: &CreateMaterializedView,
        statement: &Statement,
    ) -> Result<Outcome> {
        let kind = ObjectKind::MaterializedView;
        if self
            .catalog
            .may_create(kind, &create.name, create.existing)?
            == Create::Keep
        {
            return Ok(Outcome::Done("CREATE MATERIALIZED VIEW".to_owned()));
        }
        let planned = self.plan_materialized(create, statement.place);
        let (view, uses) = planned.inspect_err(|_| {
            let models = self.planner.models();
            models.retain(|model| self.catalog.has(model));
        })?;
        let table = self.view_table(&view, &statement.text)?;
        self.views.retain(|other| other.name != view.name);
        self.views.push(view.clone());
        let object = Object::MaterializedView(Arc::new(table));
        self.put(&create.name, object, statement, uses);
        self.withhold(&view)?;
        Ok(Outcome::Added)
    }

    /// Plans the query of a materialized view; gives the tables that it reads too.
    pub(crate) fn plan_materialized(
        &self,
        create: &CreateMaterializedView,
        place: Place,
    ) -> Result<(Materialized, std::collections::BTreeSet<String>)> {
        self.planner.models().define(create);
        let planned = self.plan_view(&create.name, &create.columns, &create.query, place)?;
        let plan = self.planner.analyze(planned.plan, Some(place))?;
        insert::check_unique(&plan, place)?;
        let view = Materialized {
            name: create.name.text.clone(),
            plan,
            emit: create.emit,
            constraints: create.constraints.clone(),
            place,
        };
        view.rules(&self.planner)?;
        self.view_checks(&view, &view.constraints)?;
        Ok((view, planned.uses))
    }

    /// Notes whether queries may read a view.
    pub(super) fn withhold(&mut self, view: &Materialized) -> Result<()> {
        let rules = view.rules(&self.planner)?;
        let rule = rules::copy::withheld(&rules);
        self.catalog.withhold(&view.name, rule);
        Ok(())
    }

    /// The view as other queries read it: with the rows that its rules let through.
    pub(super) fn view_table(&self, view: &Materialized, text: &str) -> Result<ViewTable> {
        let rules = view.rules(&self.planner)?;
        let plan = rules::copy::published(&view.name, view.plan.clone(), &rules)?;
        Ok(ViewTable::new(plan, Some(text.to_owned())))
    }
}
