//! The logical node: its input's columns, then the verdict.

use std::cmp::Ordering;
use std::collections::HashSet;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

use arrow::compute::SortOptions;
use arrow::datatypes::{DataType, Field, SchemaRef};
use datafusion::common::{DFSchema, DFSchemaRef, DataFusionError, Result as DfResult, plan_err};
use datafusion::logical_expr::expr::Sort;
use datafusion::logical_expr::{Expr, ExprSchemable, LogicalPlan, UserDefinedLogicalNodeCore};
use datafusion::physical_expr::PhysicalExpr;
use weir_anomaly::Exclusions;
use weir_engine::anomaly::{AnomalySpec, FeedbackLog, data_type};
use weir_engine::error::{Error, Kind, codes};

use crate::anomaly::FORM;
use crate::anomaly::models::Models;
use crate::anomaly::options::Options;
use crate::plan::errors::place_of_span;

/// What is judged and how, in expressions over the input.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Judging {
    /// What is judged, each with the name by which a verdict calls it.
    pub(super) values: Vec<(String, Expr)>,
    /// Each of their values has a model of its own.
    pub(super) partition: Vec<Expr>,
    /// The time, then what decides between rows of one time.
    pub(super) order: Vec<Sort>,
    /// The options as [`Options::to_text`] has them.
    pub(super) options: String,
    /// Whether they refer to what nobody has looked up: a model, or times of a query.
    pub(super) refers: bool,
}

/// What people say of the anomalies of models: of one session, so that all nodes have the same.
#[derive(Debug, Clone)]
struct Log(Arc<FeedbackLog>);

impl PartialEq for Log {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

impl Eq for Log {}

impl Hash for Log {
    fn hash<H: Hasher>(&self, _state: &mut H) {}
}

/// Rows with their verdicts.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct AnomalyNode {
    input: LogicalPlan,
    judging: Judging,
    /// What people say of its anomalies, if it has a model.
    log: Option<Log>,
    /// The times that a query gives, in which nothing is judged.
    excluded: Option<Exclusions>,
    /// The name of the column with the verdict.
    column: String,
    schema: DFSchemaRef,
}

impl AnomalyNode {
    /// Checks what is asked for, unless a model has to say what that is.
    pub(super) fn plan(input: LogicalPlan, judging: Judging, column: String) -> DfResult<Self> {
        if !judging.refers {
            judging.check(&input)?;
        }
        Self::try_new(input, judging, (None, None), column)
    }

    fn try_new(
        input: LogicalPlan,
        judging: Judging,
        (log, excluded): (Option<Log>, Option<Exclusions>),
        column: String,
    ) -> DfResult<Self> {
        let columns = input.schema().iter();
        let mut fields: Vec<_> = columns
            .map(|(qualifier, field)| (qualifier.cloned(), Arc::clone(field)))
            .collect();
        fields.push((None, Arc::new(Field::new(&column, data_type(), true))));
        let metadata = input.schema().metadata().clone();
        let schema = Arc::new(DFSchema::new_with_metadata(fields, metadata)?);
        Ok(Self {
            input,
            judging,
            log,
            excluded,
            column,
            schema,
        })
    }

    /// Whether its options refer to what nobody has looked up.
    pub(super) fn refers(&self) -> bool {
        self.judging.refers
    }

    /// The same with the options of the model that its own refer to, and the times that a query gives.
    pub(super) fn resolved(&self, models: &Models) -> DfResult<Self> {
        let mut resolved = self.clone();
        let options = models.resolve(Options::from_text(&self.judging.options)?)?;
        resolved.judging.options = options.to_text();
        resolved.judging.refers = false;
        resolved.log = options.model().map(|_| Log(models.log()));
        resolved.excluded = options.excluded_by().map(|query| models.excluded(query));
        resolved.judging.check(&self.input)?;
        Ok(resolved)
    }

    /// The rows that are judged.
    pub(crate) fn input(&self) -> &LogicalPlan {
        &self.input
    }

    /// The order of rows: the time first.
    pub(crate) fn order(&self) -> &[Sort] {
        &self.judging.order
    }

    /// What the engine is told, with expressions compiled over its input.
    pub(crate) fn spec<E: From<Error>>(
        &self,
        input: SchemaRef,
        mut compile: impl FnMut(&Expr) -> Result<Arc<dyn PhysicalExpr>, E>,
    ) -> Result<AnomalySpec, E> {
        let Some((time, ties)) = self.judging.order.split_first() else {
            return Err(Error::internal("anomalies are found without an order").into());
        };
        let options = Options::from_text(&self.judging.options)?;
        let mut config = options.config().clone();
        config.columns = self.judging.values.len();
        if let Some(excluded) = &self.excluded {
            config.exclude.clone_from(excluded);
        }
        let mut values = Vec::new();
        for (name, value) in &self.judging.values {
            values.push((name.clone(), compile(value)?));
        }
        let mut partition = Vec::new();
        for key in &self.judging.partition {
            partition.push(compile(key)?);
        }
        let mut decides = Vec::new();
        for tie in ties {
            let options = SortOptions::new(!tie.asc, tie.nulls_first);
            decides.push((compile(&tie.expr)?, options));
        }
        Ok(AnomalySpec {
            input,
            partition,
            time: compile(&time.expr)?,
            ties: decides,
            values,
            config,
            model: options.model().and_then(|(name, _)| {
                let log = Arc::clone(&self.log.as_ref()?.0);
                Some((name.to_owned(), log))
            }),
            column: self.column.clone(),
        })
    }
}

impl Judging {
    fn check(&self, input: &LogicalPlan) -> DfResult<()> {
        let options = Options::from_text(&self.options)?;
        let method = options.config().method;
        let time = match self.order.first() {
            None => return Err(wrong("ANOMALY needs ORDER BY a timestamp", None).into()),
            Some(time) => time,
        };
        let found = time.expr.get_type(input.schema())?;
        if !matches!(found, DataType::Timestamp(..)) {
            let message = format!("rows are judged in the order of a timestamp, not of {found}");
            return Err(wrong(&message, Some(&time.expr)).into());
        }
        if !time.asc {
            return Err(wrong(
                "rows are judged from early to late, not DESC",
                Some(&time.expr),
            )
            .into());
        }
        for (name, value) in &self.values {
            let found = value.get_type(input.schema())?;
            let is_text = found.is_string();
            if is_text && method.is_of_texts() && self.values.len() == 1 {
                continue;
            }
            if !found.is_numeric() && !found.is_null() {
                let error = wrong(&format!("\"{name}\" is {found}, not a number"), Some(value));
                let error = match (is_text, method.is_of_texts()) {
                    (true, true) => error.hint("put several texts together: ANOMALY(a || b, ...)"),
                    (true, false) => {
                        error.hint("METHOD 'rare' judges texts; or CAST(... AS DOUBLE)")
                    }
                    _ => error.hint("CAST(... AS DOUBLE) makes a number of it"),
                };
                return Err(error.into());
            }
        }
        let mut config = options.config().clone();
        config.columns = self.values.len();
        config
            .check()
            .map_err(|error| wrong(&error.to_string(), None).into())
    }

    fn exprs(&self) -> impl Iterator<Item = &Expr> {
        let values = self.values.iter().map(|(_, value)| value);
        let order = self.order.iter().map(|sort| &sort.expr);
        values.chain(&self.partition).chain(order)
    }

    /// The same with other expressions, in the order of [`Judging::exprs`].
    fn with(&self, exprs: Vec<Expr>) -> DfResult<Self> {
        let mut exprs = exprs.into_iter();
        let mut with = self.clone();
        let places = with.values.iter_mut().map(|(_, value)| value);
        let order = with.order.iter_mut().map(|sort| &mut sort.expr);
        for place in places.chain(&mut with.partition).chain(order) {
            match exprs.next() {
                // Rules may wrap an expression in an alias to keep its name.
                Some(expr) => *place = expr.unalias(),
                None => return plan_err!("an anomaly node has lost an expression"),
            }
        }
        Ok(with)
    }
}

fn wrong(message: &str, at: Option<&Expr>) -> Error {
    let place = at.and_then(|expr| match expr {
        Expr::Column(column) => column.spans().first().and_then(place_of_span),
        _ => None,
    });
    Error::new(Kind::Invalid, codes::ANOMALY, message)
        .hint(format!("write {FORM}"))
        .at(place)
}

impl PartialOrd for AnomalyNode {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        self.input.partial_cmp(&other.input)
    }
}

impl UserDefinedLogicalNodeCore for AnomalyNode {
    fn name(&self) -> &'static str {
        "Anomaly"
    }

    fn inputs(&self) -> Vec<&LogicalPlan> {
        vec![&self.input]
    }

    fn schema(&self) -> &DFSchemaRef {
        &self.schema
    }

    fn expressions(&self) -> Vec<Expr> {
        self.judging.exprs().cloned().collect()
    }

    /// A row that is left out is not learned from: only whole series may be.
    fn prevent_predicate_push_down_columns(&self) -> HashSet<String> {
        let is_key = |name: &str| {
            let keys = self.judging.partition.iter();
            keys.filter_map(Expr::try_as_col)
                .any(|key| key.name == *name)
        };
        let names = self
            .schema
            .fields()
            .iter()
            .map(|field| field.name().clone());
        names.filter(|name| !is_key(name)).collect()
    }

    fn fmt_for_explain(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let list = |exprs: Vec<String>| exprs.join(", ");
        let values = self.judging.values.iter();
        write!(
            f,
            "Anomaly: [{}] of {} by [{}] in order of {}",
            self.judging.options,
            list(values.map(|(_, value)| value.to_string()).collect()),
            list(
                self.judging
                    .partition
                    .iter()
                    .map(ToString::to_string)
                    .collect()
            ),
            list(self.judging.order.iter().map(ToString::to_string).collect()),
        )
    }

    fn with_exprs_and_inputs(
        &self,
        exprs: Vec<Expr>,
        mut inputs: Vec<LogicalPlan>,
    ) -> DfResult<Self> {
        let Some(input) = inputs.pop() else {
            return Err(DataFusionError::Plan(
                "an anomaly node has one input".to_owned(),
            ));
        };
        let judging = self.judging.with(exprs)?;
        let known = (self.log.clone(), self.excluded.clone());
        Self::try_new(input, judging, known, self.column.clone())
    }

    fn necessary_children_exprs(&self, output_columns: &[usize]) -> Option<Vec<Vec<usize>>> {
        let inputs = self.input.schema().fields().len();
        let columns = output_columns.iter().copied();
        Some(vec![columns.filter(|column| *column < inputs).collect()])
    }
}
