//! Rules over orders of ten columns: reading alone, nine rules over rows, and one over keys more.

use clap::Args;

use super::Suite;
use crate::compare::{Bench, Case, Runner};
use crate::data::{self, orders};
use crate::failure::Result;
use crate::programs::{Job, Mode};
use crate::report::Report;
use crate::settings::{self, Settings};

/// Engines, each with one query of all rules, written by hand.
const ENGINES: [&str; 2] = ["duckdb", "datafusion"];
/// Programs that are made for rules.
const CHECKERS: [&str; 3] = ["pandera", "pointblank", "great_expectations"];
/// What Weir's rules have found.
const FOUND: &str = "SELECT rule, violated FROM weir.quality_results";

/// The suite `quality`.
#[derive(Debug, Args)]
pub(crate) struct Quality {
    /// Rows
    #[arg(long, default_value_t = 5_000_000, value_parser = clap::value_parser!(u64).range(1..=1_000_000_000))]
    rows: u64,
}

impl Suite for Quality {
    const NAME: &'static str = "quality";
    const ABOUT: &'static str = "Rules over rows and keys, from Parquet";

    fn run(&self, settings: &Settings) -> Result<bool> {
        let about = format!(
            "{} orders of ten columns in two Parquet files, of which one in a thousand breaks each rule; timed from the \
             text of the sources and the rules to the last row",
            self.rows
        );
        let report = Report::new(Self::NAME, about, settings);
        let input = orders::input(self.rows)?;
        let mut cases = Vec::new();
        for name in ["read", "nine", "ten"] {
            if settings.wants_case(name) {
                cases.push(self.case(name, &input)?);
            }
        }
        Bench::start(settings).run(report, &cases)
    }
}

impl Quality {
    fn case(&self, name: &str, input: &data::Input) -> Result<Case> {
        let rules = name != "read";
        let file = |path: String| settings::query(&format!("quality/{path}.sql"));
        let sources = if rules { name } else { "sources" };
        let weir = Job {
            sources: file(sources.to_owned())?,
            query: file("read".to_owned())?,
            found: rules.then(|| FOUND.to_owned()),
            ..self.on(input)
        };
        let mut runners = vec![Runner::new("weir", weir)];
        let of_engine = |engine: &str| -> Result<Job> {
            Ok(Job {
                sources: file(format!("{engine}/sources"))?,
                query: file(format!("{engine}/{name}"))?,
                ..self.on(input)
            })
        };
        for engine in ENGINES {
            runners.push(Runner::new(engine, of_engine(engine)?));
        }
        for checker in CHECKERS.into_iter().filter(|_| rules) {
            let job = Job {
                sources: "${DATA}".to_owned(),
                query: name.to_owned(),
                ..self.on(input)
            };
            runners.push(Runner::new(checker, job));
        }
        Ok(Case {
            name: name.to_owned(),
            rows: self.rows,
            bytes: input.bytes("o"),
            runners,
            answer: Some(of_engine("duckdb")?),
        })
    }

    fn on(&self, input: &data::Input) -> Job {
        Job {
            variables: [("DATA".to_owned(), input.folder.display().to_string())].into(),
            mode: Mode::Batch,
            rows: Some(self.rows),
            ..Job::default()
        }
    }
}
