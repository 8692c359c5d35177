//! The command line: what can be asked, and how an answer becomes an exit code.

use std::io::{self, Read as _, Write as _};

use clap::{Parser, Subcommand};
use weir_engine::error::{Error, Kind, codes};
use weir_engine::limits;

use crate::failure::{Failure, render};

mod args;
mod checkpoint;
mod complete;
mod connector;
mod explain;
mod quality;
mod run;
mod shell;
mod sql;

/// The whole command line.
#[derive(Debug, Parser)]
#[command(
    name = "weir",
    version,
    about = "SQL pipelines, batch or streaming, on one columnar engine",
    long_about = "Weir runs data pipelines that are written in SQL: it reads files, object stores \
                  and generators, filters, joins and aggregates over windows of time, and writes \
                  Parquet and other formats. The same script runs over what is there (batch) or \
                  goes on with what arrives (streaming).",
    after_help = EXAMPLES,
    propagate_version = true,
    subcommand_required = true,
    arg_required_else_help = true,
    max_term_width = 100
)]
pub struct Cli {
    #[command(subcommand)]
    command: Command,
}

const EXAMPLES: &str = "\
Examples:
  weir run examples/taxi.sql                 run a pipeline on the local disk
  weir run --mode streaming orders.sql       go on with new files until Ctrl-C
  weir sql                                   explore sources in a shell
  weir explain orders.sql                    see what a pipeline will do
  weir connector show file                   see all options of a connector
  weir checkpoint list orders.sql            see what a pipeline can go on from
  weir quality report orders.sql             see what its rules have found

Exit codes: 0 done, 1 the job failed, 2 the command or the script is wrong.
Logs: WEIR_LOG=info (or debug, or weir_engine=trace) writes more to standard error.";

#[derive(Debug, Subcommand)]
enum Command {
    /// Run a pipeline script in the foreground
    Run(run::RunArgs),
    /// Ask questions in SQL: a shell, or single queries
    Sql(sql::SqlArgs),
    /// Show the operator graph of a pipeline script without running it
    Explain(explain::ExplainArgs),
    /// Show the connectors and their options
    #[command(subcommand)]
    Connector(connector::ConnectorCommand),
    /// List, inspect and restore the checkpoints of a pipeline
    #[command(subcommand)]
    Checkpoint(checkpoint::CheckpointCommand),
    /// Show what the rules of pipelines have found
    #[command(subcommand)]
    Quality(quality::QualityCommand),
}

impl Cli {
    /// Runs the command, tells what went wrong on standard error and gives the exit code.
    pub fn run(self) -> u8 {
        match self.command {
            Command::Run(args) => run::run(&args),
            Command::Sql(args) => sql::sql(&args),
            Command::Explain(args) => explain::explain(&args),
            Command::Connector(command) => told(connector::connector(&command), &Script::none()),
            Command::Checkpoint(command) => told(checkpoint::checkpoint(&command), &Script::none()),
            Command::Quality(command) => told(quality::quality(&command), &Script::none()),
        }
    }
}

/// A script with the name that errors call it by.
#[derive(Debug, Clone, Default)]
struct Script {
    name: Option<String>,
    text: String,
}

impl Script {
    fn none() -> Self {
        Self::default()
    }

    /// Reads a script file; `-` is standard input.
    fn read(file: &str) -> Result<Self, Failure> {
        let (name, bytes) = if file == "-" {
            ("<stdin>".to_owned(), read_bounded(io::stdin().lock()))
        } else {
            let opened = std::fs::File::open(file);
            (file.to_owned(), opened.and_then(read_bounded))
        };
        let bytes = bytes.map_err(|error| Failure::Script(unreadable(&name, error)))?;
        if bytes.len() > limits::SCRIPT_BYTES_MAX {
            let message = format!("script \"{name}\" is larger than 1 MiB");
            return Err(Failure::Script(Error::new(
                Kind::Invalid,
                codes::LIMIT,
                message,
            )));
        }
        let text = String::from_utf8(bytes).map_err(|error| {
            let at = error.utf8_error().valid_up_to();
            let error = Error::new(
                Kind::Invalid,
                codes::SYNTAX,
                format!("script \"{name}\" is not UTF-8: byte {at} is wrong"),
            );
            Failure::Script(error.hint("save the file as UTF-8"))
        })?;
        // Editors on Windows put a byte order mark first, which is no SQL.
        let text = text
            .strip_prefix('\u{feff}')
            .map(str::to_owned)
            .unwrap_or(text);
        Ok(Self {
            name: Some(name),
            text,
        })
    }
}

/// Reads at most one byte more than a script may have.
fn read_bounded(from: impl io::Read) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    from.take(limits::SCRIPT_BYTES_MAX as u64 + 1)
        .read_to_end(&mut bytes)?;
    Ok(bytes)
}

fn unreadable(name: &str, error: io::Error) -> Error {
    let code = match error.kind() {
        io::ErrorKind::PermissionDenied => codes::PERMISSION,
        _ => codes::NOT_FOUND,
    };
    Error::new(
        Kind::Invalid,
        code,
        format!("cannot read the script \"{name}\""),
    )
    .caused_by(error)
}

/// Tells a failure on standard error and gives the exit code.
fn told(result: Result<(), Failure>, script: &Script) -> u8 {
    let Err(failure) = result else { return 0 };
    if let Some(error) = failure.error() {
        tell(error, script);
    }
    failure.exit_code()
}

/// Tells an error on standard error; when that is closed there is nobody to tell.
fn tell(error: &Error, script: &Script) {
    let text = render(error, script.name.as_deref(), Some(&script.text));
    drop(writeln!(io::stderr().lock(), "{text}"));
}

/// Writes a text to standard output.
fn say(text: &str) -> Result<(), Failure> {
    let mut out = io::stdout().lock();
    out.write_all(text.as_bytes())
        .and_then(|()| out.flush())
        .map_err(Failure::output)
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory as _;

    #[test]
    fn the_definition_is_sound() {
        Cli::command().debug_assert();
    }

    #[test]
    fn every_command_and_flag_has_help() {
        fn walk(command: &clap::Command) {
            assert!(
                command.get_about().is_some(),
                "{} has no help",
                command.get_name()
            );
            for argument in command.get_arguments() {
                assert!(argument.get_help().is_some(), "{argument} has no help");
            }
            for sub in command.get_subcommands() {
                walk(sub);
            }
        }
        walk(&Cli::command());
    }

    #[test]
    fn flags_are_checked() {
        let wrong = [
            &["weir", "run"][..],
            &["weir", "run", "a.sql", "--memory", "lots"],
            &["weir", "run", "a.sql", "--memory", "1KB"],
            &["weir", "run", "a.sql", "--parallelism", "0"],
            &["weir", "run", "a.sql", "--set", "novalue"],
            &["weir", "run", "a.sql", "--set", "=x"],
            &["weir", "run", "a.sql", "--mode", "stream"],
            &["weir", "run", "a.sql", "--batch-rows", "0"],
            &["weir", "sql", "-c", "SELECT 1", "-f", "a.sql"],
        ];
        for line in wrong {
            let error = Cli::try_parse_from(line).unwrap_err();
            assert_eq!(error.exit_code(), 2, "{line:?}");
        }
        let right = [
            "weir", "run", "-", "--set", "A=b=c", "--memory", "256MB", "--mode", "batch",
        ];
        Cli::try_parse_from(right).unwrap();
    }

    #[test]
    fn a_script_that_cannot_be_read_is_a_wrong_command() {
        let folder = tempfile::tempdir().unwrap();
        let bad = folder.path().join("bad.sql");
        std::fs::write(&bad, b"SELECT '\xff'").unwrap();
        let big = folder.path().join("big.sql");
        std::fs::write(&big, vec![b' '; limits::SCRIPT_BYTES_MAX + 1]).unwrap();
        let missing = folder.path().join("missing.sql");
        for path in [&bad, &big, &missing, &folder.path().to_owned()] {
            let failure = Script::read(path.to_str().unwrap()).unwrap_err();
            assert_eq!(failure.exit_code(), 2, "{failure:?}");
        }
        let marked = folder.path().join("marked.sql");
        std::fs::write(&marked, "\u{feff}SELECT 1").unwrap();
        assert_eq!(
            Script::read(marked.to_str().unwrap()).unwrap().text,
            "SELECT 1"
        );
    }
}
