//! The schema `weir`: what pipelines have kept of themselves, as tables.
//!
//! `weir.quality_results` and `weir.profiles` are read from files; the others are queries over these, so that they
//! say the same of any history, also of one that was kept before they were changed.

mod anomalies;
mod kept;

use std::collections::BTreeMap;
use std::sync::Arc;

use datafusion::catalog::TableProvider;
use datafusion::sql::sqlparser::ast::Query;
use weir_engine::anomaly::{FEEDBACK, feedback_schema};
use weir_engine::env::Env;
use weir_engine::error::Result;
use weir_engine::history::History;
use weir_engine::rules::{RESULTS, results_schema};

use crate::parse::skeleton;
use crate::profile;
pub(crate) use anomalies::{anomalies_of, is_anomalies, is_model};
use kept::KeptTable;

/// The schema.
const SCHEMA: &str = "weir";

/// Its tables that are queries.
const VIEWS: [(&str, &str); 2] = [
    ("quality_issues", include_str!("issues.sql")),
    ("quality_scores", include_str!("scores.sql")),
];

/// The tables of the schema that are kept in files, by their full names.
#[derive(Debug, Default)]
pub(crate) struct SystemTables {
    tables: BTreeMap<String, Arc<KeptTable>>,
}

impl SystemTables {
    /// What these pipelines keep.
    pub(crate) fn over(stores: Vec<Arc<dyn History>>, env: &Env) -> Self {
        let kept = [
            (RESULTS, results_schema()),
            (profile::KEPT, profile::kept_schema()),
            (FEEDBACK, feedback_schema()),
        ];
        let table = |(name, schema)| {
            let table = KeptTable::new(name, schema, stores.clone(), env.clone());
            (full(name), Arc::new(table))
        };
        Self {
            tables: kept.map(table).into(),
        }
    }

    /// A table by its full name.
    pub(crate) fn get(&self, name: &str) -> Option<Arc<dyn TableProvider>> {
        self.tables.get(name).map(|table| Arc::clone(table) as _)
    }
}

/// The query that a table of the schema is, if it is one.
pub(crate) fn query_of(name: &str) -> Result<Option<Box<Query>>> {
    let found = VIEWS.iter().find(|(known, _)| full(known) == name);
    found.map(|(_, text)| skeleton::query(text)).transpose()
}

/// The full names of its tables.
pub(crate) fn names() -> impl Iterator<Item = String> {
    let views = VIEWS.iter().map(|(name, _)| *name);
    let others = [RESULTS, profile::KEPT, FEEDBACK, anomalies::NAME].into_iter();
    others.chain(views).map(full)
}

fn full(name: &str) -> String {
    format!("{SCHEMA}.{name}")
}
