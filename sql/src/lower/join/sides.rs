//! What is known of a join and its two sides before the operator is chosen. Nothing is lowered here.

use std::sync::Arc;

use arrow::datatypes::FieldRef;
use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::common::{DFSchema, DFSchemaRef, DataFusionError};
use datafusion::logical_expr::{Expr, ExprSchemable, Join};
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_expr::expressions::Column;
use weir_engine::error::{Error, Result};
use weir_engine::join::JoinKind;

use crate::lower::aggregate::later;
use crate::lower::bounds::{Bounds, Time, Times};
use crate::lower::flow::{Flow, Role, Windows};
use crate::lower::stateless::node_column;

/// A key of a pair: an expression over each side.
type Key = (Arc<dyn PhysicalExpr>, Arc<dyn PhysicalExpr>);

/// A join whose sides are lowered, in the order of the operator's inputs.
pub(super) struct Sides<'a> {
    pub(super) join: &'a Join,
    pub(super) kind: JoinKind,
    pub(super) flows: [Flow; 2],
    /// What the plan calls the columns of the sides.
    pub(super) schemas: [DFSchemaRef; 2],
    /// The plan's right side comes first: operators keep rows of their left input alone.
    pub(super) mirrored: bool,
    pub(super) on: Vec<Key>,
    /// What must be true of a pair besides.
    pub(super) conditions: Vec<Expr>,
}

/// Whether a key of a side of a join may be null.
pub(super) fn may_be_null(join: &Join) -> Result<bool> {
    for (left, right) in &join.on {
        if left.nullable(join.left.schema())? || right.nullable(join.right.schema())? {
            return Ok(true);
        }
    }
    Ok(false)
}

impl Sides<'_> {
    /// The columns of both sides as the plan calls them.
    pub(super) fn both(&self) -> Result<DFSchema> {
        let [left, right] = &self.schemas;
        Ok(left.join(right)?)
    }

    /// Columns of both sides, counted through: a side's node may have more columns than the plan.
    fn node_index(&self, column: usize) -> usize {
        let [left, _] = &self.schemas;
        let [flow, _] = &self.flows;
        match column.checked_sub(left.fields().len()) {
            Some(right) => flow.width() + right,
            None => column,
        }
    }

    /// Moves an expression from the plan's columns to those of the nodes.
    pub(super) fn place(&self, expr: Arc<dyn PhysicalExpr>) -> Result<Arc<dyn PhysicalExpr>> {
        let moved = expr.transform_up(|part| {
            let Some(column) = part.downcast_ref::<Column>() else {
                return Ok(Transformed::no(part));
            };
            let column = Column::new(column.name(), self.node_index(column.index()));
            Ok::<_, DataFusionError>(Transformed::yes(Arc::new(column)))
        })?;
        Ok(moved.data)
    }

    /// The columns that come out, of those of the nodes, in the plan's order.
    pub(super) fn output(&self) -> Vec<usize> {
        let [first, second] = self.schemas.each_ref().map(|schema| schema.fields().len());
        let plan: Vec<usize> = match (self.kind, self.mirrored) {
            (JoinKind::LeftSemi | JoinKind::LeftAnti, _) => (0..first).collect(),
            (_, false) => (0..first + second).collect(),
            (_, true) => (first..first + second).chain(0..first).collect(),
        };
        plan.into_iter().map(|at| self.node_index(at)).collect()
    }

    /// The side and the field of a column of the nodes.
    pub(super) fn column(&self, column: usize) -> Result<(usize, FieldRef)> {
        let [left, right] = &self.flows;
        let (side, flow, at) = match column.checked_sub(left.width()) {
            Some(at) => (1, right, at),
            None => (0, left, column),
        };
        let field = flow.schema.fields().get(at).map(Arc::clone);
        let field = field.ok_or_else(|| Error::internal("a join has no such column"))?;
        Ok((side, field))
    }

    /// What the columns that come out mean. A column that may be NULL for a side without a match
    /// means nothing.
    pub(super) fn roles(&self, keep: impl Fn(usize, Role) -> Role) -> Vec<Role> {
        let [left, right] = &self.flows;
        let alone = |side: usize| match side {
            0 => matches!(self.kind, JoinKind::Right | JoinKind::Full),
            _ => matches!(self.kind, JoinKind::Left | JoinKind::Full),
        };
        let output = self.output().into_iter();
        output
            .map(|column| {
                let (side, role) = match column.checked_sub(left.width()) {
                    Some(at) => (1, right.node_role(at)),
                    None => (0, left.node_role(column)),
                };
                match alone(side) {
                    true => Role::Plain,
                    false => keep(side, role),
                }
            })
            .collect()
    }

    /// The windows of each side, if both are in windows of one kind whose start or end must be the
    /// same for a pair.
    pub(super) fn same_windows(&self) -> Option<[Windows; 2]> {
        let [left, right] = &self.flows;
        let roles = |(l, r): &Key| {
            let (l, r) = (l.downcast_ref::<Column>()?, r.downcast_ref::<Column>()?);
            Some((left.node_role(l.index()), right.node_role(r.index())))
        };
        let equal: Vec<(Role, Role)> = self.on.iter().filter_map(roles).collect();
        let mut windows = equal.iter().filter_map(|roles| match roles {
            (Role::Start(l), Role::Start(r)) | (Role::End(l), Role::End(r)) => Some([*l, *r]),
            _ => None,
        });
        windows.find(|[l, r]| {
            let starts = equal.contains(&(Role::Start(*l), Role::Start(*r)));
            let ends = equal.contains(&(Role::End(*l), Role::End(*r)));
            // Where all windows are of one length, the start tells the end.
            l.kind == r.kind && ((starts && ends) || ((starts || ends) && l.length().is_some()))
        })
    }

    /// How far apart the times of a pair may be, and the conditions that say more.
    pub(super) fn bounds(&self) -> Result<Option<(Bounds, Vec<Expr>)>> {
        let schema = self.both()?;
        let left = self
            .schemas
            .first()
            .map_or(0, |schema| schema.fields().len());
        let mut times = Vec::new();
        for (flow, first) in self.flows.iter().zip([0, left]) {
            times.extend(follow_watermark(flow).map(|time| Time {
                column: time.column + first,
                base: time.base + first,
                ..time
            }));
        }
        let times = Times {
            schema: &schema,
            left,
            times: &times,
        };
        let equal = self.on.iter().filter_map(|(l, r)| {
            let (l, r) = (l.downcast_ref::<Column>()?, r.downcast_ref::<Column>()?);
            Some((l.index(), r.index() + left))
        });
        Ok(times.bounds(&equal.collect::<Vec<_>>(), &self.conditions))
    }

    /// The times that bounds are said of, as expressions over each side. The start of a window comes
    /// as its end, which is when the window's rows come.
    pub(super) fn times_of(&self, bounds: Bounds) -> Result<([Arc<dyn PhysicalExpr>; 2], Bounds)> {
        let [left, right] = &self.flows;
        let first = self
            .schemas
            .first()
            .map_or(0, |schema| schema.fields().len());
        let (left, left_more) = time(left, bounds.left)?;
        let (right, right_more) = time(right, bounds.right.saturating_sub(first))?;
        let more = left_more.saturating_sub(right_more);
        let bounds = Bounds {
            lower: bounds.lower.saturating_add(more),
            upper: bounds.upper.saturating_add(more),
            ..bounds
        };
        Ok(([left, right], bounds))
    }

    /// The columns of the result that tell its rows apart and by which its changes are in order:
    /// those of both sides, and the keys of the join, by which rows are spread.
    pub(super) fn key(&self) -> Option<Vec<usize>> {
        let [left, right] = &self.flows;
        let columns = |side: usize| -> Option<Vec<usize>> {
            let keys = self.on.iter().map(|(l, r)| if side == 0 { l } else { r });
            keys.map(|key| Some(key.downcast_ref::<Column>()?.index()))
                .collect()
        };
        let changes = self.flows.iter().any(Flow::is_changelog);
        let spread = |side: usize| match changes && !self.on.is_empty() {
            true => columns(side),
            false => Some(Vec::new()),
        };
        let mut wanted = left.key.clone()?;
        wanted.extend(spread(0)?);
        let one = |side: &Flow, at: usize| {
            let equal = columns(at).unwrap_or_default();
            let key = side.key.as_ref();
            key.is_some_and(|key| key.iter().all(|column| equal.contains(column)))
        };
        let single = matches!(self.kind, JoinKind::Inner | JoinKind::Left) && one(right, 1);
        if !matches!(self.kind, JoinKind::LeftSemi | JoinKind::LeftAnti) && !single {
            let mut more = right.key.clone()?;
            more.extend(spread(1)?);
            wanted.extend(more.into_iter().map(|column| column + left.width()));
        }
        wanted.sort_unstable();
        wanted.dedup();
        let output = self.output();
        let place = |column: &usize| output.iter().position(|other| other == column);
        wanted.iter().map(place).collect()
    }
}

/// The columns of a side that no later row is behind once the watermark has passed.
fn follow_watermark(flow: &Flow) -> impl Iterator<Item = Time> + '_ {
    (0..flow.width()).filter_map(|column| {
        let (base, more) = match flow.node_role(column) {
            Role::EventTime | Role::End(_) => (column, 0),
            Role::Start(windows) => {
                let end = Role::End(windows);
                let end = flow.roles.iter().position(|role| *role == end);
                match end {
                    Some(end) => (end, windows.length()?.checked_neg()?),
                    None => (column, windows.length().map(|_| 0)?),
                }
            }
            Role::Plain | Role::Clock => return None,
        };
        Some(Time { column, base, more })
    })
}

/// A time as an expression over its side, and the microseconds by which it is later than the column.
fn time(flow: &Flow, column: usize) -> Result<(Arc<dyn PhysicalExpr>, i64)> {
    let expr = node_column(flow, column);
    let Role::Start(windows) = flow.node_role(column) else {
        return Ok((expr, 0));
    };
    let length = windows.length();
    let length = length.ok_or_else(|| Error::internal("a window has no fixed length"))?;
    Ok((later(expr, length)?, length))
}
