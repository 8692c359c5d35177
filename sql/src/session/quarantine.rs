//! The quarantine tables of a session: those of pipelines that have rows, and those that the rules of
//! the script name.

use std::sync::Arc;

use arrow::datatypes::SchemaRef;
use weir_engine::changelog::changelog_schema;
use weir_engine::error::Result;
use weir_engine::quarantine::Quarantine;
use weir_engine::rules::{Action, kept_schema};

use super::Session;
use super::rules::targets;
use crate::catalog::Object;
use crate::stored::QuarantineTable;

impl Session {
    /// Says where pipelines keep the rows that their rules keep back; `runs` if the session is the
    /// script of the one pipeline.
    pub fn read_quarantines(&mut self, quarantines: Vec<Arc<dyn Quarantine>>, runs: bool) {
        self.quarantines = quarantines;
        self.runs = runs;
    }

    /// Looks which quarantine tables there are: their rows are read as of the next statement.
    pub(super) async fn refresh_quarantines(&mut self) -> Result<()> {
        let table = |name: String, store: Option<Arc<dyn Quarantine>>, columns| QuarantineTable {
            name,
            store,
            columns,
            env: self.env.clone(),
        };
        let mut tables = Vec::new();
        for store in &self.quarantines {
            let of = Arc::clone(store);
            let names = self.env.blocking(move || of.tables()).await??;
            let named = names.into_iter();
            tables.extend(named.map(|name| table(name, Some(Arc::clone(store)), None)));
        }
        let store = match self.quarantines.as_slice() {
            [own] => Some(own),
            _ => None,
        };
        for declared in self.declared_quarantines() {
            let store = store.map(Arc::clone);
            tables.push(table(declared.name, store, declared.columns));
        }
        self.catalog.put_quarantines(tables.into_iter());
        Ok(())
    }

    /// The quarantine tables that rules of the script name.
    pub(super) fn declared_quarantines(&self) -> Vec<Declared> {
        let mut declared: Vec<Declared> = Vec::new();
        let mut add = |owner: &str, into: &str, columns: Option<&SchemaRef>| {
            if !declared.iter().any(|known| known.name == into) {
                declared.push(Declared {
                    name: into.to_owned(),
                    owner: owner.to_owned(),
                    columns: columns.map(|columns| kept_schema(columns)),
                });
            }
        };
        for (name, object) in self.catalog.objects() {
            match object {
                Object::Source(source) => {
                    let schema = match source.is_changelog() {
                        true => changelog_schema(&source.rows_schema()),
                        false => source.rows_schema(),
                    };
                    if source.keeps_unread() {
                        add(name, name, Some(&schema));
                    }
                    for rule in source.rules() {
                        if let Action::Quarantine(into) = &rule.action {
                            add(name, into, Some(&schema));
                        }
                    }
                }
                Object::Sink(sink) => {
                    let insert = self.inserts.iter().find(|insert| insert.sink.name == name);
                    let columns = insert.map(|insert| &insert.columns);
                    for into in targets(name, &sink.constraints.lock()) {
                        add(name, into, columns.or(sink.columns.as_ref()));
                    }
                }
                _ => {}
            }
        }
        for view in &self.views {
            for into in targets(&view.name, &view.constraints) {
                add(&view.name, into, None);
            }
        }
        declared
    }
}

/// A quarantine table that a rule of the script names.
#[derive(Debug)]
pub(super) struct Declared {
    pub(super) name: String,
    /// The table whose rows it keeps.
    pub(super) owner: String,
    /// Its columns, if they are known before it has rows.
    columns: Option<SchemaRef>,
}
