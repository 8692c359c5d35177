//! DuckDB, as one process that stays: a line of JSON in, a line of JSON out.

use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, ChildStdout, Stdio};
use std::time::Duration;

use serde_json::{Value, json};

use crate::failure::{During, Failure, Result};
use crate::program::pinned;
use crate::settings;

/// How DuckDB's rows are dropped; each case counts the faster.
pub(crate) const DRAINS: [&str; 2] = ["arrow", "fold"];

/// The process.
#[derive(Debug)]
pub(crate) struct DuckDb {
    child: Child,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
    cores: u32,
    /// Its version.
    pub(crate) version: String,
}

/// Whether two programs gave the same rows.
#[derive(Debug, Clone)]
pub(crate) struct Check {
    /// Whether the counts and checksums of all columns are equal.
    pub(crate) equal: bool,
    /// Rows that Weir wrote.
    pub(crate) rows: u64,
    /// Rows that DuckDB gives.
    pub(crate) rows_expected: u64,
}

impl DuckDb {
    /// Starts it; an error says why it is missing.
    pub(crate) fn start(cores: u32) -> Result<Self> {
        let peers = settings::home().join("peers");
        let python = peers.join("venv/bin/python");
        if !python.is_file() {
            return Err(Failure::new(
                "not installed: run  bash benches/peers/install.sh",
            ));
        }
        let mut child = pinned(&python, cores)
            .arg("-u")
            .arg(peers.join("duckdb_peer.py"))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .during("starting python")?;
        let (Some(input), Some(output)) = (child.stdin.take(), child.stdout.take()) else {
            return Err(Failure::new("python has no input or output"));
        };
        let output = BufReader::new(output);
        let mut this = Self {
            child,
            input,
            output,
            cores,
            version: String::new(),
        };
        let hello = this.ask(&json!({"op": "hello"}))?;
        this.version = hello["version"].as_str().unwrap_or("unknown").to_owned();
        Ok(this)
    }

    /// Runs a query to its end and gives the time.
    pub(crate) fn run(&mut self, sql: &str, drain: &str) -> Result<Duration> {
        let request = json!({"op": "run", "sql": sql, "threads": self.cores, "drain": drain});
        let reply = self.ask(&request)?;
        let seconds = reply["seconds"].as_f64().unwrap_or(f64::NAN);
        Duration::try_from_secs_f64(seconds).during("reading duckdb's time")
    }

    /// Compares a query's rows with those in files.
    pub(crate) fn check(&mut self, sql: &str, files: &str) -> Result<Check> {
        let request = json!({"op": "check", "sql": sql, "files": files, "threads": self.cores});
        let reply = self.ask(&request)?;
        let rows = |of: &str| reply[of][0].as_u64().unwrap_or(0);
        Ok(Check {
            equal: reply["equal"].as_bool().unwrap_or(false),
            rows: rows("found"),
            rows_expected: rows("expected"),
        })
    }

    fn ask(&mut self, request: &Value) -> Result<Value> {
        writeln!(self.input, "{request}").during("asking duckdb")?;
        let mut line = String::new();
        self.output.read_line(&mut line).during("hearing duckdb")?;
        let reply: Value = serde_json::from_str(&line).during("reading duckdb's answer")?;
        match reply["error"].as_str() {
            Some(error) => Err(Failure::new(error)),
            None => Ok(reply),
        }
    }
}

impl Drop for DuckDb {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}
