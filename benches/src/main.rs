//! `weir-bench`: measures Weir beside its peers, on the same files, in the same run.
//!
//! Machines are shared and noisy, so runs alternate between Weir and its peers, medians and their
//! spread are shown, and the ratio is what counts. See `benches/README.md`.

use std::process::ExitCode;

use clap::{ArgMatches, Args, Command, FromArgMatches};

mod bare_decoder;
mod bare_writer;
mod clock;
mod compare;
mod data;
mod failure;
mod live;
mod nab;
mod programs;
mod report;
mod servers;
mod settings;
mod statistics;
mod suites;

use failure::{During, Result};
use settings::Settings;

// As in the program, so that decoders alone are not slower for want of it.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    match run(&command().get_matches()) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            report::note(&format!("error: {error}"));
            ExitCode::FAILURE
        }
    }
}

fn command() -> Command {
    let command = Command::new("weir-bench")
        .version(env!("CARGO_PKG_VERSION"))
        .about("Measures Weir beside its peers, on the same files, in the same run")
        .subcommand_required(true)
        .arg_required_else_help(true)
        .subcommands(suites::all().iter().map(suites::Entry::command))
        .subcommand(Command::new("all").about("Every suite with its defaults"))
        .subcommand(bare_decoder::BareDecoder::command())
        .subcommand(bare_writer::BareWriter::command())
        .subcommand(Command::new("render").about("Makes tables and charts of results/*.json anew"));
    Settings::augment_args(command)
}

/// Runs what was asked for; false when a result was wrong or a run failed.
fn run(matches: &ArgMatches) -> Result<bool> {
    let settings = Settings::from_arg_matches(matches).during("reading flags")?;
    let Some((name, flags)) = matches.subcommand() else {
        return Ok(false);
    };
    if name == bare_decoder::NAME {
        return bare_decoder::BareDecoder::run(flags, &settings).map(|()| true);
    }
    if name == bare_writer::NAME {
        return bare_writer::BareWriter::run(flags).map(|()| true);
    }
    if name == "render" {
        report::page::render()?;
        return Ok(true);
    }
    let _alone = settings::alone()?;
    let mut is_right = true;
    for suite in suites::all() {
        if name == "all" {
            is_right &= suite.run_as_it_is(&settings)?;
        } else if name == suite.name {
            is_right &= suite.run(flags, &settings)?;
        }
    }
    report::page::render()?;
    Ok(is_right)
}

#[cfg(test)]
mod tests {
    #[test]
    fn every_suite_has_a_command() {
        super::command().debug_assert();
    }
}
