//! All queries of the Nexmark benchmark, from Parquet, from the generator, or as JSON through Kafka.

use clap::{Args, ValueEnum};

use super::Suite;
use crate::compare::{Bench, Case, Runner};
use crate::data::{self, nexmark::Kind, topics::Topics};
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
    /// JSON in the topics of a broker, one each of bids, auctions and people
    Kafka,
}

impl From {
    /// The name of the results, which are a file for each.
    fn results(self) -> &'static str {
        match self {
            Self::Parquet => Nexmark::NAME,
            Self::Generator => "nexmark_generator",
            Self::Kafka => "nexmark_kafka",
        }
    }

    /// The name of the sources in `queries/nexmark`, its own or a peer's.
    fn sources(self) -> &'static str {
        match self {
            Self::Parquet => "from_parquet",
            Self::Generator => "from_generator",
            Self::Kafka => "from_kafka",
        }
    }
}

/// What the queries read.
#[derive(Debug)]
struct Input {
    /// The files, which the judge reads in any case.
    files: data::Input,
    /// The topics, when the events come from there.
    topics: Option<Topics>,
}

impl Input {
    fn bytes(&self, kind: Kind) -> u64 {
        match &self.topics {
            Some(topics) => topics.bytes(kind),
            None => self.files.bytes(kind.name()),
        }
    }
}

impl Suite for Nexmark {
    const NAME: &'static str = "nexmark";
    const ABOUT: &'static str = "The queries of the Nexmark benchmark";

    fn run(&self, settings: &Settings) -> Result<bool> {
        let topics = match self.from {
            From::Kafka => Some(Topics::fill(self.events, settings)?),
            From::Parquet | From::Generator => None,
        };
        let files = data::nexmark::input(self.events)?;
        let input = Input { files, topics };
        let about = format!(
            "Nexmark over {} events, {:?}, streaming",
            self.events, self.from
        );
        let report = Report::new(self.from.results(), about.to_lowercase(), settings);
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
    let files = data::nexmark::input(events)?;
    let topics = None;
    suite.case(query, &Input { files, topics })
}

impl Nexmark {
    fn names(&self) -> Vec<String> {
        if self.queries.is_empty() {
            return (0..=22).map(|number| format!("q{number}")).collect();
        }
        self.queries.clone()
    }

    fn case(&self, query: &str, input: &Input) -> Result<Case> {
        let text = settings::query(&format!("nexmark/{query}.sql"))?;
        let kinds: Vec<_> = Kind::ALL
            .into_iter()
            .filter(|kind| kind.is_read_by(&text))
            .collect();
        let rows = kinds.iter().map(|kind| kind.among(self.events)).sum();
        let topics = input.topics.as_ref();
        let mut variables = topics.map(Topics::variables).unwrap_or_default();
        let folder = input.files.folder.display().to_string();
        variables.insert("DATA".to_owned(), folder);
        variables.insert("EVENTS".to_owned(), self.events.to_string());
        let weir = Job {
            sources: settings::query(&format!("nexmark/{}.sql", self.from.sources()))?,
            query: text,
            variables,
            is_updating: UPDATING.contains(&query),
            rows: Some(rows),
            ..Job::default()
        };
        let of_peer = |peer: &str, from: From| -> Result<Job> {
            Ok(Job {
                sources: settings::query(&format!("nexmark/{peer}/{}.sql", from.sources()))?,
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
            Some(of_peer("duckdb", From::Parquet)?)
        };
        // DuckDB reads no topics; who makes events of their numbers is compared with readers of files.
        if let (Some(answer), None) = (&answer, topics) {
            runners.push(Runner::new("duckdb", answer.clone()));
        }
        if !NOT_IN_FLINK.contains(&query) {
            let from = if topics.is_some() {
                From::Kafka
            } else {
                From::Parquet
            };
            runners.push(Runner::new("flink", of_peer("flink", from)?));
        }
        Ok(Case {
            name: query.to_owned(),
            rows,
            bytes: kinds.iter().map(|kind| input.bytes(*kind)).sum(),
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
        part: None,
        job: Job {
            checkpoints: true,
            ..weir.clone()
        },
    }];
    if !weir.is_updating {
        ways.push(Runner {
            label: "weir, exactly once".to_owned(),
            program: "weir",
            part: None,
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
    fn every_place_has_its_sources() {
        for from in [From::Parquet, From::Generator, From::Kafka] {
            settings::query(&format!("nexmark/{}.sql", from.sources())).unwrap();
        }
        for from in [From::Parquet, From::Kafka] {
            settings::query(&format!("nexmark/flink/{}.sql", from.sources())).unwrap();
        }
    }

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
