//! Messages into batches, beside decoders without an engine: from files, and through a broker.

use std::collections::BTreeMap;

use clap::Args;

use super::Suite;
use crate::compare::{Bench, Case, Runner};
use crate::data;
use crate::data::messages::{self, Format, Load, Topic};
use crate::data::records::{self, Table};
use crate::failure::Result;
use crate::programs::Job;
use crate::report::Report;
use crate::servers::kafka::Kafka;
use crate::settings::{self, Settings};

/// What is read from files.
const FILES: [(Table, Format); 4] = [
    (Table::Narrow, Format::Json),
    (Table::Bids, Format::Json),
    (Table::Bids, Format::Csv),
    (Table::Bids, Format::Avro),
];
/// What is read from topics.
const TOPICS: [(Table, Format, Bad); 6] = [
    (Table::Narrow, Format::Json, false),
    (Table::Bids, Format::Json, false),
    (Table::Bids, Format::Json, true),
    (Table::Bids, Format::Avro, false),
    (Table::Bids, Format::Protobuf, false),
    (Table::Bids, Format::Debezium, false),
];

/// Whether a message in a thousand is bad.
type Bad = bool;

/// The suite `decode`.
#[derive(Debug, Args)]
pub(crate) struct Decode {
    /// Rows of each input
    #[arg(long, default_value_t = 2_000_000, value_parser = clap::value_parser!(u64).range(1..=100_000_000))]
    rows: u64,
}

impl Suite for Decode {
    const NAME: &'static str = "decode";
    const ABOUT: &'static str = "JSON, CSV, Avro, Protobuf and Debezium into batches";

    fn run(&self, settings: &Settings) -> Result<bool> {
        let input = records::input(self.rows)?;
        let about = format!(
            "{} rows of each format into batches, from files and topics",
            self.rows
        );
        let mut report = Report::new(Self::NAME, about, settings);
        let mut cases = Vec::new();
        for (table, format) in FILES {
            let name = format!("{} {}", format.name(), table.name());
            if settings.wants_case(&name) {
                cases.push(self.of_files(name, &input, (table, format))?);
            }
        }
        let named = TOPICS.map(|(table, format, has_bad)| {
            let bad = if has_bad { "bad " } else { "" };
            let name = format!("kafka {} {bad}{}", format.name(), table.name());
            (
                name,
                Load {
                    table,
                    format,
                    has_bad,
                },
            )
        });
        let named = named.into_iter();
        let wanted: Vec<_> = named
            .filter(|(name, _)| settings.wants_case(name))
            .collect();
        // It must stay until the last case is measured.
        let mut broker = None;
        if !wanted.is_empty() {
            match Kafka::start() {
                Ok(started) => broker = Some(started),
                Err(error) => report.fault(format!("topics: not measured: {error}"), false),
            }
        }
        if let Some(broker) = &broker {
            for (name, load) in wanted {
                let topic = messages::fill(broker, settings.cores(), &input, load)?;
                cases.push(self.of_topic(name, &input, load, (broker, topic))?);
            }
        }
        Bench::start(settings).run(report, &cases)
    }
}

impl Decode {
    fn of_files(
        &self,
        name: String,
        input: &data::Input,
        (table, format): (Table, Format),
    ) -> Result<Case> {
        let mut variables = variables(input, table);
        variables.insert("FORMAT".to_owned(), format.name().to_owned());
        let weir = self.job("file", variables)?;
        let mut runners = vec![Runner::new("weir", weir.clone())];
        runners.extend(bare(input, &weir, (table, format)));
        if matches!(format, Format::Json | Format::Csv) {
            let sources = settings::query(&format!("decode/duckdb/{}.sql", format.name()))?;
            let duckdb = Job {
                sources,
                ..weir.clone()
            };
            runners.push(Runner::new("duckdb", duckdb));
        }
        Ok(Case {
            name,
            rows: self.rows,
            bytes: input.bytes_of(table.name(), format.name()),
            runners,
            answer: Some(answer(&weir)?),
        })
    }

    fn of_topic(
        &self,
        name: String,
        input: &data::Input,
        Load { table, format, .. }: Load,
        (broker, topic): (&Kafka, Topic),
    ) -> Result<Case> {
        let mut variables = variables(input, table);
        variables.insert("BROKER".to_owned(), broker.bootstrap().to_owned());
        variables.insert("TOPIC".to_owned(), topic.name);
        variables.insert("FORMAT".to_owned(), options(table, format));
        let weir = Job {
            // Even insertions alone are a changelog: they are compared as a table.
            is_updating: format == Format::Debezium,
            ..self.job("kafka", variables)?
        };
        let mut runners = vec![Runner::new("weir", weir.clone())];
        runners.extend(bare(input, &weir, (table, format)));
        Ok(Case {
            name,
            rows: self.rows,
            bytes: topic.bytes,
            runners,
            answer: Some(answer(&weir)?),
        })
    }

    fn job(&self, sources: &str, variables: BTreeMap<String, String>) -> Result<Job> {
        Ok(Job {
            sources: settings::query(&format!("decode/{sources}.sql"))?,
            query: "SELECT * FROM input;".to_owned(),
            variables,
            rows: Some(self.rows),
            ..Job::default()
        })
    }
}

/// What the scripts of all programs ask for.
fn variables(input: &data::Input, table: Table) -> BTreeMap<String, String> {
    let columns = table.columns(|name, sql| format!("{name} {sql}"));
    let quoted = table.columns(|name, sql| format!("'{name}': '{sql}'"));
    let all = [
        ("DATA", input.folder.display().to_string()),
        ("TABLE", table.name().to_owned()),
        ("COLUMNS", columns),
        ("COLUMNS_QUOTED", quoted),
    ];
    all.map(|(name, text)| (name.to_owned(), text)).into()
}

/// The options of a source of messages.
fn options(table: Table, format: Format) -> String {
    let schema = |option: &str, ending: &str| {
        let file = format!("queries/decode/{}.{ending}", table.name());
        let path = settings::home().join(file);
        format!(
            "format = '{}', {option} = '{}'",
            format.name(),
            path.display()
        )
    };
    match format {
        Format::Json | Format::Csv => format!("format = '{}'", format.name()),
        Format::Debezium => "format = 'debezium-json'".to_owned(),
        Format::Avro => schema("avro_schema_file", "avsc"),
        Format::Protobuf => schema("proto_file", "proto"),
    }
}

/// The right rows.
fn answer(job: &Job) -> Result<Job> {
    Ok(Job {
        sources: settings::query("decode/duckdb/parquet.sql")?,
        ..job.clone()
    })
}

/// The decoder alone, of the same rows in files; there is none that makes batches of Protobuf.
fn bare(input: &data::Input, weir: &Job, (table, format): (Table, Format)) -> Option<Runner> {
    let label = match format {
        Format::Json | Format::Debezium => "arrow-json alone",
        Format::Csv => "arrow-csv alone",
        Format::Avro => "arrow-avro alone",
        Format::Protobuf => return None,
    };
    let job = Job {
        sources: input.folder.display().to_string(),
        query: format!("{} {}", table.name(), format.name()),
        ..weir.clone()
    };
    Some(Runner {
        label: label.to_owned(),
        program: "arrow-decoders",
        part: None,
        job,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_with_a_schema_have_its_file() {
        for (table, format, _) in TOPICS {
            let options = options(table, format);
            if let Some((_, rest)) = options.split_once("_file = '") {
                let path = rest.trim_end_matches('\'');
                assert!(std::path::Path::new(path).is_file(), "{path}");
            }
        }
    }
}
