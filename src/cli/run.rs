//! `weir run`: a pipeline in the foreground, from its script to its summary.

use std::io::{self, IsTerminal as _};

use clap::{Args, ValueEnum};
use tokio::sync::watch;
use weir_engine::error::{Error, Kind, codes};
use weir_engine::job::Stop;

use super::args::JobArgs;
use super::{Script, say, told};
use crate::embed::job::check_sums;
use crate::embed::{Program, RunningJob};
use crate::failure::Failure;
use crate::progress::{Display, When};
use crate::signals::Listener;
use crate::summary::Summary;

/// Flags of `weir run`.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct RunArgs {
    /// The script; - reads it from standard input
    file: String,

    #[command(flatten)]
    job: JobArgs,

    /// When progress is shown on standard error: a refreshed line on a terminal, now and then a
    /// plain line elsewhere
    #[arg(long, value_enum, default_value = "auto")]
    progress: When,

    /// The form of the summary on standard output
    #[arg(long, value_enum, default_value = "text")]
    summary: SummaryForm,
}

const EXAMPLES: &str = "\
Examples:
  weir run orders.sql
  weir run orders.sql --set BUCKET=s3://lake --memory 256MB --parallelism 2
  weir run orders.sql --mode streaming --progress always
  weir run orders.sql --state s3://bucket/orders    go on from the last checkpoint there
  weir run orders.sql --summary json | tail -1 | jq .rows_per_second

Rows of bare queries in the script and the summary go to standard output, everything else to
standard error. Ctrl-C takes a checkpoint and stops: the next start goes on from it. Without
checkpoints it drains: what was read is finished and committed. A second Ctrl-C stops at once.";

/// The form of the summary.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum SummaryForm {
    /// A few lines
    Text,
    /// One line of JSON, the last of the output
    Json,
    /// Nothing
    None,
}

/// Runs the command.
pub(super) fn run(args: &RunArgs) -> u8 {
    match Script::read(&args.file) {
        Ok(script) => told(run_script(args, &script), &script),
        Err(failure) => told(Err(failure), &Script::none()),
    }
}

fn run_script(args: &RunArgs, script: &Script) -> Result<(), Failure> {
    let mut options = args.job.options();
    options.name = pipeline_name(&args.file);
    let (mut program, statements) = Program::load(&script.text, &options)?;
    let (stop, _) = watch::channel(Stop::Run);
    let _listener = Listener::start(program.host(), stop.clone(), true).map_err(Failure::Job)?;
    let mut answered = false;
    for statement in &statements {
        let step = program.execute(statement, &mut io::stdout().lock(), &stop)?;
        answered |= matches!(step, crate::embed::Step::Rows(_));
    }
    let Some(pipeline) = program.pipeline(&stop)? else {
        return if answered {
            Ok(())
        } else {
            Err(Failure::Script(nothing_to_do()))
        };
    };
    let job = program.start(pipeline, stop)?;
    let summary = follow(&program, job, args.progress)?;
    tell_summary(&summary, args.summary)
}

/// Shows a job until its end.
pub(super) fn follow(
    program: &Program,
    job: RunningJob,
    progress: When,
) -> Result<Summary, Failure> {
    // A sink that prints to the same terminal would write into the refreshed line.
    let prints = io::stdout().is_terminal() && job.prints();
    let mut display = Display::new(if prints { When::Never } else { progress });
    let finish = job.finish(|snapshot| display.show(snapshot));
    program.host().block_on(finish).map_err(Failure::Job)?
}

/// Writes a summary, then complains if its sums do not add up.
pub(super) fn tell_summary(summary: &Summary, form: SummaryForm) -> Result<(), Failure> {
    match form {
        SummaryForm::Text => say(&summary.text())?,
        SummaryForm::Json => {
            let json = summary.json().map_err(|error| {
                Failure::Job(Error::internal("cannot print the summary").caused_by(error))
            })?;
            say(&(json + "\n"))?;
        }
        SummaryForm::None => {}
    }
    check_sums(summary).map_err(Failure::Job)
}

/// A script that sets no name is called by its file.
pub(super) fn pipeline_name(file: &str) -> Option<String> {
    let stem = std::path::Path::new(file).file_stem()?.to_str()?;
    (stem != "-" && !stem.is_empty()).then(|| stem.to_owned())
}

fn nothing_to_do() -> Error {
    Error::new(
        Kind::Invalid,
        codes::EMPTY_SCRIPT,
        "the script does nothing",
    )
    .hint("add INSERT INTO a sink, CREATE SINK ... AS SELECT ..., or a SELECT to print its rows")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pipeline_is_called_by_its_file() {
        assert_eq!(pipeline_name("a/b/taxi.sql").as_deref(), Some("taxi"));
        assert_eq!(pipeline_name("-"), None);
    }
}
