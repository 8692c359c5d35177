//! Messages into batches, beside decoders without an engine: from files, and through a broker.

use std::collections::BTreeMap;
use std::time::Duration;

use clap::Args;

use super::Suite;
use crate::compare::{Bench, Case, Runner, Spent, Times};
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

/// How the labels of decoders alone end.
const ALONE: &str = "alone";

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
        let mut topics = Vec::new();
        if let Some(broker) = &broker {
            for (name, load) in wanted {
                let topic = messages::fill(broker, settings.cores(), &input, load)?;
                topics.push(topic.name.clone());
                cases.push(self.of_topic(name, &input, load, (broker, topic))?);
            }
        }
        let times = Bench::start(settings).run_each(&mut report, &cases);
        for topic in topics {
            let removed = broker.as_ref().map(|broker| broker.remove(&topic));
            if let Some(Err(error)) = removed {
                report.fault(format!("a topic stays: {error}"), false);
            }
        }
        let columns = [
            "case",
            "program",
            "M rows per cpu s",
            "MB per cpu s",
            "of alone, by time",
            "by cpu s",
        ];
        let rows = speeds(&cases, &times);
        report.table("Speed beside the decoder alone", &columns, rows);
        report.finish()
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
        Format::Json | Format::Debezium => "arrow-json",
        Format::Csv => "arrow-csv",
        Format::Avro => "arrow-avro",
        Format::Protobuf => return None,
    };
    let job = Job {
        sources: input.folder.display().to_string(),
        query: format!("{} {}", table.name(), format.name()),
        ..weir.clone()
    };
    Some(Runner {
        label: format!("{label} {ALONE}"),
        program: "arrow-decoders",
        part: None,
        job,
    })
}

/// A row per case and program: what a second of a processor decodes, and the shares of the speed of
/// the decoder alone.
fn speeds(cases: &[Case], times: &[Times]) -> Vec<Vec<String>> {
    let mut rows = Vec::new();
    for (case, times) in cases.iter().zip(times) {
        let alone = times.iter().find(|(label, _)| label.ends_with(ALONE));
        let alone = alone.map(|(_, spent)| *spent).unwrap_or_default();
        for (program, Spent { job, cpu }) in times {
            let per_second = |amount: u64, digits: usize| match cpu {
                Some(cpu) => format!("{:.digits$}", amount as f64 / 1e6 / cpu.as_secs_f64()),
                None => "-".to_owned(),
            };
            let share = |of: Option<Duration>, by: Option<Duration>| match (of, by) {
                (Some(of), Some(by)) if !of.is_zero() => {
                    format!("{:.2}", of.as_secs_f64() / by.as_secs_f64())
                }
                _ => "-".to_owned(),
            };
            rows.push(vec![
                case.name.clone(),
                program.clone(),
                per_second(case.rows, 2),
                per_second(case.bytes, 0),
                share(Some(alone.job), Some(*job)),
                share(alone.cpu, *cpu),
            ]);
        }
    }
    rows
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn speeds_stand_beside_the_decoder_alone() {
        let case = Case {
            name: "json".to_owned(),
            rows: 2_000_000,
            bytes: 100_000_000,
            runners: Vec::new(),
            answer: None,
        };
        let times = |label: &str, job: u64, cpu: u64| {
            let spent = Spent {
                job: Duration::from_millis(job),
                cpu: Some(Duration::from_millis(cpu)),
            };
            (label.to_owned(), spent)
        };
        let all = [
            times("arrow-json alone", 1_000, 2_000),
            times("weir", 500, 800),
        ];
        let rows = speeds(std::slice::from_ref(&case), &[Times::from(all)]);
        assert_eq!(
            rows[0],
            ["json", "arrow-json alone", "1.00", "50", "1.00", "1.00"]
        );
        assert_eq!(rows[1], ["json", "weir", "2.50", "125", "2.00", "2.50"]);
        let weir = Times::from([times("weir", 500, 800)]);
        let rows = speeds(&[case], &[weir]);
        assert_eq!(rows[0][4..], ["-", "-"]);
    }

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
