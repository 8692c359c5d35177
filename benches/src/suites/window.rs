//! Count and sum per key over tumbling windows of 10 seconds, at several numbers of keys.

use super::{Case, Suite};
use crate::data;
use crate::failure::Result;

/// Flags of the suite.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct Args {
    /// Rows, over 100 windows
    #[arg(long, default_value_t = ROWS, value_parser = clap::value_parser!(u64).range(1..=1_000_000_000))]
    rows: u64,

    /// Numbers of keys, one case each
    #[arg(long, value_delimiter = ',', default_values_t = KEYS, value_parser = clap::value_parser!(u64).range(1..))]
    keys: Vec<u64>,
}

const ROWS: u64 = 10_000_000;
const KEYS: [u64; 4] = [10, 1_000, 10_000, 1_000_000];

impl Default for Args {
    fn default() -> Self {
        Self {
            rows: ROWS,
            keys: KEYS.to_vec(),
        }
    }
}

/// The suite `window`.
#[derive(Debug)]
pub(crate) struct Window {
    args: Args,
}

impl Window {
    /// Takes the flags.
    pub(crate) fn new(args: &Args) -> Self {
        Self { args: args.clone() }
    }
}

/// Groups by whole numbers, which is faster in DuckDB than `time_bucket`.
const DUCKDB: &str = "SELECT make_timestamp(bucket * 10000000) AS window_start, key, c, s \
    FROM (SELECT epoch_us(ts) // 10000000 AS bucket, key, count(*) AS c, sum(value) AS s \
    FROM read_parquet('${DATA}/*.parquet') GROUP BY ALL)";

impl Suite for Window {
    fn name(&self) -> &'static str {
        "window"
    }

    fn about(&self) -> String {
        "count and sum per key over tumbling windows of 10 s; two Parquet files that each span \
         1,000 s, 2 s of disorder"
            .to_owned()
    }

    fn cases(&self) -> Result<Vec<Case>> {
        self.args
            .keys
            .iter()
            .map(|keys| {
                let input = data::window::input(self.args.rows, *keys)?;
                let folder = input.folder.display().to_string();
                Ok(Case {
                    name: format!("{keys} keys"),
                    rows: self.args.rows,
                    bytes: input.bytes("p"),
                    script: "window.sql",
                    duckdb: DUCKDB.replace("${DATA}", &folder),
                    variables: vec![("DATA".to_owned(), folder)],
                })
            })
            .collect()
    }
}
