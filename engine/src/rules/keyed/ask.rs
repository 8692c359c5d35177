//! What a rule over keys asks, as planned.

use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;

use arrow::array::ArrayRef;
use arrow::datatypes::{Field, Schema, SchemaRef};
use datafusion_physical_expr::PhysicalExpr;
use datafusion_physical_expr::utils::{collect_columns, reassign_expr_columns};

use crate::error::Result;
use crate::rules::Reference;

/// A rule over the rows of one key.
#[derive(Debug, Clone)]
pub struct Keyed {
    /// Rows with equal keys are asked about one another; without a key all rows are.
    pub key: Vec<Arc<dyn PhysicalExpr>>,
    /// A null in the key is a value like others. Else a row with one is unknown.
    pub nulls_equal: bool,
    /// Rows are asked in the order of this time, not in that of their arrival.
    pub order: Option<Arc<dyn PhysicalExpr>>,
    /// What has to hold.
    pub ask: Ask,
}

/// What has to hold between a row and those before it that have its key.
#[derive(Debug, Clone)]
pub enum Ask {
    /// There are none.
    Unique,
    /// There is none so many microseconds or less before or after it that held to the rule.
    UniqueWithin {
        /// The event time.
        time: Arc<dyn PhysicalExpr>,
        /// How far.
        micros: i64,
    },
    /// None follows so many microseconds or less after it.
    UniqueLast(UniqueLast),
    /// These values are those of the first.
    Determines(Vec<Arc<dyn PhysicalExpr>>),
    /// The state of the last and that of the row are one of these pairs.
    Transition {
        /// The state.
        state: Arc<dyn PhysicalExpr>,
        /// The pairs, as two columns. The pairs of a null say how a key may begin; without one it may
        /// begin with any state.
        pairs: (ArrayRef, ArrayRef),
    },
    /// The value is not less than that of the last.
    Ordered {
        /// The value.
        value: Arc<dyn PhysicalExpr>,
        /// Not greater instead.
        descending: bool,
        /// And not the same.
        strictly: bool,
    },
    /// The number is that of the last and one.
    Sequential(Arc<dyn PhysicalExpr>),
    /// The range from one value up to and without the other has nothing in common with theirs. A null
    /// at its end is no end.
    Apart {
        /// Where it begins.
        from: Arc<dyn PhysicalExpr>,
        /// Where it ends.
        to: Arc<dyn PhysicalExpr>,
    },
    /// The value is not far from the last ones.
    Outliers {
        /// A double.
        value: Arc<dyn PhysicalExpr>,
        /// How many of them are remembered.
        last: usize,
        /// What is far.
        far: Far,
    },
    /// They are those of a row of another table.
    Refers(Refers),
    /// The expression of the rule, over the columns of the row and these of the last.
    Last(Vec<(String, Arc<dyn PhysicalExpr>)>),
}

/// What is far from the values before.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Far {
    /// More than so many standard deviations from the mean.
    FromMean(f64),
    /// More than so many deviations from the median, estimated by the median distance from it.
    FromMedian(f64),
    /// More than so many times the distance of the quartiles from the nearer one.
    FromQuartiles(f64),
}

impl Far {
    /// How many.
    pub(super) fn times(self) -> f64 {
        let (Self::FromMean(times) | Self::FromMedian(times) | Self::FromQuartiles(times)) = self;
        times
    }
}

impl fmt::Display for Far {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::FromMean(times) => write!(f, "{times} standard deviations"),
            Self::FromMedian(times) => write!(f, "{times} deviations by the median"),
            Self::FromQuartiles(times) => write!(f, "{times} distances of the quartiles"),
        }
    }
}

/// Which rows of a key follow one another.
#[derive(Debug, Clone)]
pub struct UniqueLast {
    /// The event time; without one rows follow in the order in which they arrive.
    pub time: Option<Arc<dyn PhysicalExpr>>,
    /// How far; `None` if however far.
    pub micros: Option<i64>,
}

/// What a row refers to, which it may have to wait for.
#[derive(Debug, Clone)]
pub struct Refers {
    /// The other table.
    pub reference: Arc<Reference>,
    /// How long a row waits for a key that has not come, in microseconds.
    pub grace: i64,
    /// The event time of the row, if it has one.
    pub time: Option<Arc<dyn PhysicalExpr>>,
}

impl Ask {
    /// The values that it looks at, beside the key.
    pub(super) fn values(&self) -> Vec<&Arc<dyn PhysicalExpr>> {
        match self {
            Self::Unique => Vec::new(),
            Self::UniqueWithin { time, .. } => vec![time],
            Self::Determines(values) => values.iter().collect(),
            Self::Transition { state, .. } => vec![state],
            Self::Ordered { value, .. } | Self::Sequential(value) => vec![value],
            Self::Outliers { value, .. } => vec![value],
            Self::Apart { from, to } => vec![from, to],
            Self::UniqueLast(last) => last.time.iter().collect(),
            Self::Refers(refers) => refers.time.iter().collect(),
            Self::Last(columns) => columns.iter().map(|(_, expr)| expr).collect(),
        }
    }

    /// How many of the values, from the first, must not be null for an answer.
    pub(super) fn needs(&self) -> usize {
        match self {
            Self::Apart { .. } => 1,
            Self::Refers(_) | Self::Last(_) => 0,
            other => other.values().len(),
        }
    }

    /// What names the state: rules of the same go on with it, whatever they make of it.
    pub(super) fn fingerprint(&self, schema: &Schema) -> Result<String> {
        let values: Vec<_> = self.values().into_iter().cloned().collect();
        let types = values.iter().map(|value| value.data_type(schema));
        let types = types.collect::<std::result::Result<Vec<_>, _>>()?;
        let kind = match self {
            Self::Unique => "seen",
            Self::UniqueWithin { .. } => "times",
            Self::Determines(_) => "first",
            Self::Apart { .. } => "ranges",
            Self::Outliers { .. } => "values",
            Self::UniqueLast(_) => "rows that may not be the last",
            Self::Refers(_) => "keys of the other table",
            Self::Transition { .. }
            | Self::Ordered { .. }
            | Self::Sequential(_)
            | Self::Last(_) => "last",
        };
        Ok(format!("{kind} {} of {types:?}", names(&values)))
    }

    fn values_mut(&mut self) -> Vec<&mut Arc<dyn PhysicalExpr>> {
        match self {
            Self::Unique => Vec::new(),
            Self::UniqueWithin { time, .. } => vec![time],
            Self::Determines(values) => values.iter_mut().collect(),
            Self::Transition { state, .. } => vec![state],
            Self::Ordered { value, .. } | Self::Sequential(value) => vec![value],
            Self::Outliers { value, .. } => vec![value],
            Self::Apart { from, to } => vec![from, to],
            Self::UniqueLast(last) => last.time.iter_mut().collect(),
            Self::Refers(refers) => refers.time.iter_mut().collect(),
            Self::Last(columns) => columns.iter_mut().map(|(_, expr)| expr).collect(),
        }
    }
}

impl Keyed {
    /// The names of the columns that it looks at.
    pub(in crate::rules) fn observed(&self) -> BTreeSet<String> {
        let all = self.key.iter().chain(self.ask.values()).chain(&self.order);
        all.flat_map(collect_columns)
            .map(|column| column.name().to_owned())
            .collect()
    }

    /// Whether a column of this name is one of the last row.
    pub(in crate::rules) fn is_last(&self, name: &str) -> bool {
        matches!(&self.ask, Ask::Last(columns) if columns.iter().any(|(last, _)| last == name))
    }

    /// The same over rows that have the columns in other places.
    pub(in crate::rules) fn over(&self, schema: &Schema) -> Result<Self> {
        let mut moved = self.clone();
        let all = moved.key.iter_mut().chain(moved.ask.values_mut());
        for expr in all.chain(&mut moved.order) {
            *expr = reassign_expr_columns(Arc::clone(expr), schema)?;
        }
        Ok(moved)
    }

    /// The columns over which the expression of the rule is computed: those of the row, and behind
    /// them those of the last.
    pub(in crate::rules) fn extended(&self, schema: &Schema) -> Result<SchemaRef> {
        let mut fields: Vec<_> = schema.fields().iter().map(Arc::clone).collect();
        if let Ask::Last(columns) = &self.ask {
            for (name, expr) in columns {
                let field = Field::new(name, expr.data_type(schema)?, true);
                fields.push(Arc::new(field));
            }
        }
        Ok(Arc::new(Schema::new(fields)))
    }
}

impl fmt::Display for Keyed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let key: Vec<&Arc<dyn PhysicalExpr>> = self.key.iter().collect();
        let values = list(&self.ask.values());
        match &self.ask {
            Ask::Unique => write!(f, "unique ({})", list(&key)),
            Ask::UniqueWithin { micros, .. } => {
                write!(f, "unique ({}) within {micros} us of {values}", list(&key))
            }
            Ask::UniqueLast(last) => {
                write!(f, "last of ({})", list(&key))?;
                match last.micros {
                    Some(micros) => write!(f, " within {micros} us of {values}"),
                    None if values.is_empty() => Ok(()),
                    None => write!(f, " by {values}"),
                }
            }
            Ask::Determines(_) => write!(f, "({}) determines ({values})", list(&key)),
            Ask::Transition { pairs, .. } => {
                write!(f, "transition ({values}) in {} pairs", pairs.0.len())
            }
            Ask::Ordered {
                descending,
                strictly,
                ..
            } => {
                let word = if *descending {
                    "decreasing"
                } else {
                    "increasing"
                };
                let strictly = if *strictly { " strictly" } else { "" };
                write!(f, "{word}{strictly} ({values})")
            }
            Ask::Sequential(_) => write!(f, "sequential ({values})"),
            Ask::Apart { .. } => write!(f, "no overlap ({values})"),
            Ask::Outliers { last, far, .. } => {
                write!(f, "no outliers ({values}) beyond {far} of the last {last}")
            }
            Ask::Refers(refers) => {
                let (key, name, grace) = (list(&key), refers.reference.name(), refers.grace);
                write!(f, "({key}) references {name} grace {grace} us")
            }
            Ask::Last(_) => write!(f, "with the last ({values})"),
        }?;
        let names_key = matches!(
            self.ask,
            Ask::Unique
                | Ask::UniqueWithin { .. }
                | Ask::UniqueLast(_)
                | Ask::Determines(_)
                | Ask::Refers(_)
        );
        if !names_key && !key.is_empty() {
            write!(f, " per ({})", list(&key))?;
        }
        match &self.order {
            Some(order) => write!(f, " order by {order}"),
            None => Ok(()),
        }
    }
}

fn list(exprs: &[&Arc<dyn PhysicalExpr>]) -> String {
    let all: Vec<String> = exprs.iter().map(ToString::to_string).collect();
    all.join(", ")
}

/// The names of the columns of expressions.
pub(super) fn names(exprs: &[Arc<dyn PhysicalExpr>]) -> String {
    let columns = exprs.iter().flat_map(|expr| {
        let columns: BTreeSet<_> = collect_columns(expr)
            .into_iter()
            .map(|c| c.name().to_owned())
            .collect();
        columns
    });
    columns.collect::<Vec<_>>().join(",")
}
