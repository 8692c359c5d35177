//! What DataFusion's SQL planner is told of tables, functions and types: the catalog's tables and
//! the session's functions, nothing of files.

use std::collections::BTreeSet;
use std::sync::Arc;

use arrow::datatypes::{DataType, FieldRef, SchemaRef, TimeUnit};
use datafusion::catalog::TableProvider;
use datafusion::catalog::view::ViewTable;
use datafusion::common::config::ConfigOptions;
use datafusion::common::datatype::DataTypeExt;
use datafusion::common::{Result as DfResult, TableReference, plan_err};
use datafusion::datasource::{cte_worktable::CteWorkTable, provider_as_source};
use datafusion::execution::session_state::SessionState;
use datafusion::logical_expr::planner::{
    ContextProvider, ExprPlanner, RelationPlanner, TypePlanner,
};
use datafusion::logical_expr::{AggregateUDF, HigherOrderUDF, ScalarUDF, TableSource, WindowUDF};
use datafusion::sql::planner::SqlToRel;
use datafusion::sql::sqlparser::ast::{DataType as SqlType, Query, Statement, TimezoneInfo};
use parking_lot::Mutex;
use weir_engine::error::Result;

/// Where a query's tables come from.
pub(crate) trait Tables {
    /// Finds a source or a view.
    fn table(&self, name: &str) -> Result<Arc<dyn TableProvider>>;

    /// Finds a table of the schema `weir` that is a query.
    fn query(&self, name: &str) -> Result<Option<Box<Query>>> {
        crate::system::query_of(name)
    }
}

/// No tables at all: for expressions of their own.
pub(crate) struct NoTables;

impl Tables for NoTables {
    fn table(&self, name: &str) -> Result<Arc<dyn TableProvider>> {
        Err(super::errors::unknown_table(name, std::iter::empty()))
    }
}

/// The context of one statement; it notes the tables that were asked for.
pub(crate) struct PlanContext<'a> {
    pub(super) state: &'a SessionState,
    pub(super) tables: &'a dyn Tables,
    pub(super) used: Mutex<BTreeSet<String>>,
}

impl ContextProvider for PlanContext<'_> {
    fn get_table_source(&self, name: TableReference) -> DfResult<Arc<dyn TableSource>> {
        let table = match &name {
            TableReference::Bare { table } => table.to_string(),
            TableReference::Partial { schema, table } => format!("{schema}.{table}"),
            TableReference::Full { .. } => {
                let full = name.to_string();
                return Err(super::errors::unknown_table(&full, std::iter::empty()).into());
            }
        };
        let provider = match self.tables.query(&table)? {
            Some(query) => {
                let plan = SqlToRel::new(self).sql_statement_to_plan(Statement::Query(query))?;
                Arc::new(ViewTable::new(plan, None))
            }
            None => self.tables.table(&table)?,
        };
        self.used.lock().insert(table);
        Ok(provider_as_source(provider))
    }

    fn create_cte_work_table(
        &self,
        name: &str,
        schema: SchemaRef,
    ) -> DfResult<Arc<dyn TableSource>> {
        Ok(provider_as_source(Arc::new(CteWorkTable::new(
            name, schema,
        ))))
    }

    fn get_expr_planners(&self) -> &[Arc<dyn ExprPlanner>] {
        self.state.expr_planners()
    }

    fn get_relation_planners(&self) -> &[Arc<dyn RelationPlanner>] {
        self.state.relation_planners()
    }

    fn get_type_planner(&self) -> Option<Arc<dyn TypePlanner>> {
        Some(Arc::new(Types))
    }

    fn get_function_meta(&self, name: &str) -> Option<Arc<ScalarUDF>> {
        self.state.scalar_functions().get(name).cloned()
    }

    fn get_higher_order_meta(&self, name: &str) -> Option<Arc<HigherOrderUDF>> {
        self.state.higher_order_functions().get(name).cloned()
    }

    fn get_aggregate_meta(&self, name: &str) -> Option<Arc<AggregateUDF>> {
        self.state.aggregate_functions().get(name).cloned()
    }

    fn get_window_meta(&self, name: &str) -> Option<Arc<WindowUDF>> {
        self.state.window_functions().get(name).cloned()
    }

    fn get_variable_type(&self, _variable_names: &[String]) -> Option<DataType> {
        None
    }

    fn options(&self) -> &ConfigOptions {
        self.state.config_options()
    }

    fn udf_names(&self) -> Vec<String> {
        self.state.scalar_functions().keys().cloned().collect()
    }

    fn higher_order_function_names(&self) -> Vec<String> {
        self.state
            .higher_order_functions()
            .keys()
            .cloned()
            .collect()
    }

    fn udaf_names(&self) -> Vec<String> {
        self.state.aggregate_functions().keys().cloned().collect()
    }

    fn udwf_names(&self) -> Vec<String> {
        self.state.window_functions().keys().cloned().collect()
    }
}

/// SQL types that Weir reads in another way than DataFusion.
#[derive(Debug)]
pub(crate) struct Types;

impl TypePlanner for Types {
    fn plan_type_field(&self, sql_type: &SqlType) -> DfResult<Option<FieldRef>> {
        let data_type = match sql_type {
            // PostgreSQL's TIMESTAMP counts microseconds, and so do watermarks and windows.
            SqlType::Timestamp(None, zone) => {
                let zoned = matches!(zone, TimezoneInfo::Tz | TimezoneInfo::WithTimeZone);
                DataType::Timestamp(TimeUnit::Microsecond, zoned.then(|| "UTC".into()))
            }
            SqlType::CharacterVarying(_)
            | SqlType::CharVarying(_)
            | SqlType::Nvarchar(_)
            | SqlType::Character(_) => DataType::Utf8,
            SqlType::Double(_) => DataType::Float64,
            SqlType::Bytes(_) | SqlType::Varbinary(_) | SqlType::Blob(_) => DataType::Binary,
            SqlType::Time(Some(_), _) => {
                return plan_err!("type {sql_type} is not supported, use TIME");
            }
            _ => return Ok(None),
        };
        Ok(Some(data_type.into_nullable_field_ref()))
    }
}
