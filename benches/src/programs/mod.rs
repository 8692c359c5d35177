//! The programs that are measured: Weir, and its peers in processes of their own.

use std::collections::BTreeMap;
use std::fmt;
use std::io::Read;
use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use crate::failure::{Failure, Result};
use crate::settings::Settings;
use usage::Usage;

pub(crate) mod arrow_decoders;
pub(crate) mod arrow_rs;
mod child;
pub(crate) mod python;
mod running;
pub(crate) mod usage;
pub(crate) mod weir;

/// What a program has to do for a case, in its own words.
#[derive(Debug, Clone, Default)]
pub(crate) struct Job {
    /// Statements that make the inputs known; `${NAME}` stands for a variable.
    pub(crate) sources: String,
    /// The query; for a peer without SQL the name of a function in its script.
    pub(crate) query: String,
    /// The variables.
    pub(crate) variables: BTreeMap<String, String>,
    /// How it is run and timed.
    pub(crate) mode: Mode,
    /// Whether results change, so that they are those of the end.
    pub(crate) is_updating: bool,
    /// Digits to which the floating-point values of an answer count; without it, all bits of them.
    pub(crate) digits: Option<u32>,
    /// Where its rows go.
    pub(crate) into: Into,
    /// Whether checkpoints are taken, every 5 seconds.
    pub(crate) checkpoints: bool,
    /// Rows that the program must say it has read.
    pub(crate) rows: Option<u64>,
    /// Of Weir: a query over what the job has kept of itself, whose rows are the answer in place of the job's.
    pub(crate) found: Option<String>,
}

/// How a job is run and timed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) enum Mode {
    /// A pipeline over a stream, timed from the moment at which it is planned.
    #[default]
    Streaming,
    /// A question over what is there, timed from its text: listing files, reading schemas and
    /// planning count, the start of a program does not.
    Batch,
}

/// Where the rows of a timed run go.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) enum Into {
    /// They are made and forgotten.
    #[default]
    Nowhere,
    /// They are written as Parquet.
    Files,
    /// They are written as Parquet into a bucket, which the variables `S3_...` name.
    Bucket,
    /// The query itself says where; only of jobs without an end.
    AsItSays,
    /// They come out of the program as lines of JSON; only of jobs without an end.
    Lines,
}

impl Job {
    /// Puts the variables into a text.
    pub(crate) fn fill(&self, text: &str) -> String {
        let filled = |text: String, (name, value): (&String, &String)| {
            text.replace(&format!("${{{name}}}"), value)
        };
        self.variables.iter().fold(text.to_owned(), filled)
    }
}

/// One run.
#[derive(Debug, Clone)]
pub(crate) struct Run {
    /// The time that counts: of the job, without the start of the program.
    pub(crate) job: Duration,
    /// From the start of the process to its last word, of programs that are started for each run.
    pub(crate) said: Option<Duration>,
    /// From the start of the process to its end, of programs that are started for each run.
    pub(crate) process: Option<Duration>,
    /// Processor time of the program and what it started.
    pub(crate) cpu: Option<Duration>,
    /// The most memory that was resident.
    pub(crate) peak_bytes: Option<u64>,
}

/// A program, ready to run.
pub(crate) trait Program: fmt::Debug {
    /// Its version.
    fn version(&self) -> &str;

    /// The ways in which it can forget rows, of which the faster counts; one for most.
    fn ways(&self, _job: &Job) -> Vec<String> {
        vec![String::new()]
    }

    /// Runs a job to its end.
    fn run(&mut self, job: &Job, way: &str) -> Result<Run>;

    /// Starts a job without an end; gives its output when its rows come there.
    fn start(&mut self, _job: &Job) -> Result<Option<Box<dyn Read + Send>>> {
        Err(Failure::new("runs no job without an end"))
    }

    /// Ends that job.
    fn stop(&mut self) -> Result<()> {
        Err(Failure::new("runs no job without an end"))
    }

    /// What the program has used so far, while it runs.
    fn usage(&self) -> Option<Usage> {
        None
    }

    /// Runs a job, keeps its rows in Parquet files below a folder, and gives the pattern of their paths.
    fn write(&mut self, job: &Job, folder: &Path) -> Result<String>;
}

/// Peers, each with `peers/NAME_peer.py` and `peers/requirements/NAME.txt`.
pub(crate) const PEERS: [&str; 10] = [
    "duckdb",
    "polars",
    "datafusion",
    "flink",
    "spark",
    "bytewax",
    "pathway",
    "pandera",
    "pointblank",
    "great_expectations",
];

/// Starts a program; an error says why it is missing.
pub(crate) fn start(name: &str, settings: &Settings) -> Result<Box<dyn Program>> {
    match name {
        "weir" => Ok(Box::new(weir::Weir::find(settings)?)),
        "arrow-rs" => Ok(Box::new(arrow_rs::ArrowRs::new(settings))),
        "arrow-decoders" => Ok(Box::new(arrow_decoders::ArrowDecoders::new(settings))),
        name if PEERS.contains(&name) => Ok(Box::new(python::Peer::start(name, settings)?)),
        name => Err(Failure::new(format!("no program is called {name}"))),
    }
}

/// A prefix in a bucket that no run has written to.
fn fresh_prefix() -> String {
    static RUNS: AtomicU32 = AtomicU32::new(0);
    format!("run-{}", RUNS.fetch_add(1, Ordering::Relaxed))
}

/// A program's version as it is told.
fn told_version(version: &str, debug: bool) -> String {
    if debug {
        format!("{version}, a debug build: its times say nothing")
    } else {
        version.to_owned()
    }
}

/// A command that is held to the first cores: see [`pinned_from`].
pub(crate) fn pinned(binary: &Path, cores: u32) -> Command {
    pinned_from(binary, 0, cores)
}

/// A command that is held to so many cores, where the system has `taskset`: a program that is asked
/// for fewer threads than there are cores would use the others for its helpers.
pub(crate) fn pinned_from(binary: &Path, first: u32, cores: u32) -> Command {
    if !can_pin() {
        return Command::new(binary);
    }
    let mut command = Command::new("taskset");
    command
        .arg("--cpu-list")
        .arg(format!("{first}-{}", (first + cores).saturating_sub(1)))
        .arg(binary);
    command
}

/// Whether [`pinned`] holds programs to their cores.
pub(crate) fn can_pin() -> bool {
    Command::new("taskset")
        .arg("--version")
        .output()
        .is_ok_and(|output| output.status.success())
}
