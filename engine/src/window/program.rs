//! A window aggregation, checked and laid out: which columns are computed, and where keys,
//! arguments and states are in them. Immutable, shared by all subtasks of a node.

use std::ops::Range;
use std::sync::Arc;

use arrow::compute::SortOptions;
use arrow::datatypes::{DataType, Field, FieldRef, Schema, SchemaRef, TimeUnit};
use datafusion_expr::GroupsAccumulator;
use datafusion_physical_expr::aggregate::AggregateFunctionExpr;
use datafusion_physical_expr::expressions::Column;
use datafusion_physical_expr::{GroupsAccumulatorAdapter, PhysicalExpr};

use super::aggregate::{
    AggregateSpec, Assign, OutputColumn, Phase, keeps_rows, needs_single_phase,
};
use super::emit::Firing;
use super::fingerprint::fingerprint;
use super::spec::{WindowKind, WindowSpec};
use super::{session, times, updates};
use crate::changelog::changelog_schema;
use crate::error::{Error, Kind, Result, codes};

/// One aggregate and where its columns are.
#[derive(Debug)]
pub(super) struct Aggregate {
    pub(super) expr: Arc<AggregateFunctionExpr>,
    /// Arguments, then the ORDER BY columns, among the computed columns.
    pub(super) args: Vec<usize>,
    /// FILTER's column among the computed columns.
    pub(super) filter: Option<usize>,
    /// The order in which rows must be fed, for an aggregate that cannot order them itself.
    pub(super) sort: Vec<(usize, SortOptions)>,
    /// The columns of its state in a part.
    pub(super) states: Range<usize>,
}

impl Aggregate {
    /// Fails when the function does not take its arguments' types: better when the job is planned
    /// than at the first row.
    fn check(&self) -> Result<()> {
        if self.expr.groups_accumulator_supported() {
            self.expr.create_groups_accumulator()?;
        } else {
            self.expr.create_accumulator()?;
        }
        Ok(())
    }

    /// Makes empty state for any number of groups.
    pub(super) fn accumulator(&self) -> Result<Box<dyn GroupsAccumulator>> {
        if self.expr.groups_accumulator_supported() {
            return Ok(self.expr.create_groups_accumulator()?);
        }
        let expr = Arc::clone(&self.expr);
        Ok(Box::new(GroupsAccumulatorAdapter::new(move || {
            expr.create_accumulator()
        })))
    }
}

/// What all operators of a node share.
#[derive(Debug)]
pub(super) struct Program {
    pub(super) phase: Phase,
    /// How this phase's input finds its panes.
    pub(super) assign: Assign,
    /// The expressions to compute from the input, each once; none for [`Phase::Final`].
    pub(super) exprs: Vec<Arc<dyn PhysicalExpr>>,
    /// The keys among the computed columns.
    pub(super) keys: Vec<usize>,
    pub(super) key_schema: SchemaRef,
    pub(super) aggregates: Vec<Aggregate>,
    /// Rows are kept and sorted when the window closes.
    pub(super) sorted: bool,
    /// The columns of a part: keys and states, or all computed columns where rows are kept.
    pub(super) part_fields: Vec<FieldRef>,
    /// What the local phase gives: columns that name the pane, then those of a part.
    local_schema: SchemaRef,
    pub(super) output: Vec<OutputColumn>,
    /// The columns of results, without the kind of a changelog's rows.
    pub(super) rows: SchemaRef,
    schema: SchemaRef,
    /// The results of each aggregate.
    pub(super) result_fields: Vec<FieldRef>,
    pub(super) firing: Firing,
    pub(super) sources: Arc<str>,
    fingerprint: Option<String>,
}

impl Program {
    pub(super) fn try_new(spec: AggregateSpec, phase: Phase) -> Result<Self> {
        let sorted = keeps_rows(&spec);
        if needs_single_phase(&spec) && phase != Phase::Single {
            return Err(Error::internal(
                "an ordered aggregate or a session was planned in two phases",
            ));
        }
        check_output(&spec)?;
        check_assign(&spec)?;
        let fingerprint = fingerprint(&spec, phase)?;
        let mut exprs = Distinct::default();
        let keys: Vec<usize> = spec.keys.iter().map(|(key, _)| exprs.add(key)).collect();
        let key_fields = key_fields(&spec)?;
        let mut part_fields = key_fields.clone();
        let mut aggregates = Vec::with_capacity(spec.aggregates.len());
        for (i, expr) in spec.aggregates.iter().enumerate() {
            let first = part_fields.len();
            for field in expr.state_fields()? {
                part_fields.push(Arc::new(field.as_ref().clone().with_nullable(true)));
            }
            aggregates.push(lay_out(
                expr,
                spec.filters.get(i).cloned().flatten(),
                first..part_fields.len(),
                &mut exprs,
            ));
        }
        aggregates.iter().try_for_each(Aggregate::check)?;
        let result_fields: Vec<_> = spec.aggregates.iter().map(|a| a.field()).collect();
        updates::check(spec.firing, &[&key_fields[..], &result_fields].concat())?;
        let mut exprs = exprs.exprs;
        if sorted {
            part_fields = computed_fields(&exprs, &spec.input)?;
        }
        let mut local_fields = id_fields(spec.assign);
        let assign = if phase == Phase::Final {
            exprs.clear();
            assign_of_states(spec.assign)
        } else {
            spec.assign
        };
        local_fields.extend(part_fields.iter().map(Arc::clone));
        Ok(Self {
            phase,
            assign,
            exprs,
            keys: if phase == Phase::Final {
                (0..spec.keys.len()).collect()
            } else {
                keys
            },
            key_schema: Arc::new(Schema::new(key_fields)),
            aggregates,
            sorted,
            part_fields,
            local_schema: Arc::new(Schema::new(local_fields)),
            output: spec.output,
            schema: if spec.firing.is_updating() {
                changelog_schema(&spec.schema)
            } else {
                Arc::clone(&spec.schema)
            },
            rows: spec.schema,
            result_fields,
            firing: spec.firing,
            sources: spec.sources,
            fingerprint,
        })
    }

    /// The schema of what this phase gives.
    pub(super) fn schema(&self) -> SchemaRef {
        Arc::clone(if self.phase == Phase::Local {
            &self.local_schema
        } else {
            &self.schema
        })
    }

    /// What the state is of. Rows to results and states to results keep the same state, so that a
    /// job can go from one subtask to several.
    pub(super) fn fingerprint(&self) -> Option<String> {
        self.fingerprint.clone()
    }

    /// Where the keys are among the columns of a part.
    pub(super) fn part_keys(&self) -> Vec<usize> {
        if self.sorted {
            self.keys.clone()
        } else {
            (0..self.keys.len()).collect()
        }
    }

    /// The columns of a local batch that name the pane.
    pub(super) fn ids(&self) -> usize {
        self.local_schema.fields().len() - self.part_fields.len()
    }

    pub(super) fn shuffle_keys(&self) -> Vec<Arc<dyn PhysicalExpr>> {
        let ids = self.ids();
        let fields = self.key_schema.fields().iter().enumerate();
        fields
            .map(|(i, f)| Arc::new(Column::new(f.name(), ids + i)) as _)
            .collect()
    }

    /// The windows that are sums of several panes, if they are.
    pub(super) fn merging(&self) -> Option<WindowSpec> {
        match self.assign {
            Assign::Time { spec, .. } if self.phase != Phase::Local => {
                (!matches!(spec.kind(), WindowKind::Tumble { .. })).then_some(spec)
            }
            _ => None,
        }
    }
}

/// Expressions that are computed once per batch, however often they are used.
#[derive(Default)]
struct Distinct {
    exprs: Vec<Arc<dyn PhysicalExpr>>,
}

impl Distinct {
    fn add(&mut self, expr: &Arc<dyn PhysicalExpr>) -> usize {
        let known = self
            .exprs
            .iter()
            .position(|e| e == expr)
            .filter(|_| !is_volatile(expr));
        known.unwrap_or_else(|| {
            self.exprs.push(Arc::clone(expr));
            self.exprs.len() - 1
        })
    }
}

/// `random()` twice is two different columns.
fn is_volatile(expr: &Arc<dyn PhysicalExpr>) -> bool {
    expr.is_volatile_node() || expr.children().into_iter().any(is_volatile)
}

fn lay_out(
    expr: &Arc<AggregateFunctionExpr>,
    filter: Option<Arc<dyn PhysicalExpr>>,
    states: Range<usize>,
    exprs: &mut Distinct,
) -> Aggregate {
    let mut args: Vec<usize> = expr.expressions().iter().map(|e| exprs.add(e)).collect();
    let order: Vec<_> = expr
        .order_bys()
        .iter()
        .map(|o| (exprs.add(&o.expr), o.options))
        .collect();
    args.extend(order.iter().map(|(column, _)| *column));
    let hard = expr.order_sensitivity().hard_requires();
    Aggregate {
        expr: Arc::clone(expr),
        args,
        filter: filter.map(|f| exprs.add(&f)),
        sort: if hard { order } else { Vec::new() },
        states,
    }
}

/// The keys as columns.
pub(super) fn key_fields(spec: &AggregateSpec) -> Result<Vec<FieldRef>> {
    let field = |(key, name): &(Arc<dyn PhysicalExpr>, String)| {
        Ok(Arc::new(Field::new(
            name,
            key.data_type(&spec.input)?,
            true,
        )))
    };
    spec.keys.iter().map(field).collect()
}

fn computed_fields(exprs: &[Arc<dyn PhysicalExpr>], input: &SchemaRef) -> Result<Vec<FieldRef>> {
    let field = |expr: &Arc<dyn PhysicalExpr>| {
        Ok(Arc::new(Field::new(
            expr.to_string(),
            expr.data_type(input)?,
            true,
        )))
    };
    exprs.iter().map(field).collect()
}

fn check_output(spec: &AggregateSpec) -> Result<()> {
    let fits = spec.output.iter().all(|column| match column {
        OutputColumn::Key(i) => *i < spec.keys.len(),
        OutputColumn::Aggregate(i) => *i < spec.aggregates.len(),
        OutputColumn::WindowStart | OutputColumn::WindowEnd => true,
    });
    if !fits
        || spec.output.len() != spec.schema.fields().len()
        || spec.filters.len() != spec.aggregates.len()
    {
        return Err(Error::internal(
            "a window aggregation's columns do not fit its schema",
        ));
    }
    for (column, field) in spec.output.iter().zip(spec.schema.fields()) {
        let window = matches!(column, OutputColumn::WindowStart | OutputColumn::WindowEnd);
        if window && !matches!(field.data_type(), DataType::Timestamp(..)) {
            return Err(Error::internal(format!(
                "{} is not a timestamp",
                field.name()
            )));
        }
    }
    Ok(())
}

fn check_assign(spec: &AggregateSpec) -> Result<()> {
    let (start, end) = match spec.assign {
        Assign::Time { column, .. } => return check_time(&spec.input, column),
        Assign::Session { column, gap } => return session::check(spec, column, gap),
        Assign::Columns { start, end } => (start, end),
    };
    for column in start.into_iter().chain(end) {
        check_time(&spec.input, column)?;
    }
    let needs = |column| spec.output.contains(&column);
    if (start.is_none() && end.is_none())
        || (start.is_none() && needs(OutputColumn::WindowStart))
        || (end.is_none() && needs(OutputColumn::WindowEnd))
    {
        return Err(Error::new(
            Kind::Invalid,
            codes::WINDOW,
            "the aggregation's window columns are not both in its input",
        )
        .hint("select window_start and window_end in the query that it aggregates"));
    }
    Ok(())
}

pub(super) fn check_time(input: &SchemaRef, column: usize) -> Result<()> {
    match input.fields().get(column) {
        Some(field) if times::is_time(field.data_type()) => Ok(()),
        Some(field) => Err(Error::new(
            Kind::Invalid,
            codes::WINDOW,
            format!("windows need a timestamp, \"{}\" is none", field.name()),
        )
        .detail(format!("its type is {}", field.data_type()))
        .hint("convert it with to_timestamp() or CAST(... AS TIMESTAMP)")),
        None => Err(Error::internal("the event-time column is not in the input")),
    }
}

/// What names a pane in the local phase's output: the slice's start, or the window's end and start.
fn id_fields(assign: Assign) -> Vec<FieldRef> {
    let field = |name: &str| {
        Arc::new(Field::new(
            name,
            DataType::Timestamp(TimeUnit::Microsecond, None),
            false,
        ))
    };
    match assign {
        Assign::Time { .. } => vec![field("_slice")],
        Assign::Session { .. } => Vec::new(),
        Assign::Columns { start, end } => {
            let end = end.map(|_| field("_window_end"));
            end.into_iter()
                .chain(start.map(|_| field("_window_start")))
                .collect()
        }
    }
}

/// How the final phase finds panes in the columns of [`id_fields`]. A slice's start is a time in
/// the slice, so that it is assigned as a row is.
fn assign_of_states(assign: Assign) -> Assign {
    match assign {
        Assign::Time { spec, .. } => Assign::Time { column: 0, spec },
        Assign::Session { .. } => assign,
        Assign::Columns { start, end } => Assign::Columns {
            end: end.map(|_| 0),
            start: start.map(|_| usize::from(end.is_some())),
        },
    }
}
