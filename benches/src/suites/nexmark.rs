//! Queries of the Nexmark benchmark over bids in Parquet.

use super::{Case, Suite};
use crate::data;
use crate::failure::Result;

/// Flags of the suite.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct Args {
    /// Events of all kinds; 46 of 50 are bids
    #[arg(long, default_value_t = EVENTS, value_parser = clap::value_parser!(u64).range(50..=1_000_000_000))]
    events: u64,

    /// Queries, one case each
    #[arg(long, value_delimiter = ',', default_values = QUERY_NAMES, value_parser = QUERY_NAMES)]
    queries: Vec<String>,
}

const EVENTS: u64 = 10_000_000;
const QUERY_NAMES: [&str; 5] = ["q0", "q1", "q2", "q5", "q7"];

impl Default for Args {
    fn default() -> Self {
        Self {
            events: EVENTS,
            queries: QUERY_NAMES.map(str::to_owned).to_vec(),
        }
    }
}

/// The suite `nexmark`.
#[derive(Debug)]
pub(crate) struct Nexmark {
    args: Args,
}

impl Nexmark {
    /// Takes the flags.
    pub(crate) fn new(args: &Args) -> Self {
        Self { args: args.clone() }
    }
}

struct Query {
    name: &'static str,
    script: &'static str,
    duckdb: &'static str,
}

const QUERIES: &[Query] = &[
    Query {
        name: "q0",
        script: "q0.sql",
        duckdb: "SELECT auction, bidder, price, date_time, extra FROM bid",
    },
    Query {
        name: "q1",
        script: "q1.sql",
        duckdb: "SELECT auction, bidder, 0.908::DOUBLE * price AS price, date_time, extra FROM bid",
    },
    Query {
        name: "q2",
        script: "q2.sql",
        duckdb: "SELECT auction, price FROM bid WHERE auction % 123 = 0",
    },
    // The fast way to write it: count once per slide, then add up the five slides of a window.
    Query {
        name: "q5",
        script: "q5.sql",
        duckdb: "SELECT make_timestamp(start * 2000000) AS window_start, auction, num FROM \
            (SELECT slide - k AS start, auction, sum(num)::BIGINT AS num FROM \
            (SELECT epoch_us(date_time) // 2000000 AS slide, auction, count(*) AS num \
            FROM bid GROUP BY ALL), range(5) AS steps(k) GROUP BY ALL)",
    },
    Query {
        name: "q7",
        script: "q7.sql",
        duckdb: "SELECT make_timestamp(bucket * 10000000) AS window_start, price FROM (SELECT \
            epoch_us(date_time) // 10000000 AS bucket, max(price) AS price FROM bid GROUP BY ALL)",
    },
];

impl Suite for Nexmark {
    fn name(&self) -> &'static str {
        "nexmark"
    }

    fn about(&self) -> String {
        format!(
            "Nexmark over {} bids in two Parquet files that each span the whole time; q5 and q7: \
             their window part",
            data::nexmark::bids(self.args.events)
        )
    }

    fn cases(&self) -> Result<Vec<Case>> {
        let input = data::nexmark::input(self.args.events)?;
        let folder = input.folder.display().to_string();
        let bid = format!("read_parquet('{folder}/bid-*.parquet')");
        let wanted = |query: &&Query| self.args.queries.iter().any(|name| name == query.name);
        let case = |query: &Query| Case {
            name: query.name.to_owned(),
            rows: data::nexmark::bids(self.args.events),
            bytes: input.bytes("bid"),
            script: query.script,
            variables: vec![("DATA".to_owned(), folder.clone())],
            duckdb: query.duckdb.replace("FROM bid", &format!("FROM {bid}")),
        };
        Ok(QUERIES.iter().filter(wanted).map(case).collect())
    }
}
