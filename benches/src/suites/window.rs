//! Count and sum per key over tumbling windows of 10 seconds, at several numbers of keys.

use clap::Args;

use super::Suite;
use crate::compare::{Bench, Case, Part, Runner};
use crate::data;
use crate::failure::Result;
use crate::programs::Job;
use crate::report::Report;
use crate::settings::{self, Settings};

/// Peers with a query in SQL.
const IN_SQL: [&str; 3] = ["duckdb", "datafusion", "flink"];
/// Peers that have it as a function `tumble` in their script.
const IN_PYTHON: [&str; 2] = ["polars", "spark"];

/// Peers that would take minutes or hours for all rows, with the rows that they read.
const SLOW: [(&str, u64); 2] = [("pathway", 2_000_000), ("bytewax", 200_000)];

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
        let of = |folder: &str| in_sql(folder, &input, self.rows);
        let mut runners = vec![Runner::new("weir", of("")?)];
        for peer in IN_SQL {
            runners.push(Runner::new(peer, of(&format!("{peer}/"))?));
        }
        for peer in IN_PYTHON {
            runners.push(Runner::new(peer, in_python(&input, self.rows)));
        }
        for (peer, rows) in SLOW {
            if rows >= self.rows {
                runners.push(Runner::new(peer, in_python(&input, self.rows)));
                continue;
            }
            let input = data::window::first(rows, self.rows, keys)?;
            let part = Part {
                rows,
                bytes: input.bytes("p"),
                answer: in_sql("duckdb/", &input, rows)?,
            };
            runners.push(Runner::of_part(peer, in_python(&input, rows), part));
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

/// The query in SQL, Weir's own or that of a peer with a folder.
fn in_sql(folder: &str, input: &data::Input, rows: u64) -> Result<Job> {
    Ok(Job {
        sources: settings::query(&format!("window/{folder}sources.sql"))?,
        query: settings::query(&format!("window/{folder}tumble.sql"))?,
        ..on(input, rows)
    })
}

/// The query as a function of a peer's script.
fn in_python(input: &data::Input, rows: u64) -> Job {
    Job {
        sources: "${DATA}".to_owned(),
        query: "tumble".to_owned(),
        ..on(input, rows)
    }
}

fn on(input: &data::Input, rows: u64) -> Job {
    Job {
        variables: [("DATA".to_owned(), input.folder.display().to_string())].into(),
        rows: Some(rows),
        ..Job::default()
    }
}
