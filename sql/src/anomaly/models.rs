//! The anomaly models of a script by name: other queries and rules take a model's options by `MODEL name`, also before
//! the statement that creates it. Each learns from its own rows.

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::sync::Arc;

use datafusion::sql::sqlparser::ast::{
    Expr, FunctionArg, FunctionArgExpr, FunctionArguments, Query, Value, visit_expressions,
};
use parking_lot::Mutex;
use weir_anomaly::Exclusions;
use weir_engine::anomaly::FeedbackLog;
use weir_engine::env::Env;
use weir_engine::error::{Error, Kind, Result, codes};
use weir_engine::options::unknown;

use super::FUNCTION;
use super::options::Options;
use crate::ast::{CreateMaterializedView, Statement, StatementKind};

/// The models that a script has so far, and those that it declares further down.
#[derive(Debug)]
pub(crate) struct Models {
    known: Mutex<BTreeMap<String, Options>>,
    log: Arc<FeedbackLog>,
    /// What the queries of excluded times have given, by their texts.
    excluded: Mutex<BTreeMap<String, Exclusions>>,
}

impl Models {
    /// No models yet.
    pub(crate) fn new(env: &Env) -> Self {
        Self {
            known: Mutex::default(),
            log: Arc::new(FeedbackLog::new(env.clock_arc())),
            excluded: Mutex::default(),
        }
    }

    /// Notes what the query of excluded times has given.
    pub(crate) fn exclude(&self, query: &str, times: Exclusions) {
        self.excluded.lock().insert(query.to_owned(), times);
    }

    /// What the query of excluded times has given; nothing for one of a statement that was not executed yet.
    pub(crate) fn excluded(&self, query: &str) -> Exclusions {
        let excluded = self.excluded.lock();
        excluded.get(query).cloned().unwrap_or_default()
    }

    /// What people say of their anomalies.
    pub(crate) fn log(&self) -> Arc<FeedbackLog> {
        Arc::clone(&self.log)
    }

    /// Notes the models that statements create.
    pub(crate) fn declare(&self, statements: &[Statement]) {
        for statement in statements {
            if let StatementKind::CreateMaterializedView(create) = &statement.kind {
                self.define(create);
            }
        }
    }

    /// Notes the model that a materialized view is, if it is one.
    pub(crate) fn define(&self, create: &CreateMaterializedView) {
        if let Some(options) = defined(&create.name.text, &create.query) {
            let name = create.name.text.clone();
            self.known.lock().insert(name, options);
        }
    }

    /// Forgets the models that are no more.
    pub(crate) fn retain(&self, is_there: impl Fn(&str) -> bool) {
        self.known.lock().retain(|name, _| is_there(name));
    }

    /// The version of a model.
    pub(crate) fn version(&self, name: &str) -> Option<String> {
        let known = self.known.lock();
        let (_, version) = known.get(name)?.model()?;
        version.map(str::to_owned)
    }

    /// Options that refer to no model any more: with those of the model behind their own.
    pub(crate) fn resolve(&self, options: Options) -> Result<Options> {
        let Some((name, version)) = options.model() else {
            return Ok(options);
        };
        let known = self.known.lock();
        let Some(model) = known.get(name) else {
            let names = known.keys().map(String::as_str);
            let error = unknown(codes::ANOMALY, "anomaly model", name, names);
            let form = "CREATE ANOMALY MODEL name ON (query) ... makes one in the script";
            return Err(match known.is_empty() {
                true => error.hint(form),
                false => error,
            });
        };
        let is_other = |(_, known): (&str, Option<&str>)| version.is_some() && version != known;
        if model.model().is_some_and(is_other) {
            let (of, asked) = (model.to_text(), version.unwrap_or_default());
            let message = format!("anomaly model \"{name}\" is not of version {asked} any more");
            return Err(Error::new(Kind::Invalid, codes::ANOMALY, message)
                .detail(format!("it is: {of}"))
                .hint("leave VERSION out to take the model as it is"));
        }
        options.over(model)
    }
}

/// The options of the model that the query of a materialized view of this name is.
fn defined(name: &str, query: &Query) -> Option<Options> {
    let found = visit_expressions(query, |expr| match options_of(expr) {
        Some(options) if matches!(options.model(), Some((model, Some(_))) if model == name) => {
            ControlFlow::Break(options)
        }
        _ => ControlFlow::Continue(()),
    });
    found.break_value()
}

/// The options of a call of the window function.
pub(crate) fn options_of(expr: &Expr) -> Option<Options> {
    let Expr::Function(call) = expr else {
        return None;
    };
    let FunctionArguments::List(list) = &call.args else {
        return None;
    };
    let Some(FunctionArg::Unnamed(FunctionArgExpr::Expr(Expr::Value(text)))) = list.args.last()
    else {
        return None;
    };
    match &text.value {
        Value::SingleQuotedString(text) if call.name.to_string().eq_ignore_ascii_case(FUNCTION) => {
            Options::from_text(text).ok()
        }
        _ => None,
    }
}
