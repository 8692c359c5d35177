//! A peer: a Python process, with a line of JSON in and a line of JSON out.
//!
//! `peers/NAME_peer.py` answers `hello`, `run` and `write`; `peers/protocol.py` says how. An engine
//! that is a library of that process gets a new one for each timed run, as Weir does: memory that
//! a run before has touched costs nothing, new memory does. One that starts servers or a JVM stays.

use std::io::{BufRead, BufReader, Read, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Stdio};
use std::time::Duration;

use serde_json::{Value, json};

use super::usage::{self, Usage};
use super::{Into, Job, Mode, Program, Run, pinned};
use crate::clock;
use crate::failure::{During, Failure, Result};
use crate::settings::{self, Settings};

/// Tenths of a second in which a peer may end by itself.
const PATIENCE_TENTHS: u32 = 100;

/// The process.
#[derive(Debug)]
pub(crate) struct Peer {
    name: String,
    child: Child,
    /// Closed to end the process.
    input: Option<ChildStdin>,
    output: BufReader<ChildStdout>,
    cores: u32,
    memory: String,
    version: String,
    ways: Vec<String>,
    /// Each timed run is in a process that has run nothing yet.
    starts_anew: bool,
}

/// Whether two programs gave the same rows.
#[derive(Debug, Clone)]
pub(crate) struct Check {
    /// Whether the counts and checksums of all columns are equal.
    pub(crate) equal: bool,
    /// Rows that were found.
    pub(crate) rows: u64,
    /// Rows that there should be.
    pub(crate) rows_expected: u64,
}

impl Peer {
    /// Starts it; an error says why it is missing.
    pub(crate) fn start(name: &str, settings: &Settings) -> Result<Self> {
        let (child, input, output) = spawn(name, settings.cores())?;
        let mut this = Self {
            name: name.to_owned(),
            child,
            input: Some(input),
            output,
            cores: settings.cores(),
            memory: settings.memory.clone(),
            version: String::new(),
            ways: Vec::new(),
            starts_anew: false,
        };
        this.hello()?;
        Ok(this)
    }

    fn hello(&mut self) -> Result<()> {
        let hello = self.ask(&json!({"op": "hello", "threads": self.cores}))?;
        self.version = hello["version"].as_str().unwrap_or("unknown").to_owned();
        let ways = hello["ways"].as_array().into_iter().flatten();
        self.ways = ways.filter_map(Value::as_str).map(str::to_owned).collect();
        self.starts_anew = hello["anew"].as_bool().unwrap_or(false);
        Ok(())
    }

    /// Ends the process and starts another.
    fn restart(&mut self) -> Result<()> {
        self.end();
        let (child, input, output) = spawn(&self.name, self.cores)?;
        (self.child, self.input, self.output) = (child, Some(input), output);
        self.hello()
    }

    fn end(&mut self) {
        // A closed input ends the script, and with it what it has started, such as a JVM.
        self.input = None;
        for _ in 0..PATIENCE_TENTHS {
            if !matches!(self.child.try_wait(), Ok(None)) {
                return;
            }
            clock::pause(Duration::from_millis(100));
        }
        drop(self.child.kill());
        drop(self.child.wait());
    }

    /// Compares a query's rows with those in files; of DuckDB.
    pub(crate) fn check(&mut self, answer: &Job, files: &str) -> Result<Check> {
        let mut request = self.request("check", answer);
        request["files"] = json!(files);
        let reply = self.ask(&request)?;
        let rows = |of: &str| reply[of][0].as_u64().unwrap_or(0);
        Ok(Check {
            equal: reply["equal"].as_bool().unwrap_or(false),
            rows: rows("found"),
            rows_expected: rows("expected"),
        })
    }

    fn request(&self, op: &str, job: &Job) -> Value {
        json!({
            "op": op,
            "sources": job.fill(&job.sources),
            "query": job.fill(&job.query),
            "variables": job.variables,
            "from_text": job.mode == Mode::Batch,
            "updating": job.is_updating,
            "digits": job.digits,
            "checkpoints": job.checkpoints,
            "threads": self.cores,
            "memory": self.memory,
        })
    }

    fn ask(&mut self, request: &Value) -> Result<Value> {
        let name = &self.name;
        let Some(input) = &mut self.input else {
            return Err(Failure::new(format!("{name} was ended")));
        };
        writeln!(input, "{request}").during(format!("asking {name}"))?;
        let mut line = String::new();
        let read = self.output.read_line(&mut line);
        if read.during(format!("hearing {name}"))? == 0 {
            return Err(Failure::new(format!("{name} has ended")));
        }
        let reply: Value =
            serde_json::from_str(&line).during(format!("reading {name}'s answer"))?;
        match reply["error"].as_str() {
            Some(error) => Err(Failure::new(error)),
            None => Ok(reply),
        }
    }

    fn timed(&mut self, request: &Value) -> Result<Run> {
        if self.starts_anew {
            self.restart()?;
        }
        let pid = self.child.id();
        let before = usage::of_tree(pid);
        let reply = self.ask(request)?;
        let after = usage::of_tree(pid);
        let seconds = reply["seconds"].as_f64().unwrap_or(f64::NAN);
        let job = Duration::try_from_secs_f64(seconds);
        Ok(Run {
            job: job.during(format!("reading {}'s time", self.name))?,
            said: None,
            process: None,
            cpu: before.zip(after).map(|(a, b)| b.cpu.saturating_sub(a.cpu)),
            peak_bytes: after.map(|usage| usage.peak_bytes),
        })
    }
}

impl Program for Peer {
    fn version(&self) -> &str {
        &self.version
    }

    fn ways(&self, job: &Job) -> Vec<String> {
        if self.ways.is_empty() || job.into != Into::Nowhere {
            return vec![String::new()];
        }
        self.ways.clone()
    }

    fn run(&mut self, job: &Job, way: &str) -> Result<Run> {
        let mut request = self.request("run", job);
        request["way"] = json!(way);
        if job.into == Into::Files {
            request["folder"] = json!(settings::scratch(&format!("{}-run", self.name))?);
        }
        self.timed(&request)
    }

    fn write(&mut self, job: &Job, folder: &Path) -> Result<String> {
        let mut request = self.request("write", job);
        request["folder"] = json!(folder);
        drop(self.ask(&request)?);
        Ok(format!("{}/**/*.parquet", folder.display()))
    }

    fn start(&mut self, job: &Job) -> Result<Option<Box<dyn Read + Send>>> {
        let request = self.request("start", job);
        self.ask(&request).map(|_| None)
    }

    fn stop(&mut self) -> Result<()> {
        self.ask(&json!({"op": "stop"})).map(drop)
    }

    fn usage(&self) -> Option<Usage> {
        usage::of_tree(self.child.id())
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        self.end();
    }
}

/// Starts the process of a peer.
fn spawn(name: &str, cores: u32) -> Result<(Child, ChildStdin, BufReader<ChildStdout>)> {
    let python = settings::peer_root()?.join(name).join("bin/python");
    if !python.is_file() {
        return Err(Failure::new(format!(
            "not installed: run  bash benches/peers/install.sh {name}"
        )));
    }
    let script = settings::home().join(format!("peers/{name}_peer.py"));
    let mut child = pinned(&python, cores)
        .arg("-u")
        .arg(script)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .during("starting python")?;
    match (child.stdin.take(), child.stdout.take()) {
        (Some(input), Some(output)) => Ok((child, input, BufReader::new(output))),
        _ => Err(Failure::new("python has no input or output")),
    }
}
