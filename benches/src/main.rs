//! `weir-bench`: measures Weir beside its peers, on the same files, in the same run.
//!
//! Machines are shared and noisy, so runs alternate between Weir and a peer, medians and their
//! spread are shown, and the ratio is what counts. See `benches/README.md`.

use std::process::ExitCode;

use clap::{Parser, Subcommand};

mod checkpoint;
mod clock;
mod data;
mod failure;
mod measure;
mod peer;
mod program;
mod report;
mod settings;
mod suites;

use failure::Result;
use settings::Settings;

/// Measures Weir beside its peers, on the same files, in the same run
#[derive(Debug, Parser)]
#[command(name = "weir-bench", version)]
struct Cli {
    #[command(subcommand)]
    command: Command,

    #[command(flatten)]
    settings: Settings,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Count and sum per key over windows of 10 seconds, from Parquet
    Window(suites::window::Args),
    /// Queries of the Nexmark benchmark, from Parquet
    Nexmark(suites::nexmark::Args),
    /// The cost of checkpoints: windows over generated bids, with and without them
    Checkpoint(checkpoint::Args),
    /// Every suite with its defaults
    All,
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    match run(&cli) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            report::complain(&format!("error: {error}"));
            ExitCode::FAILURE
        }
    }
}

/// Runs what was asked for; false when a result was wrong or a run failed.
fn run(cli: &Cli) -> Result<bool> {
    match &cli.command {
        Command::Window(args) => suites::run(&suites::window::Window::new(args), &cli.settings),
        Command::Nexmark(args) => suites::run(&suites::nexmark::Nexmark::new(args), &cli.settings),
        Command::Checkpoint(args) => checkpoint::run(args, &cli.settings),
        Command::All => {
            let window = suites::window::Window::new(&suites::window::Args::default());
            let nexmark = suites::nexmark::Nexmark::new(&suites::nexmark::Args::default());
            let first = suites::run(&window, &cli.settings)?;
            let second = suites::run(&nexmark, &cli.settings)?;
            Ok(first && second)
        }
    }
}
