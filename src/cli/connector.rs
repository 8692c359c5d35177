//! `weir connector list` and `weir connector show`: what there is, from the same tables that check
//! the options.

use std::sync::Arc;

use clap::{Subcommand, ValueEnum};
use weir_engine::connector::{Connector, Guarantee};
use weir_engine::error::{Error, codes};
use weir_engine::options::{OptionKind, OptionSpec, unknown};

use super::say;
use crate::failure::Failure;

/// What to show of the connectors.
#[derive(Debug, Subcommand)]
pub(super) enum ConnectorCommand {
    /// List the connectors
    List,
    /// Show the options of one connector
    #[command(after_help = "Example:\n  weir connector show file --format json")]
    Show {
        /// The name, as in connector = 'NAME'
        name: String,
        /// Tables for people, or the JSON Schema
        #[arg(long, value_enum, default_value = "text")]
        format: ShowFormat,
    },
}

/// The form of what is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum ShowFormat {
    /// Tables
    Text,
    /// JSON Schema
    Json,
}

/// Runs the command.
pub(super) fn connector(command: &ConnectorCommand) -> Result<(), Failure> {
    let connectors = weir_connectors::all();
    match command {
        ConnectorCommand::List => say(&list(&connectors)),
        ConnectorCommand::Show { name, format } => {
            let found = connectors.iter().find(|connector| connector.name() == name);
            let connector = found.ok_or_else(|| {
                let names = connectors.iter().map(|connector| connector.name());
                Failure::Script(unknown(codes::UNKNOWN_CONNECTOR, "connector", name, names))
            })?;
            say(&show(&**connector, *format)?)
        }
    }
}

fn list(connectors: &[Arc<dyn Connector>]) -> String {
    let mark = |has: bool| if has { "yes" } else { "-" };
    let mut rows: Vec<[String; 6]> = connectors
        .iter()
        .map(|connector| {
            let sinks = connector.sink_options().is_some();
            let guarantee = if sinks {
                guarantee(connector.guarantee())
            } else {
                "-"
            };
            [
                connector.name().to_owned(),
                mark(connector.source_options().is_some()).to_owned(),
                mark(sinks).to_owned(),
                mark(connector.has_lookup()).to_owned(),
                guarantee.to_owned(),
                connector.summary().to_owned(),
            ]
        })
        .collect();
    rows.sort();
    rows.insert(
        0,
        ["name", "source", "sink", "lookup", "guarantee", "summary"].map(str::to_owned),
    );
    aligned(&rows)
}

fn guarantee(guarantee: Guarantee) -> &'static str {
    match guarantee {
        Guarantee::ExactlyOnce => "exactly once",
        Guarantee::AtLeastOnce => "at least once",
        Guarantee::None => "none",
    }
}

fn show(connector: &dyn Connector, format: ShowFormat) -> Result<String, Failure> {
    if format == ShowFormat::Json {
        let text = serde_json::to_string_pretty(&connector.schema()).map_err(|error| {
            Failure::Job(Error::internal("cannot print the JSON Schema").caused_by(error))
        })?;
        return Ok(text + "\n");
    }
    let mut text = format!("{}: {}\n", connector.name(), connector.summary());
    let parts = [
        ("source", connector.source_options()),
        ("sink", connector.sink_options()),
    ];
    for (what, specs) in parts {
        let Some(specs) = specs else { continue };
        let example = format!(
            "CREATE {} name WITH (connector = '{}', ...)",
            what.to_uppercase(),
            connector.name()
        );
        text.push_str(&format!("\nOptions of a {what}: {example}\n\n"));
        text.push_str(&options(&specs));
    }
    let metadata = connector.metadata_columns();
    if !metadata.is_empty() {
        text.push_str("\nMetadata columns: name TYPE METADATA FROM 'key'\n\n");
        let rows: Vec<[String; 3]> = metadata
            .iter()
            .map(|column| {
                [
                    column.key.to_owned(),
                    column.data_type.to_string(),
                    column.help.to_owned(),
                ]
            })
            .collect();
        text.push_str(&aligned(&rows));
    }
    if connector.has_lookup() {
        text.push_str(
            "\nLookup: JOIN name FOR SYSTEM_TIME AS OF PROCTIME() ON ... asks for rows by key\n",
        );
    }
    if connector.sink_options().is_some() {
        let promise = guarantee(connector.guarantee());
        text.push_str(&format!("\nGuarantee of the sink: {promise}\n"));
    }
    Ok(text)
}

fn options(specs: &[&[OptionSpec]]) -> String {
    let specs: Vec<&OptionSpec> = specs.iter().flat_map(|specs| specs.iter()).collect();
    if specs.is_empty() {
        return "  (none)\n".to_owned();
    }
    let mut rows = vec![["name", "value", "default", "meaning"].map(str::to_owned)];
    rows.extend(specs.into_iter().map(|spec| {
        let default = match (spec.required, spec.default) {
            (true, _) => "required",
            (false, Some(default)) => default,
            (false, None) => "-",
        };
        [
            spec.name.to_owned(),
            form(spec.kind),
            default.to_owned(),
            spec.help.to_owned(),
        ]
    }));
    aligned(&rows)
}

fn form(kind: OptionKind) -> String {
    match kind {
        OptionKind::Text => "text".to_owned(),
        OptionKind::Secret => "secret".to_owned(),
        OptionKind::Bool => "true, false".to_owned(),
        OptionKind::Count => "count".to_owned(),
        OptionKind::Number => "number".to_owned(),
        OptionKind::Bytes => "size".to_owned(),
        OptionKind::Duration => "time span".to_owned(),
        OptionKind::OneOf(words) => words.join(", "),
    }
}

/// Lays rows out in columns, two spaces apart; the last column is as wide as it is.
fn aligned<const N: usize>(rows: &[[String; N]]) -> String {
    let width = |column: usize| {
        rows.iter()
            .filter_map(|row| row.get(column))
            .map(|cell| cell.chars().count())
            .max()
    };
    let widths: Vec<usize> = (0..N).map(|column| width(column).unwrap_or(0)).collect();
    let mut text = String::new();
    for row in rows {
        let mut line = String::from(" ");
        for (cell, width) in row.iter().zip(&widths) {
            line.push_str(&format!(" {cell:width$} "));
        }
        text.push_str(line.trim_end());
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_connector_is_listed_and_shown() {
        let connectors = weir_connectors::all();
        let listed = list(&connectors);
        for connector in &connectors {
            assert!(listed.contains(connector.name()), "{listed}");
            let shown = show(&**connector, ShowFormat::Text).unwrap();
            for spec in connector.source_options().into_iter().flatten().flatten() {
                assert!(
                    shown.contains(spec.name) && shown.contains(spec.help),
                    "{shown}"
                );
            }
            let json = show(&**connector, ShowFormat::Json).unwrap();
            let schema: serde_json::Value = serde_json::from_str(&json).unwrap();
            assert_eq!(schema["connector"], connector.name());
        }
    }

    #[test]
    fn an_unknown_connector_names_the_nearest() {
        let command = ConnectorCommand::Show {
            name: "fle".to_owned(),
            format: ShowFormat::Text,
        };
        let failure = connector(&command).unwrap_err();
        assert_eq!(failure.exit_code(), 2);
        assert!(
            failure
                .error()
                .unwrap()
                .hint_text()
                .unwrap()
                .contains("file")
        );
    }
}
