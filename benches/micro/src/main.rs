//! Micro-benchmarks of the engine and the connectors, and the guard over their instruction counts.
//!
//! Times differ from machine to machine and from minute to minute; instruction counts repeat. So
//! `guard` runs each micro-benchmark under callgrind and compares with the figures in
//! `instructions.json`, and `time` says how many rows per second they are here and now.

mod callgrind;
mod figures;
mod guard;
mod input;
mod micros;
mod subtask;
mod timing;
mod work;

use std::io::Write as _;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

use crate::work::Result;

// The program's: its instructions are a part of all work.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Micro-benchmarks of Weir's crates
#[derive(Debug, Parser)]
#[command(name = "benches/micro/run")]
struct Cli {
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Compare instruction counts with the committed figures; the default
    Guard,
    /// Write new figures where the counts have changed
    Renew {
        /// Why they have changed; it is committed with them
        reason: String,
        /// Micro-benchmarks; all when none is named
        names: Vec<String>,
    },
    /// Measure rows per second
    Time {
        /// Only those whose name has this in it
        only: Option<String>,
    },
    /// Do the work of one, for callgrind, perf and the like
    Count {
        /// The micro-benchmark
        name: String,
    },
}

fn main() -> ExitCode {
    let done = match Cli::parse().command.unwrap_or(Command::Guard) {
        Command::Guard => guard::compare(),
        Command::Renew { reason, names } => guard::renew(&reason, &names).map(|()| true),
        Command::Time { only } => timing::all(only.as_deref()).map(|()| true),
        Command::Count { name } => count(&name).map(|()| true),
    };
    match done {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            say(&format!("error: {error}"));
            ExitCode::FAILURE
        }
    }
}

fn count(name: &str) -> Result<()> {
    let prepared = (micros::find(name)?.prepare)()?;
    // The first time allocates what the next ones find: caches, pages, thread locals.
    prepared.check(prepared.start()?()?)?;
    prepared.check(work::measured(prepared.start()?)?)?;
    say(&format!("{name} {}", prepared.rows));
    Ok(())
}

/// Prints a line of the result.
fn say(line: &str) {
    drop(writeln!(std::io::stdout(), "{line}"));
}
