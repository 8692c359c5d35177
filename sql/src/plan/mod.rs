//! Queries and expressions to DataFusion's logical plans, and those to optimised and physical ones.

pub(crate) mod anomaly;
mod compile;
mod context;
mod date;
pub(crate) mod errors;
mod expand;
pub(crate) mod lookup;
mod measures;
pub(crate) mod mixed;
pub(crate) mod proctime;
mod row;
mod sessions;
mod spans;
mod texts;
mod to_char;
mod window_function;
mod window_options;
mod window_relation;
pub(crate) mod window_table;

use std::collections::BTreeSet;
use std::future::Future;
use std::ops::ControlFlow;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use arrow::datatypes::DataType;
use arrow::record_batch::RecordBatch;
use datafusion::catalog::Session as DataFusionSession;
use datafusion::common::{DFSchema, DataFusionError, Result as DfResult, ScalarValue};
use datafusion::execution::SessionStateDefaults;
use datafusion::execution::context::{QueryPlanner, SQLOptions};
use datafusion::execution::runtime_env::RuntimeEnv;
use datafusion::execution::session_state::{SessionState, SessionStateBuilder};
use datafusion::logical_expr::{AggregateUDF, ColumnarValue, Expr, LogicalPlan, ScalarUDF};
use datafusion::optimizer::{Analyzer, Optimizer, OptimizerRule};
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_planner::{DefaultPhysicalPlanner, PhysicalPlanner};
use datafusion::prelude::SessionConfig;
use datafusion::sql::planner::{PlannerContext, SqlToRel};
use datafusion::sql::sqlparser::ast::{
    CastKind, DataType as SqlType, Expr as SqlExpr, Query, Spanned, Statement, Value,
    visit_expressions,
};
use weir_engine::env::Env;
use weir_engine::error::{Error, Kind, Place, Result, codes};

use crate::anomaly::models::Models;
use crate::profile::ProfileOf;
use crate::rules::References;
use crate::settings::Settings;
use crate::statistics;
use context::PlanContext;
pub(crate) use context::{NoTables, Tables};
pub(crate) use measures::{ARRIVALS, asks_arrivals};

/// Plans with one set of settings.
#[derive(Debug)]
pub(crate) struct Planner {
    state: SessionState,
    streaming: Streaming,
    state_ttl: Option<Duration>,
    references: Arc<References>,
    models: Arc<Models>,
}

/// How plans are optimised for the runtime's own operators.
#[derive(Debug)]
struct Streaming {
    rules: Optimizer,
    /// Those for plans that look tables up: no join is turned into one that keeps rows of the table.
    lookup_rules: Optimizer,
    state: SessionState,
}

/// A query as planned, before it is optimised.
#[derive(Debug, Clone)]
pub(crate) struct Planned {
    /// The plan.
    pub(crate) plan: LogicalPlan,
    /// The tables and views that it names.
    pub(crate) uses: BTreeSet<String>,
}

impl Planner {
    /// Makes a planner: DataFusion's functions and rules, the window functions, no files.
    pub(crate) fn new(runtime: Arc<RuntimeEnv>, settings: &Settings, env: &Env) -> Self {
        let mut config = SessionConfig::new()
            .with_target_partitions(settings.parallelism() as usize)
            .with_batch_size(settings.batch_rows());
        let options = config.options_mut();
        options.sql_parser.collect_spans = true;
        options.sql_parser.map_string_types_to_utf8view = false;
        options.catalog.create_default_catalog_and_schema = false;
        let mut comparing = SessionStateDefaults::default_expr_planners();
        comparing.push(Arc::new(spans::Spans));
        let mut state = SessionStateBuilder::new_with_default_features()
            .with_config(config)
            .with_expr_planners(comparing)
            .with_runtime_env(runtime)
            .with_relation_planners(vec![
                Arc::new(lookup::Lookups),
                Arc::new(anomaly::Detections),
                Arc::new(window_relation::WindowRelations),
            ])
            .with_query_planner(Arc::new(IslandPlanner))
            .with_optimizer_rules(rules())
            .build();
        let own = [
            ScalarUDF::from(date::DateFunction::default()),
            ScalarUDF::from(proctime::ProcTime::new(env.clone())),
            ScalarUDF::from(to_char::ToChar::default()),
        ];
        let functions = crate::functions::all().into_iter();
        for function in own
            .into_iter()
            .chain(functions)
            .chain(statistics::functions())
        {
            // What is given back is DataFusion's of the same name, if it has one.
            drop(datafusion::execution::FunctionRegistry::register_udf(
                &mut state,
                Arc::new(function),
            ));
        }
        let profiles = [ProfileOf::json(), ProfileOf::sketch()].map(AggregateUDF::from);
        for aggregate in profiles.into_iter().chain(statistics::aggregates()) {
            drop(datafusion::execution::FunctionRegistry::register_udaf(
                &mut state,
                Arc::new(aggregate),
            ));
        }
        drop(datafusion::execution::FunctionRegistry::register_udwf(
            &mut state,
            Arc::new(anomaly::function()),
        ));
        let now = arrow::temporal_conversions::timestamp_us_to_datetime(env.clock().now_micros());
        state.execution_props_mut().query_execution_start_time = now.map(|time| time.and_utc());
        Self {
            streaming: Streaming::of(&state),
            state,
            state_ttl: settings.state_ttl(),
            references: Arc::default(),
            models: Arc::new(Models::new(env)),
        }
        .with_references(Arc::default())
    }

    /// The same with what the script has named so far: what its rules refer to, and its models.
    pub(crate) fn with_names_of(self, other: &Self) -> Self {
        let models = Arc::clone(&other.models);
        let named = self.with_references(Arc::clone(&other.references));
        Self { models, ..named }
    }

    /// The same with other references, which functions look up by their names.
    fn with_references(mut self, references: Arc<References>) -> Self {
        for function in statistics::distances(&references.baselines) {
            drop(datafusion::execution::FunctionRegistry::register_udf(
                &mut self.state,
                Arc::new(function),
            ));
        }
        Self { references, ..self }
    }

    /// The anomaly models of the script.
    pub(crate) fn models(&self) -> &Models {
        &self.models
    }

    /// What the rules of the script refer to.
    pub(crate) fn references(&self) -> &Arc<References> {
        &self.references
    }

    /// How long state is kept that no row touches, where event time does not end it.
    pub(crate) fn state_ttl(&self) -> Option<Duration> {
        self.state_ttl
    }

    /// DataFusion's side of the session.
    pub(crate) fn state(&self) -> &SessionState {
        &self.state
    }

    /// A planning error as Weir's.
    pub(crate) fn convert(&self, error: DataFusionError, place: Option<Place>) -> Error {
        errors::convert(error, &self.state, place)
    }

    /// Plans a query over the catalog's tables.
    pub(crate) fn query(
        &self,
        tables: &dyn Tables,
        query: &Query,
        place: Option<Place>,
    ) -> Result<Planned> {
        let context = PlanContext {
            state: &self.state,
            tables,
            used: Default::default(),
        };
        let expanded = measures::expand(query, &self.references.baselines)?;
        let plan = SqlToRel::new(&context)
            .sql_statement_to_plan(Statement::Query(Box::new(expanded)))
            .and_then(|plan| {
                SQLOptions::new()
                    .with_allow_ddl(false)
                    .with_allow_dml(false)
                    .with_allow_statements(false)
                    .verify_plan(&plan)?;
                Ok(plan)
            })
            .and_then(|plan| anomaly::extract(plan, &self.models))
            .and_then(|plan| {
                // Types are checked now: the error shows at its statement, before anything runs.
                Analyzer::new().execute_and_check(
                    plan.clone(),
                    self.state.config_options(),
                    |_, _| {},
                )?;
                Ok(plan)
            })
            .map_err(|error| Self::locate(self.convert(error, None), query, place))?;
        Ok(Planned {
            plan,
            uses: context.used.into_inner(),
        })
    }

    /// Plans an expression over a row, with its types checked.
    pub(crate) fn expr(
        &self,
        sql: &SqlExpr,
        schema: &DFSchema,
        place: Option<Place>,
    ) -> Result<Expr> {
        let context = PlanContext {
            state: &self.state,
            tables: &NoTables,
            used: Default::default(),
        };
        SqlToRel::new(&context)
            .sql_to_expr(sql.clone(), schema, &mut PlannerContext::new())
            .and_then(|expr| {
                // The types of a wrong expression are found out here, where its place is known.
                self.state.create_physical_expr(expr.clone(), schema)?;
                Ok(expr)
            })
            .map_err(|error| self.convert(error, place))
    }

    /// Whether a function is an aggregate, by its name.
    pub(crate) fn is_aggregate(&self, name: &str) -> bool {
        let name = name.to_ascii_lowercase();
        measures::is_measure(&name) || self.state.aggregate_functions().contains_key(&name)
    }

    /// The length of an interval in microseconds.
    pub(crate) fn interval(&self, sql: &SqlExpr, place: Place) -> Result<i64> {
        let none = DFSchema::empty();
        let expr = self.expr(sql, &none, Some(place))?;
        let value = match self
            .compile(expr, &none)?
            .evaluate(&RecordBatch::new_empty(Arc::clone(none.inner())))?
        {
            ColumnarValue::Scalar(value) => value,
            ColumnarValue::Array(_) => ScalarValue::Null,
        };
        window_function::micros(&value).map_err(|why| {
            Error::new(Kind::Invalid, codes::TYPE, format!("{sql} {why}")).at(Some(place))
        })
    }

    /// The Arrow type of an SQL type.
    pub(crate) fn data_type(&self, sql: &SqlType, place: Option<Place>) -> Result<DataType> {
        let cast = SqlExpr::Cast {
            kind: CastKind::Cast,
            expr: Box::new(SqlExpr::Value(Value::Null.into())),
            data_type: sql.clone(),
            array: false,
            format: None,
        };
        let context = PlanContext {
            state: &self.state,
            tables: &NoTables,
            used: Default::default(),
        };
        let planned = SqlToRel::new(&context).sql_to_expr(
            cast,
            &DFSchema::empty(),
            &mut PlannerContext::new(),
        );
        match planned {
            Ok(Expr::Cast(cast)) => Ok(cast.field.data_type().clone()),
            Ok(_) => Err(Error::internal("a cast is not a cast")),
            Err(_) => Err(Error::new(
                Kind::Invalid,
                codes::TYPE,
                format!("type {sql} is not supported"),
            )
            .hint("see docs/sql.md for the types: BIGINT, DOUBLE, DECIMAL, VARCHAR, TIMESTAMP, ...")
            .at(place)),
        }
    }

    /// Finds the call that an error is about, for errors that carry no place.
    pub(crate) fn locate(error: Error, query: &Query, place: Option<Place>) -> Error {
        let Some(name) = errors::function_of(&error).map(str::to_owned) else {
            return error.at(place);
        };
        let found = visit_expressions(query, |expr| {
            if let SqlExpr::Function(call) = expr
                && call.name.to_string().eq_ignore_ascii_case(&name)
            {
                return ControlFlow::Break(errors::place_of(call.name.span()));
            }
            ControlFlow::Continue(())
        });
        error.at(found.break_value().flatten()).at(place)
    }

    /// Checks and coerces types: errors show at the statement, before anything runs.
    pub(crate) fn analyze(&self, plan: LogicalPlan, place: Option<Place>) -> Result<LogicalPlan> {
        Analyzer::new()
            .execute_and_check(plan, self.state.config_options(), |_, _| {})
            .map_err(|error| self.convert(error, place))
    }

    /// Optimises for the runtime's own operators.
    pub(crate) fn optimize_streaming(
        &self,
        plan: LogicalPlan,
        place: Option<Place>,
    ) -> Result<LogicalPlan> {
        let plan = self.analyze(plan, place)?;
        let rules = match lookup::looks_up(&plan) {
            Ok(true) => &self.streaming.lookup_rules,
            Ok(false) => &self.streaming.rules,
            Err(error) => return Err(self.convert(error, place)),
        };
        rules
            .optimize(plan, &self.streaming.state, |_, _| {})
            .map_err(|error| self.convert(error, place))
    }

    /// Optimises for DataFusion and makes the physical plan of an island.
    pub(crate) async fn island(
        &self,
        plan: &LogicalPlan,
        place: Option<Place>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let plan = lookup::read_in_full(plan.clone())
            .and_then(sessions::expand)
            .map_err(|error| self.convert(error, place))?;
        self.state
            .create_physical_plan(&plan)
            .await
            .map_err(|error| self.convert(error, place))
    }
}

/// DataFusion's rules and Weir's own.
fn rules() -> Vec<Arc<dyn OptimizerRule + Send + Sync>> {
    const BEFORE: &str = "common_sub_expression_eliminate";
    // They take fields of structs towards the source, where nothing is won by it, and fail where a view gives a struct
    // a name: its fields and itself have that name then.
    const WITHOUT: [&str; 2] = ["extract_leaf_expressions", "push_down_leaf_projections"];
    let mut rules = Optimizer::new().rules;
    rules.retain(|rule| !WITHOUT.contains(&rule.name()));
    let place = rules.iter().position(|rule| rule.name() == BEFORE);
    rules.insert(place.unwrap_or(rules.len()), Arc::new(texts::TextCalls));
    rules
}

impl Streaming {
    fn of(state: &SessionState) -> Self {
        // Operators count distinct values themselves: one aggregation, not two.
        const SPLIT_DISTINCT: &str = "single_distinct_aggregation_to_group_by";
        let without = |names: &[&str]| {
            let rules = rules().into_iter();
            Optimizer::with_rules(rules.filter(|rule| !names.contains(&rule.name())).collect())
        };
        let mut state = state.clone();
        // The value of a subquery changes as rows come: it is a join.
        let options = state.config_mut().options_mut();
        options
            .optimizer
            .enable_physical_uncorrelated_scalar_subquery = false;
        Self {
            rules: without(&[SPLIT_DISTINCT]),
            lookup_rules: without(&[SPLIT_DISTINCT, "eliminate_join"]),
            state,
        }
    }
}

/// Plans islands: DataFusion's planner with the window node.
#[derive(Debug)]
struct IslandPlanner;

// Written by hand: `#[async_trait]` over LogicalPlan costs seconds of compile time.
impl QueryPlanner for IslandPlanner {
    fn create_physical_plan<'a, 'b, 'c, 'out>(
        &'a self,
        plan: &'b LogicalPlan,
        session: &'c dyn DataFusionSession,
    ) -> Pin<Box<dyn Future<Output = DfResult<Arc<dyn ExecutionPlan>>> + Send + 'out>>
    where
        'a: 'out,
        'b: 'out,
        'c: 'out,
        Self: 'out,
    {
        Box::pin(async move {
            DefaultPhysicalPlanner::with_extension_planners(vec![
                Arc::new(expand::WindowPlanner),
                Arc::new(anomaly::AnomalyPlanner),
            ])
            .create_physical_plan(plan, session)
            .await
        })
    }
}
