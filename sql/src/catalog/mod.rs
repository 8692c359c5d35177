//! What the script has declared: sources, views and sinks, in one namespace.

pub(crate) mod create_sink;
pub(crate) mod create_source;
mod deviation;
mod nothing;
mod quarantine;
mod scan;
pub(crate) mod source;
pub(crate) mod viewed;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use arrow::datatypes::SchemaRef;
use datafusion::catalog::TableProvider;
use datafusion::catalog::view::ViewTable;
use datafusion::sql::sqlparser::ast::Query;
use weir_engine::changelog::OP_COLUMN;
use weir_engine::connector::Connector;
use weir_engine::error::{Error, Kind, Place, Result, codes};
use weir_engine::options::{GivenOptions, unknown};

use crate::ast::{Existing, Name, ObjectKind};
use crate::plan::{Tables, errors::unknown_table};
use crate::stored::{QuarantineTable, StoredView};
use crate::system::{SystemTables, anomalies_of, is_anomalies, is_model, query_of};
use create_sink::SinkTable;
use source::SourceTable;

/// One declared thing.
#[derive(Debug, Clone)]
pub(crate) enum Object {
    /// A source.
    Source(Arc<SourceTable>),
    /// A view, as its plan.
    View(Arc<ViewTable>),
    /// A materialized view, as its plan: queries of the script compute it anew.
    MaterializedView(Arc<ViewTable>),
    /// A materialized view that another pipeline keeps.
    Stored(Arc<StoredView>),
    /// Rows that rules have kept back.
    Quarantine(Arc<QuarantineTable>),
    /// A sink.
    Sink(Arc<SinkTable>),
}

impl Object {
    /// Its kind.
    pub(crate) fn kind(&self) -> ObjectKind {
        match self {
            Self::Source(_) => ObjectKind::Source,
            Self::View(_) => ObjectKind::View,
            Self::MaterializedView(_) | Self::Stored(_) => ObjectKind::MaterializedView,
            Self::Quarantine(_) => ObjectKind::Quarantine,
            Self::Sink(_) => ObjectKind::Sink,
        }
    }
}

/// An object with what is known of its making.
#[derive(Debug, Clone)]
pub(crate) struct Entry {
    /// The object.
    pub(crate) object: Object,
    /// The statement that made it.
    pub(crate) text: String,
    /// The tables and views it is made from.
    pub(crate) uses: BTreeSet<String>,
}

/// The objects by name.
#[derive(Debug, Default)]
pub(crate) struct Catalog {
    entries: BTreeMap<String, Entry>,
    /// The tables of the schema `weir`.
    system: SystemTables,
    /// Views that queries of the script can't read, with the rule because of which.
    withheld: BTreeMap<String, String>,
}

/// The word for a kind of object.
pub(crate) fn word(kind: ObjectKind) -> &'static str {
    match kind {
        ObjectKind::Source => "source",
        ObjectKind::View => "view",
        ObjectKind::MaterializedView => "materialized view",
        ObjectKind::Sink => "sink",
        ObjectKind::Quarantine => "quarantine table",
    }
}

fn withheld(view: &str, rule: &str) -> Error {
    let message =
        format!("view \"{view}\" cannot be read in this script because of rule \"{rule}\"");
    Error::new(Kind::Invalid, codes::UNSUPPORTED, message)
        .detail(
            "queries compute a view anew, and which of its rows break a rule over keys, a window or a batch \
             depends on the order in which they come",
        )
        .hint("put the rule on a source or a sink, or let it warn")
}

/// What CREATE does with a name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Create {
    /// Makes the object.
    Make,
    /// Leaves what is there.
    Keep,
}

impl Catalog {
    /// Checks whether an object may be made under a name.
    pub(crate) fn may_create(
        &self,
        kind: ObjectKind,
        name: &Name,
        existing: Existing,
    ) -> Result<Create> {
        let Some(entry) = self.entries.get(&name.text) else {
            return Ok(Create::Make);
        };
        let taken = |detail: &str| {
            Error::new(
                Kind::Invalid,
                codes::DUPLICATE,
                format!(
                    "{} \"{}\" exists already",
                    word(entry.object.kind()),
                    name.text
                ),
            )
            .hint(detail.to_owned())
            .at(name.place)
        };
        if entry.object.kind() != kind {
            return Err(taken(
                "sources, views and sinks share their names: choose another one",
            ));
        }
        if existing.if_not_exists {
            return Ok(Create::Keep);
        }
        if !existing.or_replace {
            return Err(taken(
                "write CREATE OR REPLACE, or IF NOT EXISTS to keep what is there",
            ));
        }
        match self.users(&name.text).first() {
            None => Ok(Create::Make),
            Some(user) => Err(Error::new(
                Kind::Invalid,
                codes::DUPLICATE,
                format!(
                    "\"{}\" cannot be replaced: \"{user}\" is made from it",
                    name.text
                ),
            )
            .hint(format!(
                "DROP {} {user} first",
                word(self.kind(user)).to_uppercase()
            ))
            .at(name.place)),
        }
    }

    fn kind(&self, name: &str) -> ObjectKind {
        self.entries
            .get(name)
            .map_or(ObjectKind::View, |entry| entry.object.kind())
    }

    /// Puts the views that other pipelines keep in the place of those put before. A name that the
    /// session has given, or an earlier pipeline, stays.
    pub(crate) fn put_stored(&mut self, views: impl Iterator<Item = Arc<StoredView>>) {
        self.entries
            .retain(|_, entry| !matches!(entry.object, Object::Stored(_)));
        for view in views {
            let name = view.name().to_owned();
            self.entries.entry(name).or_insert_with(|| Entry {
                text: format!("-- kept by the pipeline in {}", view.place()),
                object: Object::Stored(view),
                uses: BTreeSet::new(),
            });
        }
    }

    /// Puts the tables of the schema `weir` in the place of those put before.
    pub(crate) fn put_system(&mut self, tables: SystemTables) {
        self.system = tables;
    }

    /// Whether a name is taken.
    pub(crate) fn has(&self, name: &str) -> bool {
        self.entries.contains_key(name)
    }

    /// Adds or replaces an object.
    pub(crate) fn put(&mut self, name: &str, entry: Entry) {
        self.withheld.remove(name);
        self.entries.insert(name.to_owned(), entry);
    }

    /// Says that queries can't read a view because of a rule, or that they can.
    pub(crate) fn withhold(&mut self, view: &str, rule: Option<&str>) {
        match rule {
            Some(rule) => self.withheld.insert(view.to_owned(), rule.to_owned()),
            None => self.withheld.remove(view),
        };
    }

    /// Finds an object; the error names the nearest.
    pub(crate) fn get(&self, name: &Name) -> Result<&Entry> {
        self.entries
            .get(&name.text)
            .ok_or_else(|| unknown_table(&name.text, self.names()).at(name.place))
    }

    /// Finds a sink.
    pub(crate) fn sink(&self, name: &Name) -> Result<Arc<SinkTable>> {
        match self.entries.get(&name.text).map(|entry| &entry.object) {
            Some(Object::Sink(sink)) => Ok(Arc::clone(sink)),
            Some(other) => Err(Error::new(
                Kind::Invalid,
                codes::UNKNOWN_TABLE,
                format!("\"{}\" is a {}, not a sink", name.text, word(other.kind())),
            )
            .hint("rows are inserted into what CREATE SINK declares")
            .at(name.place)),
            None => {
                let sinks = self.of_kind(ObjectKind::Sink);
                Err(unknown(
                    codes::UNKNOWN_TABLE,
                    "sink",
                    &name.text,
                    sinks.map(|(n, _)| n),
                )
                .at(name.place))
            }
        }
    }

    fn names(&self) -> impl Iterator<Item = &str> {
        self.entries.keys().map(String::as_str)
    }

    /// The objects of one kind, by name.
    pub(crate) fn of_kind(&self, kind: ObjectKind) -> impl Iterator<Item = (&str, &Entry)> {
        self.entries
            .iter()
            .filter(move |(_, entry)| entry.object.kind() == kind)
            .map(|(name, entry)| (name.as_str(), entry))
    }

    /// All objects, by name.
    pub(crate) fn objects(&self) -> impl Iterator<Item = (&str, &Object)> {
        let entries = self.entries.iter();
        entries.map(|(name, entry)| (name.as_str(), &entry.object))
    }

    /// The objects that are made from one, directly.
    pub(crate) fn users(&self, name: &str) -> Vec<&str> {
        self.entries
            .iter()
            .filter(|(_, entry)| entry.uses.contains(name))
            .map(|(name, _)| name.as_str())
            .collect()
    }

    /// Removes an object, with what is made from it if `cascade`; gives whether it was there.
    pub(crate) fn remove(
        &mut self,
        kind: ObjectKind,
        name: &Name,
        if_exists: bool,
        cascade: bool,
    ) -> Result<bool> {
        match self.entries.get(&name.text) {
            Some(Entry {
                object: Object::Stored(view),
                ..
            }) if kind == ObjectKind::MaterializedView => {
                return Err(Error::new(
                    Kind::Invalid,
                    codes::DUPLICATE,
                    format!("\"{}\" is kept by another pipeline", name.text),
                )
                .hint(format!(
                    "drop it in the script of the pipeline whose state is in {}",
                    view.place()
                ))
                .at(name.place));
            }
            Some(entry) if entry.object.kind() == kind => {}
            Some(entry) => {
                return Err(Error::new(
                    Kind::Invalid,
                    codes::UNKNOWN_TABLE,
                    format!(
                        "\"{}\" is a {}, not a {}",
                        name.text,
                        word(entry.object.kind()),
                        word(kind)
                    ),
                )
                .at(name.place));
            }
            None if if_exists => return Ok(false),
            None => {
                let known = self.of_kind(kind).map(|(name, _)| name);
                return Err(
                    unknown(codes::UNKNOWN_TABLE, word(kind), &name.text, known).at(name.place)
                );
            }
        }
        let users: Vec<String> = self
            .users(&name.text)
            .into_iter()
            .map(str::to_owned)
            .collect();
        if let (Some(user), false) = (users.first(), cascade) {
            return Err(Error::new(
                Kind::Invalid,
                codes::DUPLICATE,
                format!(
                    "{} \"{}\" cannot be dropped: \"{user}\" is made from it",
                    word(kind),
                    name.text
                ),
            )
            .hint("add CASCADE to drop all that is made from it")
            .at(name.place));
        }
        self.entries.remove(&name.text);
        for user in users {
            let kind = self.kind(&user);
            self.remove(
                kind,
                &Name {
                    text: user,
                    place: name.place,
                },
                true,
                true,
            )?;
        }
        Ok(true)
    }

    /// The columns of an object; `None` for a sink that takes what its query gives.
    pub(crate) fn schema(&self, name: &Name) -> Result<Option<SchemaRef>> {
        Ok(match &self.get(name)?.object {
            Object::Source(source) => Some(source.schema()),
            Object::View(view) | Object::MaterializedView(view) => Some(view.schema()),
            Object::Stored(view) => Some(view.schema()),
            Object::Quarantine(table) => Some(table.open()?.schema()),
            Object::Sink(sink) => sink.columns.as_ref().map(Arc::clone),
        })
    }
}

impl Tables for Catalog {
    fn table(&self, name: &str) -> Result<Arc<dyn TableProvider>> {
        match self.entries.get(name).map(|entry| &entry.object) {
            Some(Object::Source(source)) => {
                let source: Arc<SourceTable> = Arc::clone(source);
                Ok(source)
            }
            Some(Object::View(view) | Object::MaterializedView(view)) => {
                if let Some(rule) = self.withheld.get(name) {
                    return Err(withheld(name, rule));
                }
                let view: Arc<ViewTable> = Arc::clone(view);
                Ok(view)
            }
            Some(Object::Stored(view)) => {
                let view: Arc<StoredView> = Arc::clone(view);
                Ok(view)
            }
            Some(Object::Quarantine(table)) => Ok(Arc::new(table.open()?)),
            Some(Object::Sink(_)) => Err(Error::new(
                Kind::Invalid,
                codes::UNSUPPORTED,
                format!("\"{name}\" is a sink, which cannot be read yet"),
            )
            .hint("declare a source over what the sink writes")),
            None => match self.system.get(name) {
                Some(table) => Ok(table),
                None => {
                    let system: Vec<String> = crate::system::names().collect();
                    let known = self.names().chain(system.iter().map(String::as_str));
                    Err(unknown_table(name, known))
                }
            },
        }
    }

    fn query(&self, name: &str) -> Result<Option<Box<Query>>> {
        if !is_anomalies(name) {
            return query_of(name);
        }
        let is_kept = |entry: &Entry| match &entry.object {
            Object::MaterializedView(view) => is_model(&view.schema()),
            Object::Stored(view) => is_model(&view.schema()),
            _ => false,
        };
        let models = self.entries.iter().filter(|(_, entry)| is_kept(entry));
        anomalies_of(models.map(|(name, _)| name.as_str())).map(Some)
    }
}

/// Refuses the name of the column that says what happens to a row.
pub(crate) fn check_reserved(column: &str, place: Option<Place>) -> Result<()> {
    if column != OP_COLUMN {
        return Ok(());
    }
    Err(Error::new(
        Kind::Invalid,
        codes::DUPLICATE,
        format!("the column name \"{OP_COLUMN}\" is reserved"),
    )
    .detail("it says of each row of an updating result whether it is new, changed or gone")
    .hint("give the column another name")
    .at(place))
}

/// Finds the connector that `WITH (connector = '...')` names.
pub(crate) fn find_connector(
    connectors: &[Arc<dyn Connector>],
    options: &mut GivenOptions,
    what: &str,
    place: Option<Place>,
) -> Result<Arc<dyn Connector>> {
    let Some(value) = options.remove("connector") else {
        return Err(Error::new(
            Kind::Invalid,
            codes::OPTION,
            format!("a {what} needs the option \"connector\""),
        )
        .hint(format!(
            "WITH (connector = '...'), one of {}",
            connectors
                .iter()
                .map(|c| c.name())
                .collect::<Vec<_>>()
                .join(", ")
        ))
        .at(place));
    };
    let found = connectors
        .iter()
        .find(|connector| connector.name() == value.text);
    found.map(Arc::clone).ok_or_else(|| {
        let known = connectors.iter().map(|connector| connector.name());
        unknown(codes::UNKNOWN_CONNECTOR, "connector", &value.text, known).at(value.place.or(place))
    })
}
