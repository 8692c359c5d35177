//! From the moment at which an event is due to the reader that has its row: through a broker, the
//! pipeline and a broker again, or out of `SUBSCRIBE`.

use clap::Args;

use super::Suite;
use crate::failure::{Failure, Result};
use crate::live::arrivals::Query;
use crate::live::pass::{Pass, Passed};
use crate::programs::{self, Into, Job, Program};
use crate::report::{self, Report};
use crate::servers::kafka::Kafka;
use crate::settings::{self, Settings};
use crate::statistics::permille;

/// Events per second when all are sent as fast as they go: more than any program here takes.
const FLOOD_RATE: u64 = 2_000_000;
/// Events per second and seconds of the pass that comes first and does not count: a fresh broker
/// takes seconds for what it does in milliseconds once it is compiled.
const WARMUP: (u64, u64) = (20_000, 10);
/// The queries.
const QUERIES: [(&str, Query); 2] = [("stateless", Query::Stateless), ("window", Query::Window)];
/// What the rows of the table say.
const COLUMNS: [&str; 12] = [
    "program",
    "checkpoints",
    "share of the highest rate",
    "events/s",
    "p50 ms",
    "p99 ms",
    "p99.9 ms",
    "max ms",
    "latencies",
    "cpu s",
    "peak MB",
    "rows",
];

/// The suite `latency`.
#[derive(Debug, Args)]
pub(crate) struct Latency {
    /// Time in which latencies are taken, in seconds
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u64).range(1..=3_600))]
    seconds: u64,

    /// Time before it at the same rate, in seconds
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u64).range(0..=600))]
    warmup: u64,

    /// Rates, in percent of the highest
    #[arg(long, value_delimiter = ',', default_values_t = [10, 50, 90], value_parser = clap::value_parser!(u64).range(1..=200))]
    shares: Vec<u64>,

    /// Events that are sent at once to find the highest rate
    #[arg(long, default_value_t = 3_000_000, value_parser = clap::value_parser!(u64).range(1_000..))]
    flood: u64,

    /// The highest rate in events per second, the same for every program, instead of the one that is found
    #[arg(long, value_parser = clap::value_parser!(u64).range(1..=100_000_000))]
    highest: Option<u64>,

    /// Partitions of the topics [default: the number of cores]
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..=256))]
    partitions: Option<u32>,

    /// Time between two checkpoints where rows come with them, in milliseconds
    #[arg(long, default_value_t = 1_000, value_parser = clap::value_parser!(u64).range(1..=600_000))]
    interval_ms: u64,
}

/// A program with the way that its rows take.
#[derive(Debug)]
struct Way {
    label: &'static str,
    program: &'static str,
    checkpoints: String,
    job: Job,
    /// Whether rows come with checkpoints, so that their interval is most of the latency.
    is_exact: bool,
}

impl Suite for Latency {
    const NAME: &'static str = "latency";
    const ABOUT: &'static str =
        "From an event to the reader of its row, at shares of the highest rate";

    fn run(&self, settings: &Settings) -> Result<bool> {
        let broker = Kafka::start()?;
        let about = format!(
            "from the time at which an event is due to the reader that has its row: JSON through a \
             topic of {} partitions, the pipeline, and a topic or SUBSCRIBE; broker, sender and reader \
             on the same cores; windows: past their end and the watermark's delay of 0.1 s; {} s at \
             each rate",
            self.partitions(settings),
            self.seconds
        );
        let mut report = Report::new(Self::NAME, about, settings);
        self.warm_up(&broker, settings)?;
        for (name, query) in QUERIES {
            if settings.wants_case(name) {
                let rows = self.measure(name, query, &broker, settings, &mut report)?;
                report.table(&format!("The query `{name}`"), &COLUMNS, rows);
            }
        }
        report.finish()
    }
}

impl Latency {
    fn partitions(&self, settings: &Settings) -> u32 {
        self.partitions.unwrap_or(settings.cores())
    }

    /// Has the broker take and give small requests for a while.
    fn warm_up(&self, broker: &Kafka, settings: &Settings) -> Result<()> {
        let (rate, seconds) = WARMUP;
        for way in self.ways("stateless", broker)?.iter().take(1) {
            let pass = Pass {
                broker,
                partitions: self.partitions(settings),
                job: &way.job,
                query: Query::Stateless,
                rate,
                count: rate * seconds,
                warmup: 0,
            };
            let mut program = programs::start(way.program, settings)?;
            check(&pass.run(program.as_mut())?)?;
        }
        Ok(())
    }

    /// Measures all ways of a query; what fails is noted and the others go on.
    fn measure(
        &self,
        name: &str,
        query: Query,
        broker: &Kafka,
        settings: &Settings,
        report: &mut Report,
    ) -> Result<Vec<Vec<String>>> {
        let mut rows = Vec::new();
        for way in self.ways(name, broker)? {
            if !settings.wants(way.program) {
                continue;
            }
            let mut program = match programs::start(way.program, settings) {
                Ok(program) => program,
                Err(error) => {
                    report.name_program(way.program, Err(&error));
                    continue;
                }
            };
            report.name_program(way.program, Ok(program.version()));
            let pass = Pass {
                broker,
                partitions: self.partitions(settings),
                job: &way.job,
                query,
                rate: FLOOD_RATE,
                count: self.flood,
                warmup: 0,
            };
            if let Err(error) = self.measure_way(&way, pass, program.as_mut(), &mut rows) {
                let text = format!("{name}: {}: {error}", way.label);
                report.fault(text, way.program == "weir");
            }
        }
        Ok(rows)
    }

    fn measure_way(
        &self,
        way: &Way,
        flood: Pass<'_>,
        program: &mut dyn Program,
        rows: &mut Vec<Vec<String>>,
    ) -> Result<()> {
        // The flood comes first in any case: it warms up the program and the broker.
        let found = highest(&flood.run(program)?)?;
        let highest = self.highest.unwrap_or(found);
        report::note(&format!("  {}: {highest} events/s at most", way.label));
        for share in self
            .shares
            .iter()
            .filter(|share| !way.is_exact || **share == 50)
        {
            let rate = (highest * share / 100).max(1);
            let passed = Pass {
                rate,
                count: rate * (self.warmup + self.seconds),
                warmup: rate * self.warmup,
                ..flood
            }
            .run(program)?;
            rows.push(row(way, *share, passed)?);
            report::note(&format!(
                "  {}",
                rows.last().map(|row| row.join(" | ")).unwrap_or_default()
            ));
        }
        Ok(())
    }

    /// Every program with every way out that it has.
    fn ways(&self, query: &str, broker: &Kafka) -> Result<Vec<Way>> {
        let job = |folder: &str, delivery: &str, into: Into| -> Result<Job> {
            let variables = [
                ("BROKER", broker.bootstrap().to_owned()),
                ("DELIVERY", delivery.to_owned()),
            ];
            Ok(Job {
                sources: settings::query(&format!("latency/{folder}sources.sql"))?,
                query: settings::query(&format!("latency/{folder}{query}.sql"))?,
                variables: variables
                    .map(|(name, value)| (name.to_owned(), value))
                    .into(),
                into,
                ..Job::default()
            })
        };
        let exact = |folder: &str| -> Result<Job> {
            let mut job = job(folder, "exactly_once", Into::AsItSays)?;
            let interval = format!("{}ms", self.interval_ms);
            job.variables.insert("INTERVAL".to_owned(), interval);
            Ok(job)
        };
        let into_topic = |mut job: Job| -> Result<Job> {
            job.query = settings::query("latency/topic.sql")? + &job.query;
            Ok(job)
        };
        let mut subscribe = job("", "", Into::Lines)?;
        subscribe.query = format!("SUBSCRIBE TO (\n{}\n);", subscribe.query);
        let way = |label, program, checkpoints: &str, job, is_exact| Way {
            label,
            program,
            checkpoints: checkpoints.to_owned(),
            job,
            is_exact,
        };
        let often = format!("every {} ms", self.interval_ms);
        let loose = |folder| job(folder, "at_least_once", Into::AsItSays);
        Ok(vec![
            way("weir", "weir", "every 5 s", into_topic(loose("")?)?, false),
            way("flink", "flink", "off", loose("flink/")?, false),
            way("weir, SUBSCRIBE", "weir", "off", subscribe, false),
            way(
                "weir, exactly once",
                "weir",
                &often,
                into_topic(exact("")?)?,
                true,
            ),
            way(
                "flink, exactly once",
                "flink",
                &often,
                exact("flink/")?,
                true,
            ),
        ])
    }
}

/// Says what is wrong with the rows of a pass.
fn check(passed: &Passed) -> Result<()> {
    let (missing, wrong) = (passed.arrivals.missing(), passed.arrivals.wrong());
    if missing == 0 && wrong == 0 {
        return Ok(());
    }
    Err(Failure::new(format!(
        "WRONG: {missing} rows missing, {wrong} that should not be"
    )))
}

/// Events per second from the first sent to the last row read.
fn highest(passed: &Passed) -> Result<u64> {
    check(passed)?;
    let time_us = passed
        .arrivals
        .last_us()
        .saturating_sub(passed.events.start_us);
    Ok((passed.events.count * 1_000_000).div_ceil(time_us.max(1)))
}

/// A row of the table.
fn row(way: &Way, share: u64, passed: Passed) -> Result<Vec<String>> {
    check(&passed)?;
    let (cpu, peak, rate) = (passed.cpu, passed.peak_bytes, passed.events.rate);
    let rows = passed.arrivals.rows();
    let latencies = passed.arrivals.latencies();
    let at = |thousandths| match permille(&latencies, thousandths) {
        Some(us) => format!("{:.1}", f64::from(us) / 1e3),
        None => "-".to_owned(),
    };
    Ok(vec![
        way.label.to_owned(),
        way.checkpoints.clone(),
        format!("{share} %"),
        rate.to_string(),
        at(500),
        at(990),
        at(999),
        at(1_000),
        latencies.len().to_string(),
        cpu.map_or_else(|| "-".to_owned(), |cpu| format!("{:.2}", cpu.as_secs_f64())),
        peak.map_or_else(|| "-".to_owned(), |bytes| (bytes / 1_000_000).to_string()),
        format!("all {rows} right"),
    ])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_query_is_there_for_both() {
        for (name, _) in QUERIES {
            for folder in ["", "flink/"] {
                settings::query(&format!("latency/{folder}{name}.sql")).unwrap();
            }
        }
    }
}
