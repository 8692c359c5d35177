//! The sides of joins whose table is asked for rows by key: which they are, by which columns, and
//! what is done to the rows that are found.

use std::sync::Arc;

use arrow::datatypes::{DataType, Schema};
use datafusion::catalog::TableProvider;
use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::datasource::source_as_provider;
use datafusion::logical_expr::{Expr, Join, LogicalPlan, TableScan};
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_expr::expressions::Column;
use weir_engine::error::{Error, Result};
use weir_engine::lookup::{Derived, Lookup, Step};

use super::tables::is_looked_up;
use super::{Lowering, Sources, refuse};
use crate::catalog::source::SourceTable;
use crate::plan::Planner;
use crate::plan::lookup::as_lookup;

/// The right side of a join, which is asked by key.
#[derive(Debug, Clone)]
pub(super) struct Asked {
    side: Arc<LogicalPlan>,
    /// Gives the rows of the side.
    pub(super) lookup: Arc<dyn Lookup>,
    /// How each pair of the join's keys is asked; `None` is compared afterwards.
    pub(super) keys: Vec<Option<Key>>,
}

/// A column that the table is asked by.
#[derive(Debug, Clone)]
pub(super) struct Key {
    /// The column, in the names of the side.
    pub(super) column: Expr,
    /// Its type, where the join compares it as another one that holds all of its values.
    pub(super) narrower: Option<DataType>,
    /// The column of the source.
    of_source: usize,
}

/// The table at the bottom of a side, with what stands above it, from the bottom.
struct Chain<'a> {
    provider: Arc<dyn TableProvider>,
    scan: &'a TableScan,
    above: Vec<&'a LogicalPlan>,
}

impl<'a> Chain<'a> {
    /// The chain of a side that is looked up in a table that can be asked by key.
    fn of(side: &'a LogicalPlan) -> Option<Self> {
        if !is_looked_up(side) {
            return None;
        }
        let (mut at, mut above) = (side, Vec::new());
        let scan = loop {
            let next = match at {
                LogicalPlan::Projection(projection) => &*projection.input,
                LogicalPlan::Filter(filter) => &*filter.input,
                LogicalPlan::SubqueryAlias(alias) => &*alias.input,
                LogicalPlan::TableScan(scan) => break scan,
                other => as_lookup(other)?.input(),
            };
            above.insert(0, at);
            at = next;
        };
        let provider = source_as_provider(&scan.source).ok()?;
        provider
            .downcast_ref::<SourceTable>()?
            .has_lookup()
            .then_some(())?;
        Some(Self {
            provider,
            scan,
            above,
        })
    }

    fn table(&self) -> Result<&SourceTable> {
        let table = self.provider.downcast_ref::<SourceTable>();
        table.ok_or_else(|| Error::internal("a table that is looked up is no source"))
    }

    /// The columns of the table that are read.
    fn projection(&self) -> Result<Vec<usize>> {
        let columns = self.table()?.columns().len();
        Ok(match &self.scan.projection {
            Some(projection) => projection.clone(),
            None => (0..columns).collect(),
        })
    }

    /// The column of the source that a column of the side is, if it is one as it stands.
    fn column_of_source(&self, side: &LogicalPlan, column: &Expr) -> Option<usize> {
        let Expr::Column(column) = column else {
            return None;
        };
        let mut at = side.schema().maybe_index_of_column(column)?;
        for plan in self.above.iter().rev() {
            if let LogicalPlan::Projection(projection) = plan {
                let mut expr = projection.expr.get(at)?;
                while let Expr::Alias(alias) = expr {
                    expr = &alias.expr;
                }
                let Expr::Column(below) = expr else {
                    return None;
                };
                at = projection.input.schema().maybe_index_of_column(below)?;
            }
        }
        let of_table = *self.projection().ok()?.get(at)?;
        let column = self.table().ok()?.columns().get(of_table)?;
        let read = column.expr.downcast_ref::<Column>()?;
        Some(read.index())
    }

    fn key(&self, side: &LogicalPlan, right: &Expr) -> Option<Key> {
        let (column, narrower) = match right {
            Expr::Cast(cast) => {
                let (_, field) = match &*cast.expr {
                    Expr::Column(column) => {
                        side.schema().qualified_field_from_column(column).ok()?
                    }
                    _ => return None,
                };
                let own = field.data_type();
                let lossless = holds(cast.field.data_type(), own);
                (&*cast.expr, lossless.then(|| Some(own.clone()))?)
            }
            other => (other, None),
        };
        Some(Key {
            of_source: self.column_of_source(side, column)?,
            column: column.clone(),
            narrower,
        })
    }

    /// What is done to the rows of the source to make those of the side.
    fn steps(
        &self,
        columns: Vec<(Arc<dyn PhysicalExpr>, arrow::datatypes::FieldRef)>,
        planner: &Planner,
    ) -> Result<Vec<Step>> {
        let (columns, fields): (Vec<_>, Vec<_>) = columns.into_iter().unzip();
        let mut steps = vec![Step::Project(columns, Arc::new(Schema::new(fields)))];
        for plan in &self.above {
            match plan {
                LogicalPlan::Filter(filter) => {
                    let schema = filter.input.schema();
                    steps.push(Step::Filter(
                        planner.physical_expr(&filter.predicate, schema)?,
                    ));
                }
                LogicalPlan::Projection(projection) => {
                    let schema = projection.input.schema();
                    let computed = projection.expr.iter();
                    let computed = computed.map(|expr| planner.physical_expr(expr, schema));
                    let made = Arc::clone(projection.schema.inner());
                    steps.push(Step::Project(computed.collect::<Result<_>>()?, made));
                }
                _ => {}
            }
        }
        Ok(steps)
    }
}

/// Whether a type has all values of another one, each as one value.
fn holds(wide: &DataType, narrow: &DataType) -> bool {
    use DataType as D;
    let digits = |of: &DataType| match of {
        D::Int8 | D::UInt8 => Some((3, 0)),
        D::Int16 | D::UInt16 => Some((5, 0)),
        D::Int32 | D::UInt32 => Some((10, 0)),
        D::Int64 | D::UInt64 => Some((20, 0)),
        D::Decimal128(p, s) | D::Decimal256(p, s) => {
            Some((i16::from(*p) - i16::from(*s), i16::from(*s)))
        }
        _ => None,
    };
    match (wide, narrow) {
        (D::Float64, D::Float32) | (D::Timestamp(..), D::Date32) => true,
        (D::Utf8 | D::LargeUtf8 | D::Utf8View, D::Utf8 | D::LargeUtf8 | D::Utf8View) => true,
        (wide, narrow) if wide.is_integer() && narrow.is_integer() => {
            let same_sign = wide.is_signed_integer() == narrow.is_signed_integer();
            let wider = wide.primitive_width() > narrow.primitive_width();
            (same_sign || wide.is_signed_integer()) && wider
        }
        (wide, narrow) => match (digits(wide), digits(narrow)) {
            (Some(wide), Some(narrow)) => wide.0 >= narrow.0 && wide.1 >= narrow.1,
            _ => false,
        },
    }
}

/// Makes what a join asks, if its right side is asked by key.
pub(super) async fn asked(
    join: &Join,
    sources: &Sources,
    planner: &Planner,
) -> Result<Option<Asked>> {
    if Chain::of(&join.left).is_some() {
        return Err(refuse::lookup_alone());
    }
    let Some(chain) = Chain::of(&join.right) else {
        return Ok(None);
    };
    let table = chain.table()?;
    let keys = join.on.iter();
    let keys: Vec<_> = keys
        .map(|(_, right)| chain.key(&join.right, right))
        .collect();
    if keys.iter().all(Option::is_none) {
        return Err(refuse::no_lookup_key(table.name()));
    }
    let source = sources.get(table.name());
    let source = source.ok_or_else(|| Error::internal("a source was not made"))?;
    let scan = table.scan(Arc::clone(source), &chain.projection()?, (false, true))?;
    let by = keys.iter().flatten().map(|key| key.of_source).collect();
    let lookup = table.lookup(by, scan.projection).await?;
    let steps = chain.steps(scan.columns, planner)?;
    Ok(Some(Asked {
        side: Arc::clone(&join.right),
        lookup: Arc::new(Derived::new(lookup, steps)),
        keys,
    }))
}

/// Whether a plan has lookups by key, and is made of nothing else that keeps rows: in batch it gives
/// the same rows as a stream then, and need not read the tables whole.
pub(super) fn asks_only(plan: &LogicalPlan) -> Result<bool> {
    let (mut asks, mut only) = (false, true);
    plan.apply_with_subqueries(|node| {
        match node {
            LogicalPlan::Join(join) => match Chain::of(&join.right) {
                Some(_) => asks = true,
                None => only = false,
            },
            LogicalPlan::Projection(_)
            | LogicalPlan::Filter(_)
            | LogicalPlan::SubqueryAlias(_)
            | LogicalPlan::TableScan(_)
            | LogicalPlan::Union(_) => {}
            other => only &= as_lookup(other).is_some(),
        }
        Ok(TreeNodeRecursion::Continue)
    })?;
    Ok(asks && only)
}

impl Lowering<'_> {
    /// What is asked for the rows of a side of a join, if it is asked by key.
    pub(super) fn asked(&self, side: &Arc<LogicalPlan>) -> Option<Asked> {
        let mut asked = self.asked.iter();
        asked.find(|asked| Arc::ptr_eq(&asked.side, side)).cloned()
    }
}
