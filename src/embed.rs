//! Runs scripts in-process, as the command line does: environment, planner and job put together.
//!
//! [`run_script`] is the whole in one call. [`Program`] is the parts, for those who want to look
//! at a job while it runs or to stop it. Both block their thread and must be called from outside
//! of async code.

use std::collections::BTreeMap;
use std::io::{BufWriter, Write};
use std::sync::Arc;

use arrow::array::{AsArray as _, RecordBatch};
use futures::StreamExt as _;
use tokio::sync::watch;
use weir_engine::env::Env;
use weir_engine::error::{Error, Result as EngineResult};
use weir_engine::job::Stop;
use weir_sql::ast::{Statement, StatementKind};
use weir_sql::parse;
use weir_sql::session::{Outcome, Pipeline, Session, SessionOptions};
use weir_sql::settings::Settings;
use weir_sql::variables::Variables;

use crate::failure::Failure;
use crate::host::{Host, HostOptions, cores};
use crate::rows::{Format, RowWriter};
use crate::summary::Summary;
use crate::views;

pub mod job;

pub use job::RunningJob;

/// What a script is run with.
#[derive(Debug, Clone, Default)]
pub struct RunOptions {
    /// Values of `${NAME}` in the script.
    pub variables: BTreeMap<String, String>,
    /// Whether names that are not given are taken from the environment of the process.
    pub environment: bool,
    /// Settings by their dotted name, stronger than the script's `SET`.
    pub flags: BTreeMap<String, String>,
    /// The pipeline's name, unless the script sets one.
    pub name: Option<String>,
    /// Decides all chance; without it, the time of the start does.
    pub seed: Option<u64>,
    /// The form of the rows of bare queries.
    pub format: Format,
}

impl RunOptions {
    /// Sets a flag: `with("pipeline.parallelism", 2)`.
    #[must_use]
    pub fn with(mut self, name: &str, value: impl ToString) -> Self {
        self.flags.insert(name.to_owned(), value.to_string());
        self
    }

    fn variables(&self) -> Variables {
        let variables: Variables = self.variables.clone().into_iter().collect();
        if !self.environment {
            return variables;
        }
        // A name or value that is not UTF-8 cannot stand in a script.
        let utf8 = |(name, value): (std::ffi::OsString, std::ffi::OsString)| {
            Some((name.into_string().ok()?, value.into_string().ok()?))
        };
        variables.with_fallback(std::env::vars_os().filter_map(utf8))
    }

    fn settings(&self) -> EngineResult<Settings> {
        let mut settings = Settings::default();
        for (name, value) in &self.flags {
            settings.fix(name, value)?;
        }
        if let Some(name) = &self.name {
            settings.set("pipeline.name", name)?;
        }
        Ok(settings)
    }
}

/// What a statement did.
#[derive(Debug)]
pub enum Step {
    /// It changed the catalog or a setting; one line for people.
    Done(String),
    /// It gave so many rows, which are written.
    Rows(u64),
    /// It added to the pipeline.
    Added,
}

/// A host with a session: what scripts run on.
#[derive(Debug)]
pub struct Program {
    // Fields drop in this order: the session may hold tasks of the host.
    session: Session,
    host: Host,
    variables: Variables,
    format: Format,
    /// Where the state of pipelines is whose views are read; `Some(None)` is the usual place.
    views: Option<Option<String>>,
}

impl Program {
    /// Parses a script and makes a host of the size that its settings ask for.
    pub fn load(script: &str, options: &RunOptions) -> Result<(Self, Vec<Statement>), Failure> {
        let variables = options.variables();
        let statements = parse::parse(script, &variables).map_err(Failure::Script)?;
        let settings = options.settings().map_err(Failure::Script)?;
        let size = size(&settings, &statements, options.seed);
        let host = Host::new(size).map_err(Failure::Script)?;
        let session = Session::new(SessionOptions {
            env: host.env().clone(),
            connectors: weir_connectors::all(),
            runtime: Arc::clone(host.runtime_env()),
            settings,
        })
        .map_err(Failure::Script)?;
        session.declare(&statements);
        let format = options.format;
        Ok((
            Self {
                session,
                host,
                variables,
                format,
                views: None,
            },
            statements,
        ))
    }

    /// Makes the materialized views of other pipelines tables: of those whose state is at or below a
    /// place, or below the usual one.
    pub fn read_views(&mut self, place: Option<String>) {
        self.views = Some(place);
    }

    /// Parses more statements.
    pub fn parse(&self, script: &str) -> Result<Vec<Statement>, Failure> {
        let statements = parse::parse(script, &self.variables).map_err(Failure::Script)?;
        self.session.declare(&statements);
        Ok(statements)
    }

    /// Gives the host.
    pub fn host(&self) -> &Host {
        &self.host
    }

    /// Gives the session.
    pub fn session(&self) -> &Session {
        &self.session
    }

    /// Executes a statement and gives what it gave, rows not yet read.
    pub fn outcome(&mut self, statement: &Statement) -> Result<Outcome, Failure> {
        let (session, views) = (&mut self.session, self.views.as_ref());
        let env = self.host.env();
        let execute = async {
            look(session, views, statement, env).await?;
            session.execute(statement).await
        };
        self.host
            .block_on(execute)
            .map_err(Failure::Job)?
            .map_err(Failure::Script)
    }

    /// Executes a statement and writes its rows, if it has any. A stop request ends it early.
    pub fn execute(
        &mut self,
        statement: &Statement,
        out: &mut dyn Write,
        stop: &watch::Sender<Stop>,
    ) -> Result<Step, Failure> {
        let (session, format) = (&mut self.session, self.format);
        let (views, env) = (self.views.as_ref(), self.host.env());
        let is_endless = matches!(statement.kind, StatementKind::Subscribe(_));
        let step = async {
            tokio::select! {
                step = execute((session, views, env), statement, format, out, stop) => step,
                error = stopped(stop.subscribe()), if !is_endless => Err(Failure::Script(error)),
            }
        };
        self.host.block_on(step).map_err(Failure::Job)?
    }

    /// Gives what the statements added up to, if there is anything to run. A stop request ends
    /// the planning, which may wait for a store.
    pub fn pipeline(&mut self, stop: &watch::Sender<Stop>) -> Result<Option<Pipeline>, Failure> {
        let session = &mut self.session;
        let plan = async {
            tokio::select! {
                pipeline = session.pipeline() => pipeline,
                error = stopped(stop.subscribe()) => Err(error),
            }
        };
        self.host
            .block_on(plan)
            .map_err(Failure::Job)?
            .map_err(Failure::Script)
    }

    /// Gives the names in the catalog, to complete what is typed; none when they can't be told.
    pub fn names(&mut self) -> Vec<String> {
        let session = &mut self.session;
        let Ok(statements) = parse::parse("SHOW TABLES", &self.variables) else {
            return Vec::new();
        };
        let Some(statement) = statements.first() else {
            return Vec::new();
        };
        let shown = self.host.block_on(session.execute(statement));
        let Ok(Ok(Outcome::Table { batches, .. })) = shown else {
            return Vec::new();
        };
        let column = |batch: &RecordBatch| {
            let names = batch.columns().first()?.as_string_opt::<i32>()?.clone();
            Some(
                names
                    .iter()
                    .flatten()
                    .map(str::to_owned)
                    .collect::<Vec<_>>(),
            )
        };
        batches.iter().filter_map(column).flatten().collect()
    }

    /// Starts a pipeline. It is asked to end by `stop`.
    pub fn start(
        &self,
        pipeline: Pipeline,
        stop: watch::Sender<Stop>,
    ) -> Result<RunningJob, Failure> {
        let settings = self.session.settings();
        let start = async { RunningJob::start(&self.host, settings, pipeline, stop) };
        self.host.block_on(start).map_err(Failure::Job)?
    }
}

/// Runs a script to its end: the rows of bare queries go to `out`; the summary of the pipeline is
/// given, if the script has one.
pub fn run_script(
    script: &str,
    options: &RunOptions,
    out: &mut dyn Write,
) -> Result<Option<Summary>, Failure> {
    let (mut program, statements) = Program::load(script, options)?;
    let (stop, _) = watch::channel(Stop::Run);
    for statement in &statements {
        program.execute(statement, out, &stop)?;
    }
    let Some(pipeline) = program.pipeline(&stop)? else {
        return Ok(None);
    };
    let job = program.start(pipeline, stop)?;
    program
        .host
        .block_on(job.finish(|_| ()))
        .map_err(Failure::Job)?
        .map(Some)
}

/// The host's size must be known before the session runs: it follows from the flags and from the
/// `SET` statements, whose errors are told later, when they are executed.
fn size(settings: &Settings, statements: &[Statement], seed: Option<u64>) -> HostOptions {
    let mut settings = settings.clone();
    for statement in statements {
        if let StatementKind::Set { name, value } = &statement.kind {
            drop(settings.set(&name.text, value));
        }
    }
    // More threads than cores would only take turns.
    let threads = (settings.parallelism() as usize).min(cores());
    HostOptions {
        threads,
        memory: settings.memory(),
        seed,
    }
}

/// Looks for the pipelines whose views, rows in quarantine and results of rules are tables: one may have
/// been started since. A script that is run sees what its own pipeline keeps.
async fn look(
    session: &mut Session,
    views: Option<&Option<String>>,
    statement: &Statement,
    env: &Env,
) -> EngineResult<()> {
    match views {
        Some(place) => {
            let found = views::find(place.as_deref(), env).await?;
            session.read_views(found.stores);
            session.read_history(found.histories);
            session.read_quarantines(found.quarantines, false);
        }
        None => {
            if matches!(statement.kind, StatementKind::Feedback(_)) {
                session.read_own(views::own_views(session.settings(), env)?);
            }
            let own = views::own(session.settings(), env);
            session.read_history(own.histories);
            session.read_quarantines(own.quarantines, true);
        }
    }
    Ok(())
}

async fn execute(
    (session, views, env): (&mut Session, Option<&Option<String>>, &Env),
    statement: &Statement,
    format: Format,
    out: &mut dyn Write,
    stop: &watch::Sender<Stop>,
) -> Result<Step, Failure> {
    // Standard output writes each line on its own: rows go out by the batch.
    let out = BufWriter::new(out);
    look(session, views, statement, env)
        .await
        .map_err(Failure::Script)?;
    match session.execute(statement).await.map_err(Failure::Script)? {
        Outcome::Done(words) => Ok(Step::Done(words)),
        Outcome::Added => Ok(Step::Added),
        Outcome::Table { schema, batches } => {
            let mut rows = RowWriter::new(out, format, schema);
            for batch in &batches {
                rows.write(batch)?;
            }
            rows.finish().map(Step::Rows)
        }
        Outcome::Validated {
            schema,
            rows: told,
            failed,
        } => {
            let mut rows = RowWriter::new(out, format, schema);
            rows.write(&told)?;
            let written = rows.finish()?;
            // All rules are told before the first that fails ends the program.
            failed.map_or(Ok(Step::Rows(written)), |error| Err(Failure::Job(error)))
        }
        Outcome::Query(mut stream) => {
            let mut rows = RowWriter::new(out, format, stream.schema());
            while let Some(batch) = stream.next().await {
                rows.write(&batch.map_err(|error| Failure::Job(Error::from(error)))?)?;
            }
            rows.finish().map(Step::Rows)
        }
        Outcome::Subscription(mut stream) => {
            let mut rows = RowWriter::new(out, format, stream.schema());
            loop {
                // A stop request is how a subscription ends: that is no failure.
                let batch = tokio::select! {
                    batch = stream.next() => batch,
                    _ = stopped(stop.subscribe()) => None,
                };
                let Some(batch) = batch else {
                    return rows.finish().map(Step::Rows);
                };
                rows.write(&batch.map_err(|error| Failure::Job(Error::from(error)))?)?;
                rows.show()?;
            }
        }
    }
}

/// Waits until a stop is asked for.
async fn stopped(mut stop: watch::Receiver<Stop>) -> Error {
    match stop.wait_for(|stop| *stop != Stop::Run).await {
        Ok(_) => Error::cancelled(),
        // Nobody is left to ask for it.
        Err(_) => std::future::pending().await,
    }
}

#[cfg(test)]
mod tests;
