//! `weir explain`: the operator graph of a script, without running it.

use clap::Args;
use tokio::sync::watch;
use weir_engine::error::{Error, Kind, codes};
use weir_engine::job::Stop;
use weir_sql::ast::StatementKind;

use super::args::JobArgs;
use super::run::pipeline_name;
use super::{Script, say, told};
use crate::embed::Program;
use crate::failure::Failure;
use crate::signals::Listener;

/// Flags of `weir explain`.
#[derive(Debug, Args)]
#[command(after_help = "\
Each line is an operator with its subtasks [xN]; what flows into it is indented under it.
Sources are looked at (schema discovery) but not read; nothing is written.

Example:
  weir explain orders.sql --parallelism 4")]
pub(super) struct ExplainArgs {
    /// The script; - reads it from standard input
    file: String,

    #[command(flatten)]
    job: JobArgs,
}

/// Runs the command.
pub(super) fn explain(args: &ExplainArgs) -> u8 {
    match Script::read(&args.file) {
        Ok(script) => told(explain_script(args, &script), &script),
        Err(failure) => told(Err(failure), &Script::none()),
    }
}

fn explain_script(args: &ExplainArgs, script: &Script) -> Result<(), Failure> {
    let mut options = args.job.options();
    options.name = pipeline_name(&args.file);
    let (mut program, statements) = Program::load(&script.text, &options)?;
    let (stop, _) = watch::channel(Stop::Run);
    let _listener = Listener::start(program.host(), stop.clone(), true).map_err(Failure::Job)?;
    // Rows of queries are no part of the graph; reading them here would be running the script.
    let planned = statements.iter().filter(|statement| {
        !matches!(
            statement.kind,
            StatementKind::Query { .. }
                | StatementKind::Subscribe(_)
                | StatementKind::Show(_)
                | StatementKind::ShowCreate(_)
                | StatementKind::Describe(_)
                | StatementKind::Explain { .. }
        )
    });
    for statement in planned {
        program.execute(statement, &mut std::io::sink(), &stop)?;
    }
    match program.pipeline(&stop)? {
        Some(pipeline) => {
            let head = format!("pipeline {} ({})\n", pipeline.name, pipeline.mode);
            say(&format!("{head}{}", pipeline.graph))
        }
        None => {
            let error = Error::new(
                Kind::Invalid,
                codes::EMPTY_SCRIPT,
                "the script writes into no sink, so there is no graph",
            );
            Err(Failure::Script(error.hint(
                "EXPLAIN SELECT ... within a script explains a query",
            )))
        }
    }
}
