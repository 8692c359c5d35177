//! A declared source whose texts are read as views, for plans of DataFusion.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use arrow::datatypes::{DataType, FieldRef, Schema, SchemaRef};
use datafusion::catalog::{Session, TableProvider};
use datafusion::common::Result as DfResult;
use datafusion::logical_expr::{Expr, TableType};
use datafusion::physical_expr::expressions::Column;
use datafusion::physical_plan::ExecutionPlan;
use weir_engine::error::{Error, Result};
use weir_engine::source::Source;

use super::source::SourceTable;
use crate::settings::Mode;

/// The table with other types for its texts.
#[derive(Debug)]
pub(crate) struct ViewedTable {
    table: Arc<dyn TableProvider>,
    source: Arc<dyn Source>,
    schema: SchemaRef,
}

impl ViewedTable {
    /// Takes a [`SourceTable`]. `None` where its source reads no text as a view, or a computed column
    /// or a rule needs one as a text.
    pub(crate) async fn of(provider: &Arc<dyn TableProvider>) -> Result<Option<Self>> {
        let Some(table) = provider.downcast_ref::<SourceTable>() else {
            return Ok(None);
        };
        if !table.rules().is_empty() {
            // Its rules are compiled for texts.
            return Ok(None);
        }
        let Some(source) = table.source(Mode::Batch).await?.with_views() else {
            return Ok(None);
        };
        let read = source.schema();
        let is_view = |index: &usize| {
            let field = read.fields().get(*index);
            field.is_some_and(|field| *field.data_type() == DataType::Utf8View)
        };
        let computes = table
            .columns()
            .iter()
            .any(|column| !column.expr.is::<Column>() && column.reads.iter().any(is_view));
        let columns = table.columns().iter();
        let fields: Vec<FieldRef> = columns.map(|column| column.field_over(&read)).collect();
        let schema = Arc::new(Schema::new(fields));
        if computes || schema == table.schema() {
            return Ok(None);
        }
        Ok(Some(Self {
            table: Arc::clone(provider),
            source,
            schema,
        }))
    }
}

impl TableProvider for ViewedTable {
    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }

    fn table_type(&self) -> TableType {
        TableType::Base
    }

    // Written by hand: `#[async_trait]` over Expr costs seconds of compile time.
    fn scan<'a, 'b, 'c, 'd, 'out>(
        &'a self,
        state: &'b dyn Session,
        projection: Option<&'c Vec<usize>>,
        _filters: &'d [Expr],
        _limit: Option<usize>,
    ) -> Pin<Box<dyn Future<Output = DfResult<Arc<dyn ExecutionPlan>>> + Send + 'out>>
    where
        'a: 'out,
        'b: 'out,
        'c: 'out,
        'd: 'out,
        Self: 'out,
    {
        let partitions = state.config().target_partitions();
        Box::pin(async move {
            let Some(table) = self.table.downcast_ref::<SourceTable>() else {
                return Err(Error::internal("a viewed table is of no source").into());
            };
            // Each scan begins anew.
            let own = self.source.rescan();
            Ok(table.leaf(own, projection, partitions).await?)
        })
    }
}
