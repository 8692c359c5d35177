//! Writing Parquet: bids are read and written again, to the local disk and to an S3 server.

use std::collections::BTreeMap;

use clap::Args;

use super::Suite;
use crate::compare::{Bench, Case, Runner, Times};
use crate::data::{self, nexmark::Kind};
use crate::failure::Result;
use crate::programs::{Into, Job};
use crate::report::Report;
use crate::servers::minio::{self, Minio};
use crate::settings::{self, Settings};

/// The suite `parquet`.
#[derive(Debug, Args)]
pub(crate) struct Parquet {
    /// Events of Nexmark, of whose 50 each 46 are bids
    #[arg(long, default_value_t = 10_000_000, value_parser = clap::value_parser!(u64).range(50..=1_000_000_000))]
    events: u64,
}

impl Suite for Parquet {
    const NAME: &'static str = "parquet";
    const ABOUT: &'static str = "Writing Parquet to the local disk and to an S3 server";

    fn run(&self, settings: &Settings) -> Result<bool> {
        let input = data::nexmark::input(self.events)?;
        let about = format!(
            "the bids of {} Nexmark events, read from two Parquet files and written as Parquet with zstd; \
             the S3 server is on the same cores",
            self.events
        );
        let mut report = Report::new(Self::NAME, about, settings);
        let mut cases = Vec::new();
        if settings.wants_case("disk") {
            cases.push(case(
                "disk",
                self.events,
                &input,
                Into::Files,
                [],
                settings,
            )?);
        }
        let mut server = None;
        if settings.wants_case("s3") {
            match Minio::start() {
                Ok(started) => {
                    let variables = bucket(&started);
                    let to = Into::Bucket;
                    cases.push(case("s3", self.events, &input, to, variables, settings)?);
                    server = Some(started);
                }
                Err(error) => report.fault(format!("s3: not measured: {error}"), false),
            }
        }
        let times = Bench::start(settings).run_each(&mut report, &cases);
        drop(server);
        let rows = speeds(&cases, &times, settings.cores());
        let columns = ["case", "program", "M rows/s", "MB/s read", "of bare"];
        report.table(
            "Speed, beside the bare writer with a file per core",
            &columns,
            rows,
        );
        report.finish()
    }
}

/// What programs need to know of the server.
fn bucket(server: &Minio) -> [(String, String); 4] {
    [
        ("S3_ENDPOINT", server.endpoint().as_str()),
        ("S3_BUCKET", minio::BUCKET),
        ("S3_KEY", minio::KEY),
        ("S3_SECRET", minio::SECRET),
    ]
    .map(|(name, value)| (name.to_owned(), value.to_owned()))
}

/// A place to write to.
pub(super) fn case(
    name: &str,
    events: u64,
    input: &data::Input,
    into: Into,
    more: impl IntoIterator<Item = (String, String)>,
    settings: &Settings,
) -> Result<Case> {
    let rows = Kind::Bid.among(events);
    let mut variables: BTreeMap<_, _> = more.into_iter().collect();
    let folder = input.folder.display().to_string();
    drop(variables.insert("DATA".to_owned(), folder));
    let weir = Job {
        sources: settings::query("parquet/sources.sql")?,
        query: settings::query("parquet/copy.sql")?,
        variables,
        into,
        rows: Some(rows),
        ..Job::default()
    };
    let duckdb = Job {
        sources: settings::query("parquet/duckdb/sources.sql")?,
        ..weir.clone()
    };
    let exactly_once = Runner {
        label: EXACTLY_ONCE.to_owned(),
        program: "weir",
        part: None,
        job: Job {
            checkpoints: true,
            ..weir.clone()
        },
    };
    let mut runners = vec![Runner::new("weir", weir.clone()), exactly_once];
    runners.extend(bare(&weir, settings.cores()));
    // DuckDB's way to S3 is an extension that its package does not hold.
    if into == Into::Files {
        runners.push(Runner::new("duckdb", duckdb.clone()));
    }
    Ok(Case {
        name: name.to_owned(),
        rows,
        bytes: input.bytes("bid"),
        runners,
        answer: Some(duckdb),
    })
}

const EXACTLY_ONCE: &str = "weir, exactly once";

/// The bare writer with one file, and with one for each core.
fn bare(weir: &Job, cores: u32) -> Vec<Runner> {
    let mut threads = vec![1];
    if cores > 1 {
        threads.push(cores);
    }
    let runner = |threads: u32| {
        let mut job = Job {
            query: "${DATA}/bid-0.parquet,${DATA}/bid-1.parquet".to_owned(),
            ..weir.clone()
        };
        let value = threads.to_string();
        drop(job.variables.insert("THREADS".to_owned(), value));
        Runner {
            label: bare_label(threads),
            program: "arrow-rs",
            part: None,
            job,
        }
    };
    threads.into_iter().map(runner).collect()
}

fn bare_label(threads: u32) -> String {
    match threads {
        1 => "arrow-rs, 1 thread".to_owned(),
        threads => format!("arrow-rs, {threads} threads"),
    }
}

/// A row per case and program: its speed, and the share of the bare writer's.
fn speeds(cases: &[Case], times: &[Times], cores: u32) -> Vec<Vec<String>> {
    let mut rows = Vec::new();
    for (case, times) in cases.iter().zip(times) {
        let bare = times.get(&bare_label(cores));
        for (program, time) in times {
            let seconds = time.job.as_secs_f64();
            let share = bare.map_or("-".to_owned(), |bare| {
                format!("{:.2}", bare.job.as_secs_f64() / seconds)
            });
            rows.push(vec![
                case.name.clone(),
                program.clone(),
                format!("{:.2}", case.rows as f64 / seconds / 1e6),
                format!("{:.0}", case.bytes as f64 / seconds / 1e6),
                share,
            ]);
        }
    }
    rows
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::compare::Spent;

    #[test]
    fn speeds_stand_beside_the_bare_writer_of_all_cores() {
        let case = Case {
            name: "disk".to_owned(),
            rows: 2_000_000,
            bytes: 100_000_000,
            runners: Vec::new(),
            answer: None,
        };
        let times: Times = [("weir", 2_000), ("arrow-rs, 2 threads", 1_000)]
            .map(|(name, millis)| {
                let job = Duration::from_millis(millis);
                (name.to_owned(), Spent { job, cpu: None })
            })
            .into();
        let rows = speeds(std::slice::from_ref(&case), &[times], 2);
        assert_eq!(
            rows[0],
            ["disk", "arrow-rs, 2 threads", "2.00", "100", "1.00"]
        );
        assert_eq!(rows[1], ["disk", "weir", "1.00", "50", "0.50"]);
    }
}
