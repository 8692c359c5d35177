//! `weir sql`: queries from a shell, a flag, a file or a pipe.

use std::io::{self, IsTerminal as _, Write as _};
use std::time::Duration;

use clap::Args;
use tokio::sync::watch;
use weir_engine::job::Stop;
use weir_sql::ast::{Statement, StatementKind};

use super::args::JobArgs;
use super::run::{SummaryForm, follow, tell_summary};
use super::{Script, shell, told};
use crate::embed::{Program, Step};
use crate::failure::Failure;
use crate::progress::When;
use crate::rows::Format;
use crate::signals::Listener;
use crate::units;

/// Flags of `weir sql`.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct SqlArgs {
    /// Run these statements and end
    #[arg(
        short = 'c',
        long = "command",
        value_name = "QUERY",
        conflicts_with = "file"
    )]
    command: Option<String>,

    /// Run the statements of this file and end; - reads standard input
    #[arg(short = 'f', long = "file", value_name = "FILE")]
    file: Option<String>,

    /// The form of the rows
    #[arg(long, value_enum, default_value = "table")]
    format: Format,

    #[command(flatten)]
    job: JobArgs,
}

const EXAMPLES: &str = "\
Examples:
  weir sql
  weir sql -c \"CREATE SOURCE t WITH (connector = 'file', path = 'data/*.parquet');
               SELECT count(*) FROM t\"
  weir sql -f report.sql --format csv > report.csv
  echo 'SELECT 1' | weir sql --format json
  weir sql --state s3://lake/state/orders -c 'SELECT * FROM per_minute'
  weir sql --state s3://lake/state/orders -c 'SUBSCRIBE TO per_minute' --format json

With --state, or in the folder in which pipelines run, their materialized views are tables, read as of
the last committed epoch. CREATE SINK ... AS and INSERT INTO run at once. In the shell \\? shows its commands.";

/// Runs the command.
pub(super) fn sql(args: &SqlArgs) -> u8 {
    let given = match (&args.command, &args.file) {
        (Some(text), _) => Ok(Some(Script {
            name: None,
            text: text.clone(),
        })),
        (None, Some(file)) => Script::read(file).map(Some),
        (None, None) if io::stdin().is_terminal() => Ok(None),
        (None, None) => Script::read("-").map(Some),
    };
    match given {
        Err(failure) => told(Err(failure), &Script::none()),
        Ok(Some(script)) => told(statements(args, &script), &script),
        Ok(None) => told(interactive(args), &Script::none()),
    }
}

fn statements(args: &SqlArgs, script: &Script) -> Result<(), Failure> {
    let (mut console, statements) = Console::load(args, &script.text, false)?;
    statements
        .iter()
        .try_for_each(|statement| console.execute(statement))
}

fn interactive(args: &SqlArgs) -> Result<(), Failure> {
    let (mut console, _) = Console::load(args, "", true)?;
    shell::run(&mut console)
}

/// A program with a person or a pipe in front of it.
#[derive(Debug)]
pub(super) struct Console {
    pub(super) program: Program,
    interactive: bool,
}

impl Console {
    fn load(
        args: &SqlArgs,
        script: &str,
        interactive: bool,
    ) -> Result<(Self, Vec<Statement>), Failure> {
        let mut options = args.job.options();
        options.name = Some("shell".to_owned());
        options.format = args.format;
        // The state is that of the pipelines to look at. What is run from here must not take
        // their place.
        let views = options.flags.remove("pipeline.state");
        let (mut program, statements) = Program::load(script, &options)?;
        program.read_views(views);
        Ok((
            Self {
                program,
                interactive,
            },
            statements,
        ))
    }

    /// Executes one statement; one that writes into a sink runs at once. Ctrl-C ends a query, and
    /// drains a pipeline.
    pub(super) fn execute(&mut self, statement: &Statement) -> Result<(), Failure> {
        let (stop, _) = watch::channel(Stop::Run);
        let terminate = !self.interactive;
        let listener = Listener::start(self.program.host(), stop.clone(), terminate);
        let _listener = listener.map_err(Failure::Job)?;
        let started = self.now();
        // The lock is not held while a pipeline runs: its sinks may print.
        let step = self
            .program
            .execute(statement, &mut io::stdout().lock(), &stop)?;
        let time = units::span(self.now().saturating_sub(started));
        match step {
            Step::Done(words) => {
                self.remark(&words);
                if self.interactive && sets_memory(statement) {
                    self.remark("note: the budget is fixed at the start: weir sql --memory SIZE");
                }
            }
            Step::Rows(1) => self.remark(&format!("(1 row, {time})")),
            Step::Rows(rows) => self.remark(&format!("({} rows, {time})", units::count(rows))),
            Step::Added => self.run_pipeline(stop)?,
        }
        Ok(())
    }

    fn run_pipeline(&mut self, stop: watch::Sender<Stop>) -> Result<(), Failure> {
        let Some(pipeline) = self.program.pipeline(&stop)? else {
            return Ok(());
        };
        let job = self.program.start(pipeline, stop)?;
        let summary = follow(&self.program, job, When::Auto)?;
        tell_summary(&summary, SummaryForm::Text)
    }

    fn now(&self) -> Duration {
        self.program.host().env().clock().monotonic()
    }

    /// Tells a person, on standard error, so that standard output has rows alone.
    fn remark(&self, words: &str) {
        if self.interactive {
            drop(writeln!(io::stderr().lock(), "{words}"));
        }
    }
}

/// Whether a statement asks for another budget than the one that the host was made with.
fn sets_memory(statement: &Statement) -> bool {
    match &statement.kind {
        StatementKind::Set { name, .. } => name.text.eq_ignore_ascii_case("pipeline.memory"),
        _ => false,
    }
}
