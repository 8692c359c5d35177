//! All queries of the Nexmark benchmark, from Parquet, from the generator, or as JSON through Kafka.

use std::collections::BTreeMap;

use clap::{Args, ValueEnum};

use super::Suite;
use crate::compare::{Bench, Case, Runner};
use crate::data::{self, nexmark::Kind};
use crate::failure::Result;
use crate::programs::{Into, Job};
use crate::report::Report;
use crate::settings::{self, Settings};

/// Queries whose results change, so that they are compared as they are in the end.
const UPDATING: [&str; 8] = ["q4", "q6", "q9", "q15", "q16", "q17", "q18", "q19"];
/// Queries whose rows depend on the clock.
const BY_CLOCK: [&str; 1] = ["q12"];
/// Queries that Flink's SQL has a form for; it has none for q6, over rows that change.
const NOT_IN_FLINK: [&str; 1] = ["q6"];

/// The suite `nexmark`.
#[derive(Debug, Args)]
pub(crate) struct Nexmark {
    /// Events of all kinds; of 50, one is a person, three are auctions and 46 are bids
    #[arg(long, default_value_t = 10_000_000, value_parser = clap::value_parser!(u64).range(50..=1_000_000_000))]
    events: u64,

    /// Queries, one case each [default: q0 to q22]
    #[arg(long, value_delimiter = ',')]
    queries: Vec<String>,

    /// Where the events come from
    #[arg(long, value_enum, default_value_t = From::Parquet)]
    from: From,

    /// Measure Weir with checkpoints and into exactly-once Parquet as well
    #[arg(long)]
    ways: bool,
}

/// Where the events come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum From {
    /// Two files of bids, one each of auctions and people
    Parquet,
    /// The `nexmark` connector, which makes them from their numbers
    Generator,
}

impl Suite for Nexmark {
    const NAME: &'static str = "nexmark";
    const ABOUT: &'static str = "The queries of the Nexmark benchmark";

    fn run(&self, settings: &Settings) -> Result<bool> {
        let input = data::nexmark::input(self.events)?;
        let about = format!(
            "Nexmark over {} events, {:?}, streaming",
            self.events, self.from
        );
        let report = Report::new(Self::NAME, about.to_lowercase(), settings);
        let mut cases = Vec::new();
        for query in self.names() {
            if settings.wants_case(&query) {
                cases.push(self.case(&query, &input)?);
            }
        }
        Bench::start(settings).run(report, &cases)
    }
}

/// A query over the Parquet files alone.
pub(super) fn from_parquet(query: &str, events: u64) -> Result<Case> {
    let suite = Nexmark {
        events,
        queries: Vec::new(),
        from: From::Parquet,
        ways: false,
    };
    suite.case(query, &data::nexmark::input(events)?)
}

impl Nexmark {
    fn names(&self) -> Vec<String> {
        if self.queries.is_empty() {
            return (0..=22).map(|number| format!("q{number}")).collect();
        }
        self.queries.clone()
    }

    fn case(&self, query: &str, input: &data::Input) -> Result<Case> {
        let text = settings::query(&format!("nexmark/{query}.sql"))?;
        let kinds: Vec<_> = Kind::ALL
            .into_iter()
            .filter(|kind| kind.is_read_by(&text))
            .collect();
        let rows = kinds.iter().map(|kind| kind.among(self.events)).sum();
        let variables: BTreeMap<_, _> = [
            ("DATA".to_owned(), input.folder.display().to_string()),
            ("EVENTS".to_owned(), self.events.to_string()),
        ]
        .into();
        let from = match self.from {
            From::Parquet => "from_parquet",
            From::Generator => "from_generator",
        };
        let weir = Job {
            sources: settings::query(&format!("nexmark/{from}.sql"))?,
            query: text,
            variables,
            is_updating: UPDATING.contains(&query),
            rows: Some(rows),
            ..Job::default()
        };
        let of_peer = |peer: &str| -> Result<Job> {
            Ok(Job {
                sources: settings::query(&format!("nexmark/{peer}/sources.sql"))?,
                query: settings::query(&format!("nexmark/{peer}/{query}.sql"))?,
                ..weir.clone()
            })
        };
        let mut runners = vec![Runner::new("weir", weir.clone())];
        if self.ways {
            runners.extend(ways(&weir));
        }
        let answer = if BY_CLOCK.contains(&query) {
            None
        } else {
            Some(of_peer("duckdb")?)
        };
        if let Some(answer) = &answer {
            runners.push(Runner::new("duckdb", answer.clone()));
        }
        if !NOT_IN_FLINK.contains(&query) {
            runners.push(Runner::new("flink", of_peer("flink")?));
        }
        Ok(Case {
            name: query.to_owned(),
            rows,
            bytes: kinds.iter().map(|kind| input.bytes(kind.name())).sum(),
            runners,
            answer,
        })
    }
}

/// The same with checkpoints, into nothing and into files that appear once.
fn ways(weir: &Job) -> Vec<Runner> {
    let mut ways = vec![Runner {
        label: "weir, checkpoints".to_owned(),
        program: "weir",
        job: Job {
            checkpoints: true,
            ..weir.clone()
        },
    }];
    if !weir.is_updating {
        ways.push(Runner {
            label: "weir, exactly once".to_owned(),
            program: "weir",
            job: Job {
                checkpoints: true,
                into: Into::Files,
                ..weir.clone()
            },
        });
    }
    ways
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_query_is_there_for_weir_and_its_judge() {
        for number in 0..=22 {
            let query = format!("q{number}");
            let text = settings::query(&format!("nexmark/{query}.sql")).unwrap();
            assert!(
                Kind::ALL.into_iter().any(|kind| kind.is_read_by(&text)),
                "{query}"
            );
            if !BY_CLOCK.contains(&query.as_str()) {
                settings::query(&format!("nexmark/duckdb/{query}.sql")).unwrap();
            }
            if !NOT_IN_FLINK.contains(&query.as_str()) {
                settings::query(&format!("nexmark/flink/{query}.sql")).unwrap();
            }
        }
    }
}
