//! Count and sum per key over tumbling windows of 10 seconds, at several numbers of keys.

use clap::Args;

use super::Suite;
use crate::compare::{Bench, Case, Runner};
use crate::data;
use crate::failure::Result;
use crate::programs::Job;
use crate::report::Report;
use crate::settings::{self, Settings};

/// Peers with a query in SQL.
const IN_SQL: [&str; 3] = ["duckdb", "datafusion", "flink"];
/// Peers that have it as a function `tumble` in their script.
const IN_PYTHON: [&str; 2] = ["polars", "spark"];

/// The suite `window`.
#[derive(Debug, Args)]
pub(crate) struct Window {
    /// Rows, over 100 windows
    #[arg(long, default_value_t = 10_000_000, value_parser = clap::value_parser!(u64).range(1..=1_000_000_000))]
    rows: u64,

    /// Numbers of keys, one case each
    #[arg(long, value_delimiter = ',', default_values_t = [10, 1_000, 10_000, 1_000_000], value_parser = clap::value_parser!(u64).range(1..))]
    keys: Vec<u64>,
}

impl Suite for Window {
    const NAME: &'static str = "window";
    const ABOUT: &'static str = "Count and sum per key over windows of 10 seconds, from Parquet";

    fn run(&self, settings: &Settings) -> Result<bool> {
        let about = "count and sum per key over tumbling windows of 10 s, streaming; two Parquet files \
                     that each span 1,000 s, 2 s of disorder";
        let report = Report::new(Self::NAME, about.to_owned(), settings);
        let mut cases = Vec::new();
        for keys in &self.keys {
            let name = format!("{keys} keys");
            if settings.wants_case(&name) {
                cases.push(self.case(name, *keys)?);
            }
        }
        Bench::start(settings).run(report, &cases)
    }
}

/// The counts and sums of so many rows and keys.
pub(super) fn of(rows: u64, keys: u64) -> Result<Case> {
    let suite = Window {
        rows,
        keys: vec![keys],
    };
    suite.case(format!("{keys} keys"), keys)
}

impl Window {
    fn case(&self, name: String, keys: u64) -> Result<Case> {
        let input = data::window::input(self.rows, keys)?;
        let job = |sources: String, query: String| Job {
            sources,
            query,
            variables: [("DATA".to_owned(), input.folder.display().to_string())].into(),
            rows: Some(self.rows),
            ..Job::default()
        };
        let of = |folder: &str| -> Result<Job> {
            Ok(job(
                settings::query(&format!("window/{folder}sources.sql"))?,
                settings::query(&format!("window/{folder}tumble.sql"))?,
            ))
        };
        let mut runners = vec![Runner::new("weir", of("")?)];
        for peer in IN_SQL {
            runners.push(Runner::new(peer, of(&format!("{peer}/"))?));
        }
        for peer in IN_PYTHON {
            runners.push(Runner::new(
                peer,
                job("${DATA}".to_owned(), "tumble".to_owned()),
            ));
        }
        Ok(Case {
            name,
            rows: self.rows,
            bytes: input.bytes("p"),
            runners,
            answer: Some(of("duckdb/")?),
        })
    }
}
