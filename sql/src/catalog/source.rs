//! A declared source as DataFusion sees it: a table.

use std::collections::BTreeSet;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use arrow::datatypes::{DataType, FieldRef, Schema, SchemaRef};
use datafusion::catalog::{Session, TableProvider};
use datafusion::common::{Result as DfResult, ScalarValue};
use datafusion::logical_expr::{Expr, TableType};
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_expr::expressions::{Column, Literal};
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::projection::ProjectionExec;
use parking_lot::Mutex;
use weir_engine::arrival::Coming;
use weir_engine::changelog::is_changelog;
use weir_engine::connector::{Connector, LookupRequest, SourceRequest};
use weir_engine::dead_letter::OnError;
use weir_engine::error::{Error, Kind, Result, codes};
use weir_engine::island::ScanExec;
use weir_engine::lookup::Lookup;
use weir_engine::rules::Rule;
use weir_engine::rules::keyed::StageExec;
use weir_engine::source::{Boundedness, Source};

use super::nothing::Nothing;
use crate::ast::Constraint;
use crate::plan::Planner;
use crate::rules::{Arrival, Ruled, plan};
use crate::settings::Mode;

/// A column of the table: an expression over the columns of [`Source::schema`].
#[derive(Debug, Clone)]
pub(crate) struct SourceColumn {
    /// Its name, type and nullability.
    pub(crate) field: FieldRef,
    /// How it is computed.
    pub(crate) expr: Arc<dyn PhysicalExpr>,
    /// The source's columns that are read for it.
    pub(crate) reads: BTreeSet<usize>,
    /// How SHOW and DESCRIBE tell its kind: empty, `computed`, `metadata` or `processing time`.
    pub(crate) note: String,
}

impl SourceColumn {
    /// What it tells of how rows come, if it does.
    pub(super) fn told(&self) -> Option<Coming> {
        let mut all = Coming::ALL.into_iter();
        let told = all.find(|(_, name)| self.note == ARRIVAL && name == self.field.name());
        told.map(|(told, _)| told)
    }

    /// Its field when it is read from columns of these types: a text may be a view.
    pub(super) fn field_over(&self, source: &SchemaRef) -> FieldRef {
        let column = self.expr.downcast_ref::<Column>();
        let read = column.and_then(|column| source.fields().get(column.index()));
        match read.map(|read| read.data_type()) {
            Some(DataType::Utf8View) if *self.field.data_type() == DataType::Utf8 => {
                let field = self.field.as_ref().clone();
                Arc::new(field.with_data_type(DataType::Utf8View))
            }
            _ => Arc::clone(&self.field),
        }
    }
}

/// The note of a column that is `PROCTIME()`.
pub(super) const PROCESSING_TIME: &str = "processing time";
/// The note of a column that tells how rows come.
pub(super) const ARRIVAL: &str = "arrival";

/// The watermark as declared.
#[derive(Debug, Clone)]
pub(crate) struct SourceWatermark {
    /// The number of the event-time column in the table.
    pub(crate) column: usize,
    /// Its name.
    pub(crate) name: String,
    /// The watermark after a row, as it was written.
    pub(crate) text: String,
    /// The same, compiled.
    pub(crate) expr: Arc<dyn PhysicalExpr>,
    /// The source's columns that are read for it.
    pub(crate) reads: BTreeSet<usize>,
}

/// A declared source.
#[derive(Debug)]
pub(crate) struct SourceTable {
    pub(super) connector: Arc<dyn Connector>,
    /// What the script says; the columns are those that were found, if none were declared.
    pub(super) request: SourceRequest,
    /// The source as it was made by CREATE SOURCE.
    pub(super) first: Arc<dyn Source>,
    /// The same for a batch job, which a watching source is made for anew.
    pub(super) batch: Arc<tokio::sync::OnceCell<Arc<dyn Source>>>,
    pub(super) schema: SchemaRef,
    pub(super) columns: Vec<SourceColumn>,
    pub(super) watermark: Option<SourceWatermark>,
    /// The rules of its rows. CREATE EXPECTATION may add some after the source is read by a plan: they
    /// are taken when the pipeline is made.
    pub(super) rules: Mutex<Vec<Rule>>,
    /// All its rules as they are written, those over many rows too.
    pub(super) constraints: Mutex<Vec<Constraint>>,
    /// Read in place of the source when its rows come out of quarantine alone.
    pub(super) nothing: Mutex<Option<Arc<dyn Source>>>,
    /// The columns of the primary key.
    pub(super) primary_key: Vec<usize>,
    /// The connectors whose tables can be asked for rows by key, for people.
    pub(super) lookups: Vec<&'static str>,
}

impl SourceTable {
    /// The name in the script.
    pub(crate) fn name(&self) -> &str {
        &self.request.name
    }

    /// Whether its rows are changes: insertions, updates and deletions.
    pub(crate) fn is_changelog(&self) -> bool {
        is_changelog(&self.first.schema())
    }

    /// Its columns, without the kind of a change.
    pub(crate) fn rows_schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }

    /// The columns of the primary key.
    pub(crate) fn primary_key(&self) -> &[usize] {
        &self.primary_key
    }

    /// Whether it ends by itself when nothing is said of the mode.
    pub(crate) fn is_bounded(&self) -> bool {
        self.first.boundedness() == Boundedness::Bounded
    }

    /// The columns of the table.
    pub(crate) fn columns(&self) -> &[SourceColumn] {
        &self.columns
    }

    /// Whether a column is `PROCTIME()`: the clock itself is its watermark.
    pub(crate) fn is_processing_time(&self, column: usize) -> bool {
        let column = self.columns.get(column);
        column.is_some_and(|column| column.note == PROCESSING_TIME)
    }

    /// The watermark.
    pub(crate) fn watermark(&self) -> Option<&SourceWatermark> {
        self.watermark.as_ref()
    }

    /// The connector's word.
    pub(crate) fn connector(&self) -> &'static str {
        self.connector.name()
    }

    /// Whether its table can be asked for rows by key. One with rules is read whole: what a peer
    /// answers is judged by nobody.
    pub(crate) fn has_lookup(&self) -> bool {
        self.connector.has_lookup() && self.rules.lock().is_empty()
    }

    /// Whether what cannot be read of it is kept in its quarantine table.
    pub(crate) fn keeps_unread(&self) -> bool {
        self.request.on_error == OnError::Quarantine
    }

    /// The rules of its rows.
    pub(crate) fn rules(&self) -> Vec<Rule> {
        self.rules.lock().clone()
    }

    /// All its rules as they are written, those over many rows too.
    pub(crate) fn constraints(&self) -> Vec<Constraint> {
        self.constraints.lock().clone()
    }

    /// Gives it these rules; it keeps those that it has if they cannot be planned.
    pub(crate) fn expect(&self, planner: &Planner, constraints: &[Constraint]) -> Result<()> {
        let mut fixed = Vec::new();
        for (at, column) in self.columns.iter().enumerate() {
            let reads = |watermark: &SourceWatermark| {
                watermark.column == at || !watermark.reads.is_disjoint(&column.reads)
            };
            if self.watermark.as_ref().is_some_and(reads) {
                fixed.push((column.field.name().clone(), "the watermark goes by it"));
            } else if self.is_changelog() && self.primary_key.contains(&at) {
                fixed.push((column.field.name().clone(), "changes find their row by it"));
            }
        }
        let ruled = Ruled {
            table: self.name(),
            schema: &self.schema,
            clock: !self.is_changelog(),
            arrival: match self.is_changelog() {
                true => Arrival::Changes,
                false => Arrival::Rows(self.watermark.as_ref().map(|found| found.name.as_str())),
            },
            fixed: &fixed,
        };
        let planned = plan(planner, &ruled, constraints)?;
        *self.rules.lock() = planned.into_iter().map(|planned| planned.rule).collect();
        *self.constraints.lock() = constraints.to_vec();
        Ok(())
    }

    /// The same table with other rules.
    pub(crate) fn with_rules(&self, planner: &Planner, rules: &[Constraint]) -> Result<Self> {
        let other = self.copy();
        other.expect(planner, rules)?;
        Ok(other)
    }

    /// The same table, without rules.
    fn copy(&self) -> Self {
        Self {
            connector: Arc::clone(&self.connector),
            request: self.request.clone(),
            first: Arc::clone(&self.first),
            batch: Arc::clone(&self.batch),
            schema: Arc::clone(&self.schema),
            columns: self.columns.clone(),
            watermark: self.watermark.clone(),
            rules: Mutex::default(),
            constraints: Mutex::default(),
            nothing: Mutex::default(),
            primary_key: self.primary_key.clone(),
            lookups: self.lookups.clone(),
        }
    }

    /// The same table with columns that tell how its rows come; `None` if it has no watermark.
    pub(crate) fn arriving(&self) -> Option<Self> {
        let watermark = self.watermark.as_ref()?;
        let time = self.columns.get(watermark.column)?.field.data_type();
        let told = Coming::ALL.map(|(told, name)| SourceColumn {
            field: told.field(name, time),
            expr: Arc::new(Literal::new(ScalarValue::Null)),
            reads: BTreeSet::new(),
            note: ARRIVAL.to_owned(),
        });
        let mut other = self.copy();
        other.columns.extend(told);
        let fields = other.columns.iter().map(|column| Arc::clone(&column.field));
        other.schema = Arc::new(Schema::new(fields.collect::<Vec<_>>()));
        *other.rules.lock() = self.rules();
        other.nothing.lock().clone_from(&self.nothing.lock());
        Some(other)
    }

    /// Whether a column tells when a row comes.
    pub(crate) fn is_arrival_time(&self, column: usize) -> bool {
        let column = self.columns.get(column);
        column.is_some_and(|column| column.told() == Some(Coming::Time))
    }

    /// Whether some of its columns tell how its rows come.
    pub(crate) fn is_arriving(&self) -> bool {
        self.columns.iter().any(|column| column.told().is_some())
    }

    /// The connectors whose tables can be asked for rows by key.
    pub(crate) fn lookups(&self) -> &[&'static str] {
        &self.lookups
    }

    /// Makes what a join asks, by columns of the source, for columns of the source.
    pub(crate) async fn lookup(
        &self,
        keys: Vec<usize>,
        columns: Vec<usize>,
    ) -> Result<Arc<dyn Lookup>> {
        let source = self.request.clone();
        let request = LookupRequest {
            source,
            keys,
            columns,
        };
        self.connector.lookup(request).await
    }

    /// Says whether the next pipeline reads nothing of it but what requests take out of quarantine.
    pub(crate) fn read_requests_alone(&self, alone: bool) {
        let nothing = || Arc::new(Nothing::of(self.first.schema(), self.name())) as Arc<dyn Source>;
        *self.nothing.lock() = alone.then(nothing);
    }

    /// The source for a mode. A batch job reads what is there now, also where the source watches.
    pub(crate) async fn source(&self, mode: Mode) -> Result<Arc<dyn Source>> {
        if let Some(nothing) = &*self.nothing.lock() {
            return Ok(Arc::clone(nothing));
        }
        if mode == Mode::Streaming || self.is_bounded() {
            return Ok(Arc::clone(&self.first));
        }
        let source = self
            .batch
            .get_or_try_init(|| async {
                let request = SourceRequest {
                    streaming: false,
                    ..self.request.clone()
                };
                self.connector.source(request).await
            })
            .await?;
        if source.boundedness() == Boundedness::Bounded {
            return Ok(Arc::clone(source));
        }
        Err(Error::new(
            Kind::Invalid,
            codes::UNBOUNDED,
            format!(
                "source \"{}\" never ends, so a batch job over it would not either",
                self.name()
            ),
        )
        .hint("insert its rows into a sink in streaming mode, or give the source an end"))
    }
}

impl SourceTable {
    /// The leaf of an island: reads by `own` what `source` declares, or by a scan of its own.
    pub(super) async fn leaf(
        &self,
        own: Option<Arc<dyn Source>>,
        projection: Option<&Vec<usize>>,
        partitions: usize,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        if self.is_changelog() {
            return Err(Error::new(
                Kind::Invalid,
                codes::UNBOUNDED,
                format!("the rows of source \"{}\" are changes of rows", self.name()),
            )
            .detail("a query that has an end would read each change as a row")
            .hint("keep its rows with CREATE MATERIALIZED VIEW, and query that"));
        }
        let source = self.source(Mode::Batch).await?;
        let all: Vec<usize> = (0..self.columns.len()).collect();
        let projection = projection.unwrap_or(&all);
        let arriving = self.is_arriving();
        let scan = match own {
            Some(own) => self.scan_of(source, own, projection, (arriving, false))?,
            None => self.scan(source, projection, (arriving, false))?,
        };
        let estimate = scan.declared.estimate(&scan.projection).await;
        let steps = scan.steps();
        if steps.is_empty() {
            let scan = ScanExec::new(Arc::new(scan), partitions, estimate.as_ref());
            return Ok(Arc::new(scan));
        }
        let wanted = scan.schema();
        let scan = ScanExec::new(Arc::new(scan.whole()), partitions, estimate.as_ref());
        let mut plan: Arc<dyn ExecutionPlan> = Arc::new(scan);
        // How rows come is told before any of them waits.
        for step in steps.into_iter().filter(|_| !arriving) {
            plan = Arc::new(StageExec::new(plan, self.name().into(), step));
        }
        pick(plan, &wanted)
    }
}

/// Picks columns by their names.
fn pick(plan: Arc<dyn ExecutionPlan>, wanted: &SchemaRef) -> Result<Arc<dyn ExecutionPlan>> {
    let given = plan.schema();
    let columns = wanted.fields().iter().map(|field| {
        let column: Arc<dyn PhysicalExpr> =
            Arc::new(Column::new_with_schema(field.name(), &given)?);
        Ok((column, field.name().clone()))
    });
    let columns = columns.collect::<Result<Vec<_>>>()?;
    Ok(Arc::new(ProjectionExec::try_new(columns, plan)?))
}

impl TableProvider for SourceTable {
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
        Box::pin(async move { Ok(self.leaf(None, projection, partitions).await?) })
    }
}
