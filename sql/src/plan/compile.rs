//! Expressions as what computes them.

use std::sync::Arc;

use datafusion::common::tree_node::TreeNode;
use datafusion::common::{DFSchema, Result as DfResult};
use datafusion::logical_expr::physical_planning_context::PhysicalPlanningContext;
use datafusion::logical_expr::simplify::SimplifyContext;
use datafusion::logical_expr::{Expr, LogicalPlan};
use datafusion::optimizer::OptimizerRule as _;
use datafusion::optimizer::simplify_expressions::{ExprSimplifier, SimplifyExpressions};
use datafusion::physical_expr::{PhysicalExpr, create_physical_expr};
use weir_engine::error::Result;

use super::{Planner, texts};

impl Planner {
    /// Compiles an expression whose columns are in `schema`, coercing its types.
    pub(crate) fn compile(&self, expr: Expr, schema: &DFSchema) -> Result<Arc<dyn PhysicalExpr>> {
        texts::rewritten(expr, schema)
            .and_then(|expr| self.simplified(expr, schema))
            .and_then(|expr| self.state.create_physical_expr(expr, schema))
            .map_err(|error| self.convert(error, None))
    }

    /// Functions such as `coalesce` and `nvl` are computed as what they are simplified to.
    fn simplified(&self, expr: Expr, schema: &DFSchema) -> DfResult<Expr> {
        let context = SimplifyContext::builder()
            .with_schema(Arc::new(schema.clone()))
            .with_config_options(Arc::clone(self.state.config_options()))
            .build();
        let simplifier = ExprSimplifier::new(context);
        simplifier.simplify(simplifier.coerce(expr, schema)?)
    }

    /// Simplifies the expressions of a plan whose types are coerced, where nothing else optimises it.
    pub(crate) fn simplified_plan(&self, plan: LogicalPlan) -> Result<LogicalPlan> {
        let rule = SimplifyExpressions::new();
        let plan = plan.transform_up(|node| rule.rewrite(node, &self.state));
        Ok(plan.map_err(|error| self.convert(error, None))?.data)
    }

    /// Compiles an expression of an optimised plan, whose types are coerced already.
    pub(crate) fn physical_expr(
        &self,
        expr: &Expr,
        schema: &DFSchema,
    ) -> Result<Arc<dyn PhysicalExpr>> {
        create_physical_expr(
            expr,
            schema,
            self.state.execution_props(),
            &PhysicalPlanningContext::default(),
        )
        .map_err(|error| self.convert(error, None))
    }
}
