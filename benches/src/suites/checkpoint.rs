//! What checkpoints cost: the same pipeline with and without them, in turn.

use std::path::Path;
use std::time::Duration;

use clap::Args;
use serde_json::Value;

use super::Suite;
use crate::failure::{During, Result};
use crate::programs::Run;
use crate::programs::weir::Weir;
use crate::report::Report;
use crate::settings::{self, Settings};
use crate::statistics::{median, spread};

/// The suite `checkpoint`.
#[derive(Debug, Args)]
pub(crate) struct Checkpoint {
    /// Events of the generated stream, 92 % of which are bids
    #[arg(long, default_value_t = 60_000_000)]
    events: u64,

    /// Time between two checkpoints
    #[arg(long, default_value = "5 seconds")]
    interval: String,

    /// Length of the windows in event time, of which 10,000 events take a second: longer ones keep
    /// more groups open
    #[arg(long, default_value = "60 seconds")]
    window: String,

    /// Instead of the cost: run for so many seconds, stop, and go on from the state, `runs` times
    #[arg(long)]
    restart_after: Option<u64>,
}

impl Suite for Checkpoint {
    const NAME: &'static str = "checkpoint";
    const ABOUT: &'static str =
        "What checkpoints cost: windows over generated bids, with and without";

    fn run(&self, settings: &Settings) -> Result<bool> {
        let weir = Weir::find(settings)?;
        let about = format!(
            "bids per auction in windows of {}, of {} generated events; a checkpoint every {}",
            self.window, self.events, self.interval
        );
        if let Some(seconds) = self.restart_after {
            return self.restart(&weir, Duration::from_secs(seconds), settings);
        }
        let mut report = Report::new(Self::NAME, about, settings);
        let (mut without, mut with) = (Vec::new(), Vec::new());
        let mut last = Value::Null;
        for _ in 0..settings.runs {
            let folder = settings::scratch("checkpoint")?;
            let script = self.script();
            without.push(weir.run_script(&script, &folder, &[])?.run);
            let told = weir.run_script(&script, &folder, &["--state", "state"])?;
            with.push(told.run);
            last = told.summary;
        }
        let columns = ["", "s", "±", "M events/s", "cpu s"];
        let rows = [
            ("without checkpoints", &without),
            ("with checkpoints", &with),
        ];
        let rows = rows.map(|(name, runs)| self.row(name, runs)).to_vec();
        report.table("Time of the job", &columns, rows);
        let share = |of: fn(&Run) -> Duration| {
            let times = |runs: &[Run]| median(&runs.iter().map(of).collect::<Vec<_>>());
            let cost = times(&with).as_secs_f64() / times(&without).as_secs_f64() - 1.0;
            format!("{:.1} %", cost * 100.0)
        };
        let taken = &last["checkpoints"];
        let number = |name: &str| taken[name].to_string();
        report.table(
            "Cost, and the checkpoints of the last run",
            &[
                "of time",
                "of processor time",
                "checkpoints",
                "bytes of state",
                "longest ms",
            ],
            vec![vec![
                share(|run| run.job),
                share(|run| run.cpu.unwrap_or_default()),
                number("count"),
                number("bytes"),
                number("longest_ms"),
            ]],
        );
        report.finish()
    }
}

impl Checkpoint {
    /// Counts bids per auction and window.
    fn script(&self) -> String {
        let Self {
            events,
            interval,
            window,
            ..
        } = self;
        format!(
            "SET pipeline.mode = 'streaming';
             SET pipeline.checkpoint_interval = '{interval}';
             CREATE SOURCE bids (auction BIGINT, price BIGINT, date_time TIMESTAMP,
                 WATERMARK FOR date_time AS date_time - INTERVAL '1 second')
             WITH (connector = 'nexmark', events = '{events}');
             CREATE SINK counts WITH (connector = 'blackhole') AS
             SELECT window_start, auction, count(*) AS c, sum(price) AS s
             FROM TUMBLE(bids, date_time, INTERVAL '{window}')
             GROUP BY window_start, window_end, auction;"
        )
    }

    /// Stops the pipeline and starts it again: tells how much state there is, how long it takes to
    /// come back, and what the checkpoints of each run write.
    fn restart(&self, weir: &Weir, time: Duration, settings: &Settings) -> Result<bool> {
        let about = format!(
            "bids per auction in windows of {}, stopped and started",
            self.window
        );
        let mut report = Report::new("restart", about, settings);
        let folder = settings::scratch("restart")?;
        let mut rows = Vec::new();
        for number in 0..=settings.runs {
            let told = weir.run_for(&self.script(), &folder, &["--state", "state"], time)?;
            let taken = &told.summary["checkpoints"];
            let megabytes = |bytes: u64| (bytes / 1_000_000).to_string();
            rows.push(vec![
                number.to_string(),
                told.summary["rows_in"].to_string(),
                taken["restore_ms"].to_string(),
                taken["count"].to_string(),
                megabytes(taken["bytes"].as_u64().unwrap_or(0)),
                taken["longest_ms"].to_string(),
                megabytes(size(&folder.join("state")).during("measuring the state")?),
                megabytes(told.run.peak_bytes.unwrap_or(0)),
            ]);
        }
        let columns = [
            "run",
            "rows",
            "back in ms",
            "checkpoints",
            "MB written",
            "longest ms",
            "MB of files",
            "peak MB",
        ];
        report.table("Starts from the state of the run before", &columns, rows);
        report.finish()
    }

    fn row(&self, name: &str, runs: &[Run]) -> Vec<String> {
        let jobs: Vec<_> = runs.iter().map(|run| run.job).collect();
        let cpus: Vec<_> = runs.iter().filter_map(|run| run.cpu).collect();
        let seconds = median(&jobs).as_secs_f64();
        vec![
            name.to_owned(),
            format!("{seconds:.2}"),
            format!("{:.0} %", spread(&jobs) * 100.0),
            format!("{:.2}", self.events as f64 / seconds / 1e6),
            format!("{:.2}", median(&cpus).as_secs_f64()),
        ]
    }
}

/// Bytes of all files below a folder.
fn size(folder: &Path) -> std::io::Result<u64> {
    let mut bytes = 0;
    for entry in std::fs::read_dir(folder)? {
        let entry = entry?;
        let meta = entry.metadata()?;
        bytes += if meta.is_dir() {
            size(&entry.path())?
        } else {
            meta.len()
        };
    }
    Ok(bytes)
}
