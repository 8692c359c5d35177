//! `weir quality`: what the rules of pipelines have found.

use clap::{Args, Subcommand, ValueEnum};
use tokio::sync::watch;
use weir_engine::error::{Error, Kind, codes};
use weir_engine::job::Stop;
use weir_sql::ast::StatementKind;

use super::{Script, run::pipeline_name, say};
use crate::embed::{Program, RunOptions};
use crate::failure::Failure;
use crate::quality::{Facts, Subject, page, tables};
use crate::rows::Format;
use crate::state::StatePlace;

/// What can be asked.
#[derive(Debug, Subcommand)]
pub(super) enum QualityCommand {
    /// Show scores, rules and issues of a pipeline or a table
    Report(ReportArgs),
}

/// Flags of `weir quality report`.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct ReportArgs {
    /// The script of a pipeline, or the name of a table with rules
    #[arg(value_name = "FILE.sql|TABLE")]
    subject: String,

    /// Folder of the state: that of one pipeline, or one with those of several [default: what the
    /// script says, else .weir]
    #[arg(long, value_name = "PLACE")]
    state: Option<String>,

    /// Give `${NAME}` in the script a value; names not given are taken from the environment
    #[arg(long = "set", value_name = "NAME=VALUE", value_parser = super::args::variable)]
    variables: Vec<(String, String)>,

    /// The form on standard output
    #[arg(long, value_enum, default_value = "text")]
    format: Form,

    /// Write a page to this file as well: one file, which needs nothing else
    #[arg(long, value_name = "FILE")]
    html: Option<String>,
}

const EXAMPLES: &str = "\
Examples:
  weir quality report orders.sql
  weir quality report orders.sql --html report.html
  weir quality report orders --state s3-mirror/.weir
  weir sql -c \"SELECT * FROM weir.quality_issues WHERE status <> 'resolved'\"

The report is made of weir.quality_results, which each run of a pipeline with rules adds to: see
docs/quality.md.";

/// The form of a report.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Form {
    /// Scores, rules and open issues as lines
    Text,
    /// The page
    Html,
}

/// Runs a command.
pub(super) fn quality(command: &QualityCommand) -> Result<(), Failure> {
    let QualityCommand::Report(args) = command;
    let (subject, place) = subject(args)?;
    let options = RunOptions {
        format: Format::Json,
        ..RunOptions::default()
    };
    let (mut program, _) = Program::load("", &options)?;
    program.read_views(args.state.clone().or(place));
    let facts = Facts::ask(&mut program, subject)?;
    if let Some(file) = &args.html {
        std::fs::write(file, page(&facts)).map_err(|error| {
            let message = format!("the report cannot be written to {file}");
            let error = Error::new(Kind::Invalid, codes::UNAVAILABLE, message).caused_by(error);
            Failure::Script(error.hint("choose another file: --html FILE"))
        })?;
    }
    match args.format {
        Form::Text => say(&tables(&facts)),
        Form::Html => say(&page(&facts)),
    }
}

/// What the report is about, and where its state is if a script says so.
fn subject(args: &ReportArgs) -> Result<(Subject, Option<String>), Failure> {
    let is_script = args.subject.ends_with(".sql") || std::path::Path::new(&args.subject).is_file();
    if !is_script {
        return Ok((Subject::Table(args.subject.clone()), None));
    }
    let script = Script::read(&args.subject)?;
    let options = RunOptions {
        variables: args.variables.iter().cloned().collect(),
        environment: true,
        name: pipeline_name(&args.subject),
        ..RunOptions::default()
    };
    let (mut program, statements) = Program::load(&script.text, &options)?;
    let (stop, _) = watch::channel(Stop::Run);
    for statement in &statements {
        if matches!(statement.kind, StatementKind::Set { .. }) {
            program.execute(statement, &mut std::io::sink(), &stop)?;
        }
    }
    let settings = program.session().settings();
    let name = settings.name().unwrap_or("pipeline").to_owned();
    let place = StatePlace::of(settings, &name).map_err(Failure::Script)?;
    Ok((Subject::Pipeline(name), Some(place.shown())))
}
