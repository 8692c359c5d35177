//! Weir as a user runs it: the program `weir`, a script, a process per run.

use std::env;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use serde_json::Value;

use super::running::Running;
use super::usage::Usage;
use super::{
    Into, Job, Mode, Program, Run, child, fresh_prefix, pinned, pinned_from, told_version,
};
use crate::clock::timed;
use crate::failure::{During, Failure, Result};
use crate::settings::{self, Settings};
use crate::statistics::median;

/// A sink of Parquet files.
const FILES: &str = "connector = 'file', path = 'rows/', format = 'parquet'";
/// Starts of the program that does nothing, whose median counts.
const STARTS: u32 = 5;

/// The program.
#[derive(Debug)]
pub(crate) struct Weir {
    binary: PathBuf,
    /// The first of the cores that it is held to.
    first_core: u32,
    cores: u32,
    memory: String,
    version: String,
    /// How long the program takes to start and to end when it does nothing.
    start: Duration,
    /// A job without an end.
    running: Option<Running>,
}

/// A run with what its summary says.
#[derive(Debug)]
pub(crate) struct Told {
    /// The run.
    pub(crate) run: Run,
    /// The summary.
    pub(crate) summary: Value,
    /// The most memory that was seen resident from outside.
    pub(crate) seen_bytes: Option<u64>,
}

impl Weir {
    /// Finds the program, and builds it first when the harness itself runs under cargo.
    pub(crate) fn find(settings: &Settings) -> Result<Self> {
        let binary = match env::var_os("WEIR_BIN") {
            Some(path) => PathBuf::from(path),
            None => built_beside_this()?,
        };
        if !binary.is_file() {
            return Err(Failure::new(format!(
                "{} is not there: run `cargo build --release` first, or set WEIR_BIN",
                binary.display()
            )));
        }
        let mut starts = Vec::new();
        let mut version = String::new();
        for _ in 0..STARTS {
            let mut command = pinned(&binary, settings.cores());
            let (output, time) = timed(|| command.arg("--version").output());
            let text = output.during("asking weir")?.stdout;
            version = String::from_utf8_lossy(&text).trim().to_owned();
            starts.push(time);
        }
        let debug = binary
            .parent()
            .is_some_and(|folder| folder.ends_with("debug"));
        Ok(Self {
            binary,
            first_core: 0,
            cores: settings.cores(),
            memory: settings.memory.clone(),
            version: told_version(&version, debug),
            start: median(&starts),
            running: None,
        })
    }

    /// The same program with another memory budget.
    pub(crate) fn with_memory(mut self, budget: &str) -> Self {
        budget.clone_into(&mut self.memory);
        self
    }

    /// The same program, held to the first so many cores.
    pub(crate) fn on_cores(self, cores: u32) -> Self {
        Self { cores, ..self }
    }

    /// The same program, held to one core, so that others may run beside it.
    pub(crate) fn on_core(self, core: u32) -> Self {
        Self {
            first_core: core,
            cores: 1,
            ..self
        }
    }

    fn pinned(&self) -> Command {
        pinned_from(&self.binary, self.first_core, self.cores)
    }

    /// Runs a job to its end and gives what its summary says, too.
    pub(crate) fn tell(&self, job: &Job) -> Result<Told> {
        let folder = settings::scratch(&format!("weir-run-{}", self.first_core))?;
        let sink = match job.into {
            Into::Nowhere => sink("connector = 'blackhole'"),
            Into::Files => sink(FILES),
            Into::Bucket => sink(&bucket(job, &fresh_prefix())),
            Into::AsItSays | Into::Lines => return Err(Failure::new("the job has no end")),
        };
        let flags: &[&str] = if job.checkpoints {
            &["--state", "state"]
        } else {
            &[]
        };
        let told = self.run_script(&script(job, &sink), &folder, flags)?;
        check_rows(&told.summary, job)?;
        Ok(told)
    }

    /// Runs a script in a folder, with more flags.
    pub(crate) fn run_script(&self, script: &str, folder: &Path, flags: &[&str]) -> Result<Told> {
        told(self.command(script, folder, flags)?, None)
    }

    fn command(&self, script: &str, folder: &Path, flags: &[&str]) -> Result<Command> {
        let path = folder.join("script.sql");
        std::fs::write(&path, script).during(format!("writing {}", path.display()))?;
        let mut command = self.pinned();
        command.arg("run").arg(&path);
        command.args(["--summary", "json", "--progress", "never"]);
        let cores = self.cores.to_string();
        command.args(["--parallelism", &cores, "--memory", &self.memory]);
        command.args(flags).current_dir(folder);
        Ok(command)
    }

    /// The same for a time, after which it is stopped as Ctrl-C does.
    pub(crate) fn run_for(
        &self,
        script: &str,
        folder: &Path,
        flags: &[&str],
        time: Duration,
    ) -> Result<Told> {
        told(self.command(script, folder, flags)?, Some(time))
    }

    /// The time of the job is that of its run; in batch mode the time before it, in which it is
    /// planned, counts as well, up to the moment at which the program says that it is done.
    fn counted(&self, run: Run, mode: Mode) -> Run {
        let whole = run.said.map(|time| time.saturating_sub(self.start));
        match (mode, whole) {
            (Mode::Batch, Some(job)) => Run { job, ..run },
            _ => run,
        }
    }

    /// The command that prints the rows of a script's `SUBSCRIBE`.
    fn subscription(&self, script: &str, folder: &Path) -> Result<Command> {
        let path = folder.join("script.sql");
        std::fs::write(&path, script).during(format!("writing {}", path.display()))?;
        let mut command = self.pinned();
        let cores = self.cores.to_string();
        command
            .args(["sql", "--format", "json", "--file"])
            .arg(&path);
        command.args(["--parallelism", &cores, "--memory", &self.memory]);
        command.current_dir(folder);
        Ok(command)
    }

    /// Asks for rows and keeps them in files.
    fn ask(&self, script: &str, folder: &Path) -> Result<()> {
        let mut command = self.pinned();
        command
            .args(["sql", "--command", script])
            .current_dir(folder);
        let output = command.output().during("starting weir sql")?;
        if output.status.success() {
            return Ok(());
        }
        let text = String::from_utf8_lossy(&output.stderr);
        Err(Failure::new(format!("weir sql: {}", text.trim())))
    }
}

impl Program for Weir {
    fn version(&self) -> &str {
        &self.version
    }

    fn run(&mut self, job: &Job, _way: &str) -> Result<Run> {
        Ok(self.counted(self.tell(job)?.run, job.mode))
    }

    fn write(&mut self, job: &Job, folder: &Path) -> Result<String> {
        if job.is_updating {
            let view = "CREATE MATERIALIZED VIEW result AS\n";
            let told = self.run_script(&script(job, view), folder, &[])?;
            check_rows(&told.summary, job)?;
            let copy =
                format!("CREATE SINK kept WITH ({FILES}); INSERT INTO kept SELECT * FROM result");
            self.ask(&copy, folder)?;
        } else if let Some(found) = &job.found {
            let told =
                self.run_script(&script(job, &sink("connector = 'blackhole'")), folder, &[])?;
            check_rows(&told.summary, job)?;
            let copy = format!("CREATE SINK kept WITH ({FILES}); INSERT INTO kept {found}");
            self.ask(&copy, folder)?;
        } else if job.into == Into::Bucket {
            let prefix = fresh_prefix();
            let told = self.run_script(&script(job, &sink(&bucket(job, &prefix))), folder, &[])?;
            check_rows(&told.summary, job)?;
            return Ok(job.fill(&format!("s3://${{S3_BUCKET}}/{prefix}/**/*.parquet")));
        } else {
            let told = self.run_script(&script(job, &sink(FILES)), folder, &[])?;
            check_rows(&told.summary, job)?;
        }
        Ok(format!("{}/rows/**/*.parquet", folder.display()))
    }

    fn start(&mut self, job: &Job) -> Result<Option<Box<dyn Read + Send>>> {
        let folder = settings::scratch("weir-live")?;
        let script = script(job, "");
        if job.into == Into::Lines {
            let command = self.subscription(&script, &folder)?;
            let mut running = Running::spawn(&command, &folder)?;
            let output = running.output();
            self.running = Some(running);
            return Ok(output);
        }
        let interval;
        let mut flags = vec!["--state", "state"];
        if let Some(time) = job.variables.get("INTERVAL") {
            interval = time.clone();
            flags.extend(["--checkpoint-interval", &interval]);
        }
        let command = self.command(&script, &folder, &flags)?;
        self.running = Some(Running::spawn(&command, &folder)?);
        Ok(None)
    }

    fn stop(&mut self) -> Result<()> {
        match self.running.take() {
            Some(running) => running.stop().during("weir"),
            None => Ok(()),
        }
    }

    fn usage(&self) -> Option<Usage> {
        self.running.as_ref()?.usage()
    }
}

/// A sink of Parquet files below a prefix of the bucket.
fn bucket(job: &Job, prefix: &str) -> String {
    job.fill(&format!(
        "connector = 's3', path = 's3://${{S3_BUCKET}}/{prefix}/', format = 'parquet', \
         endpoint = '${{S3_ENDPOINT}}', region = 'us-east-1', access_key_id = '${{S3_KEY}}', \
         secret_access_key = '${{S3_SECRET}}'"
    ))
}

/// The statement before a query.
fn sink(options: &str) -> String {
    format!("CREATE SINK result WITH ({options}) AS\n")
}

fn script(job: &Job, into: &str) -> String {
    let (sources, query) = (job.fill(&job.sources), job.fill(&job.query));
    let mode = match job.mode {
        Mode::Streaming => "streaming",
        Mode::Batch => "batch",
    };
    format!("SET pipeline.mode = '{mode}';\n{sources}\n{into}{query}")
}

/// A row that was not read was not worked on.
fn check_rows(summary: &Value, job: &Job) -> Result<()> {
    let read = summary["rows_in"].as_u64().unwrap_or(0);
    match job.rows {
        Some(rows) if read < rows => Err(Failure::new(format!("weir read {read} rows of {rows}"))),
        _ => Ok(()),
    }
}

/// Runs the command, whose last line is the summary; stops it after a time, if one is given.
fn told(command: Command, stop_after: Option<Duration>) -> Result<Told> {
    let ended = child::run(command, "weir", stop_after)?;
    let mut run = ended.run()?;
    let summary = ended.summary;
    run.peak_bytes = run.peak_bytes.max(summary["memory"]["peak"].as_u64());
    Ok(Told {
        run,
        summary,
        seen_bytes: ended.peak_bytes,
    })
}

/// Gives the `weir` beside this program, brought up to date by the cargo that runs us.
fn built_beside_this() -> Result<PathBuf> {
    let this = env::current_exe().during("finding this program")?;
    let folder = this
        .parent()
        .ok_or_else(|| Failure::new("this program is in no folder"))?;
    if let Some(cargo) = env::var_os("CARGO") {
        let profile = match folder.file_name().and_then(|name| name.to_str()) {
            Some("debug") | None => "dev",
            Some(profile) => profile,
        };
        let status = Command::new(cargo)
            .args(["build", "--package", "weir", "--bin", "weir"])
            .args(["--profile", profile])
            .current_dir(settings::home())
            .status()
            .during("starting cargo")?;
        if !status.success() {
            return Err(Failure::new("weir does not build"));
        }
    }
    Ok(folder.join(format!("weir{}", env::consts::EXE_SUFFIX)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_script_is_sources_sink_and_query() {
        let job = Job {
            sources: "CREATE SOURCE a WITH (path = '${DATA}');".to_owned(),
            query: "SELECT * FROM a;".to_owned(),
            variables: [("DATA".to_owned(), "/d".to_owned())].into(),
            ..Job::default()
        };
        assert_eq!(
            script(&job, &sink("connector = 'blackhole'")),
            "SET pipeline.mode = 'streaming';\nCREATE SOURCE a WITH (path = '/d');\n\
             CREATE SINK result WITH (connector = 'blackhole') AS\nSELECT * FROM a;"
        );
        let summary = serde_json::json!({"rows_in": 9});
        assert!(
            check_rows(
                &summary,
                &Job {
                    rows: Some(10),
                    ..Job::default()
                }
            )
            .is_err()
        );
        assert!(
            check_rows(
                &summary,
                &Job {
                    rows: Some(9),
                    ..Job::default()
                }
            )
            .is_ok()
        );
    }
}
