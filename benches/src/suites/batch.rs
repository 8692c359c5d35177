//! TPC-H through a pipeline in batch mode: all 22 queries with the values of the specification's
//! validation, from Parquet.

use std::time::Duration;

use clap::Args;

use super::Suite;
use crate::compare::{Bench, Case, Runner, Times};
use crate::data::{self, tpch};
use crate::failure::{Failure, Result};
use crate::programs::{Job, Mode};
use crate::report::Report;
use crate::settings::{self, Settings};

/// Peers, which all take the same text.
const PEERS: [&str; 3] = ["datafusion", "duckdb", "polars"];
/// Digits of averages and shares that count: engines add up and divide in types of their own.
const DIGITS: u32 = 10;

/// The suite `batch`.
#[derive(Debug, Args)]
pub(crate) struct Batch {
    /// Scale factor of TPC-H: 1 is 8.7 million rows, six million of them in `lineitem`
    #[arg(long, default_value_t = 1.0)]
    scale: f64,

    /// Queries, one case each [default: q1 to q22]
    #[arg(long, value_delimiter = ',')]
    queries: Vec<String>,
}

impl Suite for Batch {
    const NAME: &'static str = "batch";
    const ABOUT: &'static str = "The queries of TPC-H in batch mode, from Parquet";

    fn run(&self, settings: &Settings) -> Result<bool> {
        if !(self.scale > 0.0 && self.scale <= 1_000.0) {
            return Err(Failure::new("--scale is above 0 and at most 1000"));
        }
        let input = tpch::input(self.scale)?;
        let about = format!(
            "TPC-H at scale factor {}, a Parquet file per table, in batch mode; timed from the text \
             of the sources and the query to the last row",
            self.scale
        );
        let mut report = Report::new(Self::NAME, about, settings);
        let mut cases = Vec::new();
        for query in self.names() {
            if settings.wants_case(&query) {
                cases.push(case(&query, self.scale, &input)?);
            }
        }
        let times = Bench::start(settings).run_each(&mut report, &cases);
        let names: Vec<_> = cases.iter().map(|case| case.name.as_str()).collect();
        report.table(
            "All queries that both have a time for",
            &[
                "program",
                "queries",
                "s",
                "weir s",
                "weir / program",
                "worst",
            ],
            totals(&names, &times),
        );
        report.finish()
    }
}

impl Batch {
    fn names(&self) -> Vec<String> {
        if self.queries.is_empty() {
            return (1..=22).map(|number| format!("q{number}")).collect();
        }
        self.queries.clone()
    }
}

/// A query as a case.
pub(super) fn case(query: &str, scale: f64, input: &data::Input) -> Result<Case> {
    let text = settings::query(&format!("batch/tpch/{query}.sql"))?;
    let (mut rows, mut bytes) = (0, 0);
    for table in tpch::TABLES {
        if tpch::is_read_by(table, &text) {
            rows += tpch::rows(input, table)?;
            bytes += input.bytes(&format!("{table}."));
        }
    }
    let fraction = format!("{:.10}", 0.0001 / scale);
    let variables = [
        ("DATA".to_owned(), input.folder.display().to_string()),
        ("FRACTION".to_owned(), fraction),
    ];
    let job = |sources: &str| -> Result<Job> {
        Ok(Job {
            sources: settings::query(&format!("batch/{sources}sources.sql"))?,
            query: text.clone(),
            variables: variables.clone().into(),
            mode: Mode::Batch,
            digits: Some(DIGITS),
            rows: Some(rows),
            ..Job::default()
        })
    };
    let mut runners = vec![Runner::new("weir", job("")?)];
    for peer in PEERS {
        runners.push(Runner::new(peer, job(&format!("{peer}/"))?));
    }
    Ok(Case {
        name: query.to_owned(),
        rows,
        bytes,
        runners,
        answer: Some(job("duckdb/")?),
    })
}

/// A row per peer: the sums of the times of all queries that it and Weir have a time for, their
/// ratio, and the query in which Weir compares worst.
fn totals(names: &[&str], times: &[Times]) -> Vec<Vec<String>> {
    let row = |peer: &str| {
        let (mut count, mut weir_all, mut peer_all) = (0, Duration::ZERO, Duration::ZERO);
        let mut worst: Option<(f64, &str)> = None;
        for (name, times) in names.iter().zip(times) {
            if let (Some(weir), Some(time)) = (times.get("weir"), times.get(peer)) {
                count += 1;
                let (weir, time) = (weir.job, time.job);
                weir_all += weir;
                peer_all += time;
                let ratio = weir.as_secs_f64() / time.as_secs_f64();
                if worst.is_none_or(|(most, _)| ratio > most) {
                    worst = Some((ratio, name));
                }
            }
        }
        let (ratio, name) = worst?;
        let (weir, time) = (weir_all.as_secs_f64(), peer_all.as_secs_f64());
        Some(vec![
            peer.to_owned(),
            count.to_string(),
            format!("{time:.3}"),
            format!("{weir:.3}"),
            format!("{:.2}", weir / time),
            format!("{ratio:.2} in {name}"),
        ])
    };
    PEERS.iter().filter_map(|peer| row(peer)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::compare::Spent;

    #[test]
    fn every_query_reads_a_table() {
        for number in 1..=22 {
            let text = settings::query(&format!("batch/tpch/q{number}.sql")).unwrap();
            let reads = |table: &str| tpch::is_read_by(table, &text);
            assert!(tpch::TABLES.iter().any(|table| reads(table)), "q{number}");
        }
    }

    #[test]
    fn totals_take_the_queries_that_both_finished() {
        let times = |weir: u64, peer: Option<u64>| -> Times {
            let spent = |ms: u64| Spent {
                job: Duration::from_millis(ms),
                cpu: None,
            };
            let peer = peer.map(|ms| ("datafusion".to_owned(), spent(ms)));
            [("weir".to_owned(), spent(weir))]
                .into_iter()
                .chain(peer)
                .collect()
        };
        let all = [
            times(100, Some(200)),
            times(600, Some(400)),
            times(900, None),
        ];
        assert_eq!(
            totals(&["q1", "q2", "q3"], &all),
            [["datafusion", "2", "0.600", "0.700", "1.17", "1.50 in q2"].map(str::to_owned)]
        );
    }
}
