//! Plans rules over keys: their columns are found, their types compared, and what they need of the
//! order of rows is there.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use arrow::array::{Array, ArrayRef, RecordBatch, RecordBatchOptions};
use arrow::compute::{CastOptions, can_cast_types, cast_with_options, concat};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use datafusion::common::{DFSchema, ScalarValue};
use datafusion::logical_expr::{Expr, lit, try_cast};
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_expr::expressions::{Column, Literal};
use datafusion::sql::sqlparser::ast::Expr as SqlExpr;
use weir_engine::error::{Error, Kind, Place, Result, codes};
use weir_engine::options::unknown;
use weir_engine::rules::keyed::{Ask, Keyed};

use super::lag::lags;
use super::planning::{Arrival, Ruled};
use crate::ast::{self, Asks, Constraint, Name};
use crate::plan::Planner;

/// A rule over keys as planned.
pub(super) struct PlannedKeyed {
    /// As compiled.
    pub(super) keyed: Keyed,
    /// What has to be true, where it is an expression over the row before too.
    pub(super) expect: Expr,
    /// The same, compiled.
    pub(super) compiled: Arc<dyn PhysicalExpr>,
}

/// Plans what a rule asks of the rows of a key.
pub(super) fn plan(
    planner: &Planner,
    ruled: &Ruled<'_>,
    constraint: &Constraint,
    keyed: &ast::Keyed,
) -> Result<PlannedKeyed> {
    let planning = Planning {
        planner,
        ruled,
        place: constraint.place,
    };
    if matches!(ruled.arrival, Arrival::Changes) {
        return Err(planning.refuse(
            &format!("the rows of \"{}\" change", ruled.table),
            "a rule over keys counts rows as they come, and can't take one back",
            "put the rule on a source whose rows are only added",
        ));
    }
    let order = keyed.order.as_ref().map(|name| planning.order(name));
    let order = order.transpose()?;
    let per = planning.columns(&constraint.per)?;
    if let Asks::Last(expr) = &keyed.asks {
        return planning.with_last(expr, (per, order));
    }
    let (key, ask) = planning.ask(keyed, per, order.as_ref())?;
    let empty = DFSchema::empty();
    Ok(PlannedKeyed {
        keyed: Keyed {
            nulls_equal: matches!(&keyed.asks, Asks::Unique { columns, .. } if columns.is_empty()),
            key,
            // The last row is found by its own time.
            order: order.filter(|_| !matches!(ask, Ask::UniqueLast(_))),
            ask,
        },
        expect: lit(true),
        compiled: planner.compile(lit(true), &empty)?,
    })
}

pub(super) type Column1 = Arc<dyn PhysicalExpr>;

/// The planning of one rule.
pub(super) struct Planning<'a> {
    pub(super) planner: &'a Planner,
    pub(super) ruled: &'a Ruled<'a>,
    pub(super) place: Place,
}

impl Planning<'_> {
    /// The key and what is asked, for all rules but those with an expression.
    fn ask(
        &self,
        keyed: &ast::Keyed,
        per: Vec<Column1>,
        order: Option<&Column1>,
    ) -> Result<(Vec<Column1>, Ask)> {
        let with_per = |columns: Vec<Column1>| per.iter().cloned().chain(columns).collect();
        Ok(match &keyed.asks {
            Asks::Unique {
                columns,
                within,
                keep_last,
            } => {
                let key = match columns.as_slice() {
                    [] => self.all(),
                    columns => with_per(self.columns(columns)?),
                };
                let ask = match keep_last {
                    true => self.keeps_last(*within, order),
                    false => self.keeps_first(*within, order),
                };
                (key, ask?)
            }
            Asks::Determines { from, to } => {
                let key = with_per(self.columns(from)?);
                (key, Ask::Determines(self.columns(to)?))
            }
            Asks::Transition { state, pairs } => {
                let column = self.column(state)?;
                let data_type = self.type_of(&column)?;
                let pairs = self.pairs(pairs, &data_type)?;
                let state = column;
                (per, Ask::Transition { state, pairs })
            }
            Asks::Ordered {
                column,
                descending,
                strictly,
            } => {
                let value = self.column(column)?;
                self.check_ordered(column, &value)?;
                let (descending, strictly) = (*descending, *strictly);
                (
                    per,
                    Ask::Ordered {
                        value,
                        descending,
                        strictly,
                    },
                )
            }
            Asks::Sequential(column) => (per, Ask::Sequential(self.whole(column)?)),
            Asks::References {
                columns,
                table,
                to,
                grace,
            } => self.refers(columns, (table, to), *grace)?,
            Asks::Apart { from, to } => (per, self.apart(from, to)?),
            Asks::Outliers { column, far, last } => {
                let how = (*last, *far);
                (
                    per,
                    super::outliers::ask(self.planner, self.ruled, column, how)?,
                )
            }
            Asks::Last(_) => {
                return Err(Error::internal(
                    "a rule with an expression asks nothing else",
                ));
            }
        })
    }

    /// No row with the key, or none so near in time, was there.
    fn keeps_first(&self, within: Option<Duration>, order: Option<&Column1>) -> Result<Ask> {
        let Some(within) = within else {
            return Ok(Ask::Unique);
        };
        let micros = i64::try_from(within.as_micros()).unwrap_or(i64::MAX);
        let time = match order {
            Some(order) => Arc::clone(order),
            None => self.event_time()?,
        };
        Ok(Ask::UniqueWithin { time, micros })
    }

    /// Ranges between two columns.
    fn apart(&self, from: &Name, to: &Name) -> Result<Ask> {
        let (begin, end) = (self.column(from)?, self.column(to)?);
        self.check_ordered(from, &begin)?;
        let (one, other) = (self.type_of(&begin)?, self.type_of(&end)?);
        if one == other {
            return Ok(Ask::Apart {
                from: begin,
                to: end,
            });
        }
        let message = format!(
            "\"{}\" is {one} and \"{}\" is {other}: a range has two ends of one type",
            from.text, to.text
        );
        Err(Error::new(Kind::Invalid, codes::TYPE, message)
            .hint("declare both with one type, or cast one in a view")
            .at(to.place))
    }

    /// An expression with `lag(column)`: the columns of the row before stand behind those of the row.
    fn with_last(
        &self,
        sql: &SqlExpr,
        (key, order): (Vec<Column1>, Option<Column1>),
    ) -> Result<PlannedKeyed> {
        let mut sql = sql.clone();
        let names = lags(&mut sql, self.place)?;
        let columns = names.iter().map(|name| {
            let column = self.column(name)?;
            Ok((format!("lag({})", name.text), column))
        });
        let columns = columns.collect::<Result<Vec<_>>>()?;
        let mut fields: Vec<_> = self.ruled.schema.fields().iter().map(Arc::clone).collect();
        for (name, column) in &columns {
            fields.push(Arc::new(Field::new(name, self.type_of(column)?, true)));
        }
        let schema: SchemaRef = Arc::new(Schema::new(fields));
        let row = self
            .planner
            .row_expr(&sql, &schema, self.ruled.clock, self.place)?;
        super::planning::check_truth(&row.compiled.data_type(&schema)?, "EXPECT", self.place)?;
        Ok(PlannedKeyed {
            keyed: Keyed {
                key,
                nulls_equal: false,
                order,
                ask: Ask::Last(columns),
            },
            expect: row.expr,
            compiled: row.compiled,
        })
    }

    fn all(&self) -> Vec<Column1> {
        let fields = self.ruled.schema.fields().iter().enumerate();
        let column = |(at, field): (usize, &Arc<Field>)| {
            let column: Column1 = Arc::new(Column::new(field.name(), at));
            column
        };
        fields.map(column).collect()
    }

    fn columns(&self, names: &[Name]) -> Result<Vec<Column1>> {
        let mut seen = BTreeSet::new();
        let mut column = |name: &Name| {
            if !seen.insert(name.text.clone()) {
                let message = format!("column \"{}\" is in the list twice", name.text);
                return Err(Error::new(Kind::Invalid, codes::DUPLICATE, message).at(name.place));
            }
            self.column(name)
        };
        names.iter().map(&mut column).collect()
    }

    fn column(&self, name: &Name) -> Result<Column1> {
        let schema = self.ruled.schema;
        match schema.index_of(&name.text) {
            Ok(at) => Ok(Arc::new(Column::new(&name.text, at))),
            Err(_) => {
                let known = schema.fields().iter().map(|field| field.name().as_str());
                let error = unknown(codes::UNKNOWN_COLUMN, "column", &name.text, known);
                Err(error.at(name.place))
            }
        }
    }

    fn type_of(&self, column: &Column1) -> Result<DataType> {
        Ok(column.data_type(self.ruled.schema)?)
    }

    /// Refuses values of which none is greater than another.
    fn check_ordered(&self, name: &Name, column: &Column1) -> Result<()> {
        let found = self.type_of(column)?;
        let is_text = matches!(
            found,
            DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View
        );
        if found.is_numeric() || found.is_temporal() || is_text {
            return Ok(());
        }
        let message = format!("\"{}\" is {found}, which has no order", name.text);
        Err(Error::new(Kind::Invalid, codes::TYPE, message)
            .hint("the rule needs a number, a time or a text")
            .at(name.place))
    }

    /// A column of whole numbers.
    fn whole(&self, name: &Name) -> Result<Column1> {
        let column = self.column(name)?;
        let found = self.type_of(&column)?;
        if !found.is_integer() {
            let message = format!(
                "\"{}\" is {found}: only whole numbers follow one another",
                name.text
            );
            return Err(Error::new(Kind::Invalid, codes::TYPE, message)
                .hint("use INCREASING STRICTLY for other numbers and for times")
                .at(name.place));
        }
        let schema = DFSchema::try_from(Arc::clone(self.ruled.schema))?;
        let column = datafusion::common::Column::new_unqualified(&name.text);
        let number = try_cast(Expr::Column(column), DataType::Int64);
        self.planner.compile(number, &schema)
    }

    /// The column of ORDER BY.
    fn order(&self, name: &Name) -> Result<Column1> {
        let column = self.column(name)?;
        let found = self.type_of(&column)?;
        if !matches!(found, DataType::Timestamp(..)) {
            let message = format!("\"{}\" is {found}, not a TIMESTAMP", name.text);
            return Err(Error::new(Kind::Invalid, codes::TYPE, message)
                .hint("rows are ordered by their event time")
                .at(name.place));
        }
        match self.ruled.arrival {
            Arrival::Rows(Some(time)) if time == name.text => Ok(column),
            Arrival::Ended | Arrival::Unknown => Ok(column),
            Arrival::Rows(Some(time)) => Err(self.refuse(
                &format!("ORDER BY \"{}\"", name.text),
                &format!("rows wait for their turn until the watermark is there, which goes by \"{time}\""),
                &format!("ORDER BY {time}, or leave it out: rows are then asked as they come"),
            )),
            Arrival::Rows(None) | Arrival::Changes => Err(self.refuse(
                &format!("ORDER BY \"{}\"", name.text),
                "rows wait for their turn until the watermark is there, and these rows have none",
                "declare WATERMARK FOR the column on the source, or leave ORDER BY out",
            )),
        }
        .map_err(|error| error.at(name.place))
    }

    /// The event time of the table.
    pub(super) fn event_time(&self) -> Result<Column1> {
        match self.ruled.arrival {
            Arrival::Rows(Some(time)) => Ok(Arc::new(Column::new(
                time,
                self.ruled.schema.index_of(time)?,
            ))),
            Arrival::Unknown => Ok(Arc::new(Literal::new(ScalarValue::TimestampMicrosecond(
                None, None,
            )))),
            Arrival::Ended => Err(self.refuse(
                "WITHIN",
                &format!(
                    "the rows of \"{}\" have no event time in a batch job",
                    self.ruled.table
                ),
                "say which column it is: UNIQUE (..) WITHIN INTERVAL '..' ORDER BY ts",
            )),
            Arrival::Rows(None) | Arrival::Changes => Err(self.refuse(
                "WITHIN",
                &format!("the rows of \"{}\" have no event time", self.ruled.table),
                "declare WATERMARK FOR a column on the source, or leave WITHIN out",
            )),
        }
    }

    /// The pairs of states as two columns of the type of the state.
    fn pairs(
        &self,
        pairs: &[(SqlExpr, SqlExpr)],
        data_type: &DataType,
    ) -> Result<(ArrayRef, ArrayRef)> {
        let (mut from, mut to) = (Vec::new(), Vec::new());
        for (before, after) in pairs {
            from.push(self.constant(before, data_type)?);
            let next = self.constant(after, data_type)?;
            if next.null_count() > 0 {
                let message = format!("a transition to {after}: a state that is null is unknown");
                return Err(self.wrong(message, "a null before the comma says how a key may begin"));
            }
            to.push(next);
        }
        let all = |values: &[ArrayRef]| {
            let values: Vec<&dyn Array> = values.iter().map(|value| &**value).collect();
            concat(&values)
        };
        Ok((all(&from)?, all(&to)?))
    }

    /// A value that is written in the script, as a column of one row.
    fn constant(&self, sql: &SqlExpr, data_type: &DataType) -> Result<ArrayRef> {
        let none = Arc::new(Schema::empty());
        let row = self.planner.row_expr(sql, &none, false, self.place)?;
        let one = RecordBatchOptions::new().with_row_count(Some(1));
        let one = RecordBatch::try_new_with_options(none, Vec::new(), &one)?;
        let value = row.compiled.evaluate(&one)?.into_array(1)?;
        let strict = CastOptions {
            safe: false,
            ..CastOptions::default()
        };
        let fits = can_cast_types(value.data_type(), data_type);
        match fits.then(|| cast_with_options(&value, data_type, &strict)) {
            Some(Ok(value)) => Ok(value),
            _ => Err(Error::new(
                Kind::Invalid,
                codes::TYPE,
                format!("{sql} is no value of the state, which is {data_type}"),
            )
            .at(Some(self.place))),
        }
    }

    fn refuse(&self, what: &str, why: &str, hint: &str) -> Error {
        let message = format!("rule over keys: {what}");
        Error::new(Kind::Invalid, codes::UNSUPPORTED, message)
            .detail(why.to_owned())
            .hint(hint.to_owned())
            .at(Some(self.place))
    }

    fn wrong(&self, message: String, hint: &str) -> Error {
        Error::new(Kind::Invalid, codes::RULE, message)
            .hint(hint.to_owned())
            .at(Some(self.place))
    }
}
