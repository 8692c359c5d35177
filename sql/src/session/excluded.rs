//! `EXCLUDE (SELECT ...)`: the times in which a model judges nothing, read where the statement is executed, which is when the
//! job of a script starts.

use std::collections::BTreeSet;
use std::ops::ControlFlow;

use arrow::array::{AsArray, RecordBatch};
use arrow::compute::cast;
use arrow::datatypes::{DataType, TimeUnit, TimestampMicrosecondType};
use datafusion::sql::sqlparser::ast::{
    Expr, FunctionArg, FunctionArgExpr, Query, TableFactor, Visit, Visitor,
};
use futures::TryStreamExt as _;
use weir_anomaly::Exclusions;
use weir_engine::error::{Error, Kind, Place, Result, codes};

use super::Session;
use crate::anomaly::models::options_of;
use crate::anomaly::options::EXCLUDE;
use crate::ast::{Constraint, Expectation, StatementKind};
use crate::lower::is_bounded;
use crate::parse::skeleton;

/// The queries of excluded times in a statement.
#[derive(Debug, Default)]
struct Queries(BTreeSet<String>);

impl Queries {
    fn of(kind: &StatementKind) -> Self {
        let mut found = Self::default();
        match kind {
            StatementKind::CreateSource(create) => found.in_rules(&create.constraints),
            StatementKind::CreateView(create) => found.in_query(&create.query),
            StatementKind::CreateMaterializedView(create) => {
                found.in_query(&create.query);
                found.in_rules(&create.constraints);
            }
            StatementKind::CreateSink(create) => {
                create.query.iter().for_each(|query| found.in_query(query));
                found.in_rules(&create.constraints);
            }
            StatementKind::CreateExpectation(create) => {
                found.in_rules(std::slice::from_ref(&create.constraint));
            }
            StatementKind::Insert { query, .. } | StatementKind::Query { query, .. } => {
                found.in_query(query);
            }
            StatementKind::Subscribe(subscribe) => found.in_query(&subscribe.query),
            StatementKind::Explain { statement, .. } => return Self::of(&statement.kind),
            _ => {}
        }
        found
    }

    fn in_query(&mut self, query: &Query) {
        let ControlFlow::<()>::Continue(()) = query.visit(self) else {
            return;
        };
    }

    fn in_rules(&mut self, rules: &[Constraint]) {
        for rule in rules {
            if let Expectation::Normal { options, .. } = &rule.expectation {
                options.iter().for_each(|option| self.in_option(option));
            }
        }
    }

    fn in_option(&mut self, option: &FunctionArg) {
        if let FunctionArg::Named {
            name,
            arg: FunctionArgExpr::Expr(Expr::Subquery(query)),
            ..
        } = option
            && name.value.eq_ignore_ascii_case(EXCLUDE)
        {
            self.0.insert(query.to_string());
        }
    }
}

impl Visitor for Queries {
    type Break = ();

    fn pre_visit_expr(&mut self, expr: &Expr) -> ControlFlow<()> {
        if let Some(options) = options_of(expr) {
            self.0.extend(options.excluded_by().map(str::to_owned));
        }
        ControlFlow::Continue(())
    }

    fn pre_visit_table_factor(&mut self, factor: &TableFactor) -> ControlFlow<()> {
        if let TableFactor::Table {
            args: Some(args), ..
        } = factor
        {
            args.args.iter().for_each(|option| self.in_option(option));
        }
        ControlFlow::Continue(())
    }
}

impl Session {
    /// Reads the times that the models of a statement exclude by queries.
    pub(super) async fn read_excluded(&self, kind: &StatementKind, place: Place) -> Result<()> {
        for text in Queries::of(kind).0 {
            let times = self.excluded(&text, place).await?;
            self.planner.models().exclude(&text, times);
        }
        Ok(())
    }

    async fn excluded(&self, text: &str, place: Place) -> Result<Exclusions> {
        let moved = |error: Error| error.moved(place);
        let query = skeleton::query(text).map_err(moved)?;
        let planned = self.planner.query(&self.catalog, &query, Some(place));
        let planned = planned.map_err(moved)?;
        if !is_bounded(&planned.plan)? {
            let message = "the query of EXCLUDE reads a stream, which has no end";
            return Err(wrong(message, "read what has an end, such as files", place));
        }
        let types = planned
            .plan
            .schema()
            .fields()
            .iter()
            .map(|field| field.data_type());
        let is_time = |of: &DataType| matches!(of, DataType::Timestamp(..) | DataType::Date32);
        let times = types.enumerate().filter(|(_, of)| is_time(of));
        let columns: Vec<usize> = times.map(|(at, _)| at).take(2).collect();
        let [from, to] = columns.as_slice() else {
            let message = "the query of EXCLUDE needs two columns of time: from when, and to when";
            let hint = "EXCLUDE (SELECT started, ended FROM incidents)";
            return Err(wrong(message, hint, place));
        };
        let rows = self.run_query_over_views(&planned.plan, place).await?;
        let rows: Vec<RecordBatch> = rows.try_collect().await?;
        let mut ranges = Vec::new();
        for rows in rows {
            let micros = DataType::Timestamp(TimeUnit::Microsecond, None);
            let begins = cast(rows.column(*from), &micros)?;
            let ends = cast(rows.column(*to), &micros)?;
            let begins = begins.as_primitive::<TimestampMicrosecondType>();
            let ends = ends.as_primitive::<TimestampMicrosecondType>();
            // One that has not ended goes on; one that has not begun is none.
            let pairs = begins.iter().zip(ends.iter());
            ranges.extend(pairs.filter_map(|(from, to)| Some((from?, to.unwrap_or(i64::MAX)))));
        }
        Exclusions::new(ranges).map_err(|error| {
            let hint = "leave out what is long ago: WHERE ended > now() - INTERVAL '1 year'";
            wrong(&error.to_string(), hint, place)
        })
    }
}

fn wrong(message: &str, hint: &str, place: Place) -> Error {
    Error::new(Kind::Invalid, codes::ANOMALY, message)
        .hint(hint)
        .at(Some(place))
}
