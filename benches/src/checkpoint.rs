//! What checkpoints cost: the same pipeline with and without them, in turn.

use std::path::Path;
use std::time::Duration;

use crate::failure::{During, Result};
use crate::measure::{median, spread};
use crate::program::Weir;
use crate::report;
use crate::settings::{self, Settings};

/// Flags of the suite.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct Args {
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

/// Counts bids per auction and window.
fn script(args: &Args) -> String {
    let Args {
        events,
        interval,
        window,
        ..
    } = args;
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

/// Runs the pipeline in turn with and without checkpoints, and tells the ratio.
pub(crate) fn run(args: &Args, settings: &Settings) -> Result<bool> {
    let weir = Weir::find(settings)?;
    let folder = settings::scratch("checkpoint")?;
    let path = folder.join("counts.sql");
    std::fs::write(&path, script(args)).during("writing the script")?;
    if let Some(seconds) = args.restart_after {
        return restart(
            &weir,
            &path,
            &folder,
            Duration::from_secs(seconds),
            settings,
        );
    }
    let (mut without, mut with) = (Vec::new(), Vec::new());
    let mut last = serde_json::Value::Null;
    for number in 0..settings.runs {
        let (run, _) = weir.run_alone(&path, None)?;
        without.push(run.job);
        let state = folder.join(format!("state-{number}"));
        let (run, summary) = weir.run_alone(&path, Some(&state))?;
        with.push(run.job);
        last = summary;
    }
    tell("without checkpoints", args.events, &without);
    tell("with checkpoints", args.events, &with);
    let cost = median(&with).as_secs_f64() / median(&without).as_secs_f64() - 1.0;
    let taken = &last["checkpoints"];
    report::note(&format!(
        "cost {:.1} %: {} checkpoints in the last run, {} bytes of state, the longest took {} ms",
        cost * 100.0,
        taken["count"],
        taken["bytes"],
        taken["longest_ms"]
    ));
    Ok(true)
}

/// Stops the pipeline and starts it again: tells how much state there is, how long it takes to come
/// back, and what the checkpoints of each run write.
fn restart(
    weir: &Weir,
    script: &Path,
    folder: &Path,
    time: Duration,
    settings: &Settings,
) -> Result<bool> {
    let state = folder.join("state-restart");
    for number in 0..=settings.runs {
        let (run, summary) = weir.run_for(script, &state, time)?;
        let taken = &summary["checkpoints"];
        report::note(&format!(
            "run {number}: {} rows, back in {} ms; {} checkpoints wrote {} MB, the longest took \
             {} ms; {} MB of files; peak {} MB",
            run.rows_in,
            taken["restore_ms"],
            taken["count"],
            taken["bytes"].as_u64().unwrap_or(0) / 1_000_000,
            taken["longest_ms"],
            size(&state).during("measuring the state")? / 1_000_000,
            run.peak_bytes.unwrap_or(0) / 1_000_000,
        ));
    }
    Ok(true)
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

fn tell(name: &str, events: u64, times: &[Duration]) {
    let middle = median(times).as_secs_f64();
    let rate = events as f64 / middle / 1e6;
    let apart = spread(times) * 100.0;
    report::note(&format!(
        "{name:<20} {middle:.2} s (spread {apart:.0} %), {rate:.2} M events/s"
    ));
}
