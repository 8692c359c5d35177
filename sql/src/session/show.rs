//! SHOW and DESCRIBE: the catalog and the settings as small tables.

use std::sync::Arc;

use arrow::array::{ArrayRef, StringArray};
use arrow::datatypes::{DataType, Field, Schema};
use arrow::record_batch::RecordBatch;
use weir_engine::error::Result;
use weir_engine::rules::Switch;

use super::{Outcome, Session};
use crate::ast::{Name, ObjectKind, Show};
use crate::catalog::{Object, word};
use crate::parse::skeleton;
use crate::rules;
use crate::settings::SETTINGS;
use crate::system;

/// What DESCRIBE tells of a column.
const DESCRIBED: [&str; 4] = ["column", "type", "nullable", "note"];

/// Makes a table of texts.
pub(crate) fn texts(names: &[&str], rows: &[Vec<String>]) -> Result<Outcome> {
    let fields: Vec<Field> = names
        .iter()
        .map(|name| Field::new(*name, DataType::Utf8, false))
        .collect();
    let schema = Arc::new(Schema::new(fields));
    let columns = (0..names.len())
        .map(|column| {
            let values = rows
                .iter()
                .map(|row| row.get(column).map_or("", String::as_str));
            Arc::new(StringArray::from_iter_values(values)) as ArrayRef
        })
        .collect();
    let batch = RecordBatch::try_new(Arc::clone(&schema), columns)?;
    Ok(Outcome::Table {
        schema,
        batches: vec![batch],
    })
}

/// SHOW.
pub(super) fn show(session: &Session, show: &Show) -> Result<Outcome> {
    match show {
        Show::Objects(kind) => objects(session, *kind),
        Show::Tables => {
            let kinds = [
                ObjectKind::Source,
                ObjectKind::View,
                ObjectKind::MaterializedView,
                ObjectKind::Sink,
                ObjectKind::Quarantine,
            ];
            let mut rows: Vec<Vec<String>> = kinds
                .into_iter()
                .flat_map(|kind| {
                    session
                        .catalog
                        .of_kind(kind)
                        .map(move |(name, _)| (name, kind))
                })
                .map(|(name, kind)| vec![name.to_owned(), word(kind).to_owned()])
                .collect();
            rows.sort();
            texts(&["name", "kind"], &rows)
        }
        Show::RuleSets => {
            let rows = session.rule_sets().map(|(name, rules)| {
                let names: Vec<_> = rules.iter().map(|rule| rule.name.text.as_str()).collect();
                vec![name.to_owned(), names.join(", ")]
            });
            texts(&["name", "constraints"], &rows.collect::<Vec<_>>())
        }
        Show::Constraints(table) => constraints(session, table.as_ref()),
        Show::Settings => {
            let rows = SETTINGS
                .iter()
                .map(|spec| {
                    Ok(vec![
                        spec.name.to_owned(),
                        session.settings.value(spec.name)?.to_owned(),
                        spec.default.to_owned(),
                        spec.help.to_owned(),
                    ])
                })
                .collect::<Result<Vec<_>>>()?;
            texts(&["name", "value", "default", "description"], &rows)
        }
        Show::Setting(name) => {
            let value = session
                .settings
                .value(&name.text)
                .map_err(|e| e.at(name.place))?;
            texts(&[name.text.as_str()], &[vec![value.to_owned()]])
        }
    }
}

/// SHOW CONSTRAINTS: the rules of tables, as they are now.
fn constraints(session: &Session, table: Option<&Name>) -> Result<Outcome> {
    const SHOWN: [&str; 8] = [
        "table",
        "constraint",
        "clause",
        "dimension",
        "severity",
        "weight",
        "rule_set",
        "state",
    ];
    if let Some(table) = table {
        session.catalog.get(table)?;
    }
    let wanted = |name: &str| table.is_none_or(|table| table.text == name);
    let mut rows = Vec::new();
    for (name, _) in session.catalog.objects().filter(|(name, _)| wanted(name)) {
        for rule in session.constraints(name) {
            let set = rule.of_set.as_ref().map_or("", |set| set.text.as_str());
            let state = match rule.switch {
                Switch::On => "enabled",
                Switch::DryRun => "dry run",
                Switch::Off => "disabled",
            };
            rows.push(vec![
                name.to_owned(),
                rule.name.text.clone(),
                rules::clause(&rule),
                rule.grade.dimension.clone(),
                rule.grade.severity.clone(),
                rule.grade.weight.to_string(),
                set.to_owned(),
                state.to_owned(),
            ]);
        }
    }
    texts(&SHOWN, &rows)
}

fn objects(session: &Session, kind: ObjectKind) -> Result<Outcome> {
    let rows: Vec<Vec<String>> = session
        .catalog
        .of_kind(kind)
        .map(|(name, entry)| match &entry.object {
            Object::Source(source) => {
                let bounded = if source.is_bounded() {
                    "bounded"
                } else {
                    "unbounded"
                };
                vec![
                    name.to_owned(),
                    source.connector().to_owned(),
                    bounded.to_owned(),
                ]
            }
            Object::Sink(sink) => vec![name.to_owned(), sink.connector.name().to_owned()],
            Object::View(_)
            | Object::MaterializedView(_)
            | Object::Stored(_)
            | Object::Quarantine(_) => vec![name.to_owned()],
        })
        .collect();
    match kind {
        ObjectKind::Source => texts(&["name", "connector", "boundedness"], &rows),
        ObjectKind::Sink => texts(&["name", "connector"], &rows),
        ObjectKind::View | ObjectKind::MaterializedView | ObjectKind::Quarantine => {
            texts(&["name"], &rows)
        }
    }
}

/// SHOW CREATE: the statement as it was written.
pub(super) fn show_create(session: &Session, name: &Name) -> Result<Outcome> {
    let entry = session.catalog.get(name)?;
    let kind = word(entry.object.kind()).to_owned();
    texts(
        &["name", "kind", "statement"],
        &[vec![name.text.clone(), kind, entry.text.clone()]],
    )
}

/// DESCRIBE: the columns.
pub(super) fn describe(session: &Session, name: &Name) -> Result<Outcome> {
    let row = |field: &Field, note: String| {
        let nullable = if field.is_nullable() { "YES" } else { "NO" };
        vec![
            field.name().clone(),
            field.data_type().to_string(),
            nullable.to_owned(),
            note,
        ]
    };
    if system::names().any(|known| known == name.text) {
        let query = skeleton::query(&format!("SELECT * FROM {}", name.text))?;
        let planned = session
            .planner
            .query(&session.catalog, &query, name.place)?;
        let fields = planned.plan.schema().fields().iter();
        let rows: Vec<_> = fields.map(|field| row(field, String::new())).collect();
        return texts(&DESCRIBED, &rows);
    }
    let rows: Vec<Vec<String>> = match &session.catalog.get(name)?.object {
        Object::Source(source) => source
            .columns()
            .iter()
            .enumerate()
            .map(|(number, column)| {
                let watermark = source
                    .watermark()
                    .filter(|watermark| watermark.column == number);
                let watermark = watermark.map(|watermark| format!("watermark {}", watermark.text));
                let note = [
                    (!column.note.is_empty()).then(|| column.note.clone()),
                    watermark,
                ];
                row(
                    &column.field,
                    note.into_iter().flatten().collect::<Vec<_>>().join(", "),
                )
            })
            .collect(),
        _ => match session.catalog.schema(name)? {
            Some(schema) => schema
                .fields()
                .iter()
                .map(|f| row(f, String::new()))
                .collect(),
            // A sink without declared columns takes what its query gives.
            None => session
                .inserts
                .iter()
                .find(|insert| insert.sink.name == name.text)
                .map(|insert| {
                    insert
                        .plan
                        .schema()
                        .fields()
                        .iter()
                        .map(|f| row(f, String::new()))
                        .collect()
                })
                .unwrap_or_default(),
        },
    };
    texts(&DESCRIBED, &rows)
}
