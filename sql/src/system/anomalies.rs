//! `weir.anomalies`: what the anomaly models that a session knows have kept, its own and those of other pipelines.

use arrow::datatypes::Schema;
use datafusion::sql::sqlparser::ast::{Ident, Query};
use weir_engine::error::Result;

use crate::parse::skeleton;

/// The table.
pub(super) const NAME: &str = "anomalies";

/// The columns of a model, each with what it is where there is no model.
const COLUMNS: [(&str, &str); 13] = [
    ("id", "''"),
    ("model", "''"),
    ("version", "''"),
    ("key", "''"),
    ("time", "CAST(NULL AS TIMESTAMP)"),
    ("value", "0.0"),
    ("expected", "0.0"),
    ("lower", "0.0"),
    ("upper", "0.0"),
    ("score", "0.0"),
    ("p_value", "0.0"),
    ("direction", "''"),
    ("contribution", "MAP(ARRAY[''], ARRAY[0.0])"),
];

/// Whether a materialized view with this schema is an anomaly model.
pub(crate) fn is_model(schema: &Schema) -> bool {
    let names = schema.fields().iter().map(|field| field.name().as_str());
    names.eq(COLUMNS.iter().map(|(name, _)| *name))
}

/// Whether a name is that of the table.
pub(crate) fn is_anomalies(name: &str) -> bool {
    super::full(NAME) == name
}

/// The rows of models of these names.
pub(crate) fn anomalies_of<'a>(models: impl Iterator<Item = &'a str>) -> Result<Box<Query>> {
    let columns = COLUMNS.iter().map(|(name, _)| match *name {
        // Models may keep times in units of their own.
        "time" => "CAST(time AS TIMESTAMP) AS time".to_owned(),
        name => name.to_owned(),
    });
    let columns: Vec<String> = columns.collect();
    let rows = |model: &str| {
        let model = Ident::with_quote('"', model);
        format!("SELECT {} FROM {model}", columns.join(", "))
    };
    let all: Vec<String> = models.map(rows).collect();
    let text = match all.is_empty() {
        // The last word counts.
        false => format!(
            "SELECT told.*, said.feedback FROM ({}) AS told LEFT JOIN ( \
             SELECT id, last_value(feedback ORDER BY recorded_at) AS feedback FROM weir.anomaly_feedback GROUP BY id \
             ) AS said ON told.id = said.id",
            all.join(" UNION ALL ")
        ),
        true => {
            let none = COLUMNS
                .iter()
                .map(|(name, none)| format!("{none} AS {name}"));
            let none = none.collect::<Vec<_>>().join(", ");
            format!("SELECT {none}, CAST(NULL AS VARCHAR) AS feedback WHERE FALSE")
        }
    };
    skeleton::query(&text)
}
