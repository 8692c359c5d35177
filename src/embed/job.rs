//! A pipeline that runs: what it has done so far, its end, its summary.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use datafusion_execution::TaskContext as DataFusionContext;
use datafusion_execution::config::SessionConfig;
use tokio::sync::watch;
use weir_connectors::dead_letter::{ParquetDeadLetters, QUARANTINE};
use weir_engine::dead_letter::DeadLetters;
use weir_engine::env::Env;
use weir_engine::error::{Error, Kind, Result, codes};
use weir_engine::graph::{Graph, NodeKind};
use weir_engine::job::{JobContext, Stop};
use weir_engine::limits;
use weir_engine::message::EventTime;
use weir_engine::metrics::Metrics;
use weir_engine::rules::TableTally;
use weir_engine::runtime::{self, CheckpointProgress, Job, JobEnd, SourceAccount, TimeOptions};
use weir_sql::session::Pipeline;
use weir_sql::settings::{Mode, Settings};

use crate::failure::Failure;
use crate::host::Host;
use crate::memory;
use crate::progress::{Display, Snapshot};
use crate::state::StatePlace;
use crate::summary::{
    CheckpointSummary, DeadLetterCount, Ending, MemorySummary, SinkSummary, SourceSummary, Summary,
    TakenCount,
};
use crate::units;
use crate::views;

/// A running pipeline.
#[derive(Debug)]
pub struct RunningJob {
    name: String,
    mode: Mode,
    env: Env,
    graph: Arc<Graph>,
    metrics: Metrics,
    dead_letters: DeadLetters,
    dead_letters_path: PathBuf,
    checkpoints: CheckpointProgress,
    checkpoints_path: Option<String>,
    budget: usize,
    stop: watch::Sender<Stop>,
    started: Duration,
    job: Job,
}

impl RunningJob {
    /// Starts a pipeline; must be called within the host's runtime.
    pub(super) fn start(
        host: &Host,
        settings: &Settings,
        pipeline: Pipeline,
        stop: watch::Sender<Stop>,
    ) -> std::result::Result<Self, Failure> {
        let env = host.env().clone();
        let run_id: Arc<str> = env.next_id().into();
        let place = StatePlace::of(settings, &pipeline.name).map_err(Failure::Script)?;
        let checkpoints = place
            .checkpoints(settings, &pipeline.graph, &env, pipeline.alone)
            .map_err(Failure::Script)?;
        let state = place.folder();
        let store = ParquetDeadLetters::local(&state, Arc::clone(&run_id));
        let store = store.keeping(settings.history());
        let quarantine = views::local(&state, &env);
        let takes = pipeline.alone || pipeline.mode == Mode::Streaming;
        let dead_letters = DeadLetters::new(Arc::new(store)).with_quarantine(
            quarantine,
            settings.quarantine(),
            takes,
        );
        let metrics = Metrics::default();
        let context = JobContext {
            env: env.clone(),
            memory: Arc::clone(host.pool()),
            batch_rows: settings.batch_rows(),
            dead_letters: dead_letters.clone(),
            datafusion: datafusion_context(host, settings),
            metrics: metrics.clone(),
            stop: stop.subscribe(),
            pipeline: pipeline.name.as_str().into(),
            run_id,
        };
        let time = TimeOptions {
            streaming: pipeline.mode == Mode::Streaming,
            idle_timeout: settings.idle_timeout(),
            drift_max: settings.max_drift(),
        };
        let checkpoints_path = checkpoints.as_ref().map(|_| place.shown());
        let graph = Arc::new(pipeline.graph);
        let started = env.clock().monotonic();
        let job = Job::start(Arc::clone(&graph), context, time, checkpoints);
        Ok(Self {
            name: pipeline.name,
            mode: pipeline.mode,
            budget: host.options().memory,
            env,
            graph,
            metrics,
            dead_letters,
            dead_letters_path: state.join("dead_letters"),
            checkpoints: job.checkpoints(),
            checkpoints_path,
            stop,
            started,
            job,
        })
    }

    /// Gives the graph that runs.
    pub fn graph(&self) -> &Graph {
        &self.graph
    }

    /// Gives the counters of its nodes.
    pub fn metrics(&self) -> &Metrics {
        &self.metrics
    }

    /// Whether one of its sinks writes to standard output.
    pub fn prints(&self) -> bool {
        let prints = |kind: &NodeKind| match kind {
            NodeKind::Sink(sink) => sink.describe().starts_with("print"),
            _ => false,
        };
        self.graph.nodes().any(|(_, node)| prints(&node.kind))
    }

    /// Gives the switch that asks it to drain or to stop.
    pub fn stop(&self) -> watch::Sender<Stop> {
        self.stop.clone()
    }

    /// Gives what it has done so far.
    pub fn snapshot(&self) -> Snapshot {
        self.view().snapshot()
    }

    /// Waits for its end, giving `watch` a snapshot five times a second, and sums up. A failed job
    /// gives its error. A drain that takes longer than [`limits::DRAIN_TIME_MAX`] becomes a stop.
    pub async fn finish(
        self,
        mut watch: impl FnMut(Snapshot),
    ) -> std::result::Result<Summary, Failure> {
        let view = self.view();
        let stop = self.stop.clone();
        let mut drained: Option<Duration> = None;
        let wait = self.job.wait();
        tokio::pin!(wait);
        let result = loop {
            tokio::select! {
                result = &mut wait => break result,
                () = view.env.clock().sleep(Display::REFRESH) => {}
            }
            watch(view.snapshot());
            if *stop.borrow() == Stop::Drain {
                let now = view.env.clock().monotonic();
                if now.saturating_sub(*drained.get_or_insert(now)) > limits::DRAIN_TIME_MAX {
                    tracing::warn!("the drain took too long: stopping");
                    stop.send_replace(Stop::Now);
                }
            }
        };
        match result {
            Ok(JobEnd::Stopped(_)) => Ok(view.summary(Ending::Stopped, self.budget)),
            Ok(JobEnd::Finished) if *stop.borrow() == Stop::Run => {
                Ok(view.summary(Ending::Finished, self.budget))
            }
            Ok(JobEnd::Finished) => Ok(view.summary(Ending::Drained, self.budget)),
            Err(error) => Err(Failure::Job(view.with_letters(error))),
        }
    }

    fn view(&self) -> View {
        View {
            name: self.name.clone(),
            mode: self.mode,
            env: self.env.clone(),
            graph: Arc::clone(&self.graph),
            metrics: self.metrics.clone(),
            dead_letters: self.dead_letters.clone(),
            dead_letters_path: self.dead_letters_path.clone(),
            checkpoints: self.checkpoints.clone(),
            checkpoints_path: self.checkpoints_path.clone(),
            started: self.started,
        }
    }
}

/// DataFusion reserves memory per sort for the merge after spilling: in a small budget its default
/// would leave nothing to sort with.
fn datafusion_context(host: &Host, settings: &Settings) -> Arc<DataFusionContext> {
    let partitions = settings.parallelism() as usize;
    let share = host.options().memory / (8 * partitions.max(1));
    let mut config = SessionConfig::new()
        .with_batch_size(settings.batch_rows())
        .with_target_partitions(partitions);
    let reserved = config.options().execution.sort_spill_reservation_bytes;
    config.options_mut().execution.sort_spill_reservation_bytes = reserved.min(share);
    let context = DataFusionContext::default()
        .with_session_config(config)
        .with_runtime(Arc::clone(host.runtime_env()));
    Arc::new(context)
}

/// What can be told of a job, whether it runs or has ended.
#[derive(Debug)]
struct View {
    name: String,
    mode: Mode,
    env: Env,
    graph: Arc<Graph>,
    metrics: Metrics,
    dead_letters: DeadLetters,
    dead_letters_path: PathBuf,
    checkpoints: CheckpointProgress,
    checkpoints_path: Option<String>,
    started: Duration,
}

impl View {
    fn elapsed(&self) -> Duration {
        self.env.clock().monotonic().saturating_sub(self.started)
    }

    fn sources(&self) -> Vec<SourceAccount> {
        runtime::sources(&self.graph, &self.metrics, &self.dead_letters)
    }

    fn snapshot(&self) -> Snapshot {
        let sources = self.sources();
        let watermark = self.watermark();
        let lag = watermark
            .filter(|_| self.mode == Mode::Streaming)
            .and_then(|watermark| {
                let is_time = watermark > EventTime::MIN && watermark < EventTime::MAX;
                let behind = self.env.clock().now_micros().checked_sub(watermark.0)?;
                is_time.then(|| Duration::from_micros(u64::try_from(behind).unwrap_or(0)))
            });
        Snapshot {
            elapsed: self.elapsed(),
            rows: sources.iter().map(|source| source.rows_in).sum(),
            bytes: sources.iter().map(|source| source.bytes).sum(),
            dead_letters: self.dead_letters.total(),
            watermark,
            lag,
            paused: self.dead_letters.paused().len(),
        }
    }

    /// The least watermark of the sources that have one.
    fn watermark(&self) -> Option<EventTime> {
        let has_one = |kind: &NodeKind| match kind {
            NodeKind::Scan(scan) => scan.watermark.is_some(),
            _ => false,
        };
        self.graph
            .nodes()
            .filter(|(_, node)| has_one(&node.kind))
            .filter_map(|(_, node)| Some(self.metrics.node(&node.id)?.watermark))
            .min()
    }

    fn dead_letters_shown(&self) -> Option<String> {
        (self.dead_letters.total() > 0).then(|| self.dead_letters_path.display().to_string())
    }

    fn quarantine_shown(&self, rules: &[TableTally]) -> Option<String> {
        let any = rules.iter().any(|table| table.quarantined > 0);
        let place = self.dead_letters_path.with_file_name(QUARANTINE);
        any.then(|| place.display().to_string())
    }

    fn taken(&self) -> Vec<TakenCount> {
        let taken = self.dead_letters.taken().into_iter();
        let count = |((table, status), rows): ((String, &str), u64)| TakenCount {
            table,
            status: status.to_owned(),
            rows,
        };
        taken.map(count).collect()
    }

    /// Rows that were kept aside before a failure are there to look at.
    fn with_letters(&self, error: Error) -> Error {
        match (self.dead_letters_shown(), error.kind(), error.hint_text()) {
            (Some(path), Kind::Data, None) => {
                let rows = units::count(self.dead_letters.total());
                error.hint(format!("{rows} dead letters of this run are in {path}"))
            }
            _ => error,
        }
    }

    fn checkpoint_summary(&self) -> Option<CheckpointSummary> {
        let path = self.checkpoints_path.clone()?;
        let state = self.checkpoints.get();
        Some(CheckpointSummary {
            path,
            resumed_from: state.resumed,
            last_epoch: state.last_epoch,
            count: state.count,
            restore_ms: millis(state.restored_in),
            longest_ms: millis(state.longest),
            bytes: state.bytes,
            notes: state.notes,
        })
    }

    fn summary(&self, ending: Ending, budget: usize) -> Summary {
        let elapsed = self.elapsed();
        let sources: Vec<SourceSummary> = self.sources().into_iter().map(source).collect();
        let sinks = runtime::sinks(&self.graph, &self.metrics);
        let dead_letters: Vec<DeadLetterCount> = self
            .dead_letters
            .counts()
            .into_iter()
            .map(|((source, reason), rows)| DeadLetterCount {
                source,
                reason: reason.to_owned(),
                rows,
            })
            .collect();
        let rules = self.dead_letters.tallies();
        let rows_in = sources.iter().map(|source| source.rows_in).sum();
        Summary {
            pipeline: self.name.clone(),
            mode: self.mode.to_string(),
            ending,
            seconds: elapsed.as_secs_f64(),
            rows_in,
            rows_per_second: units::rate(rows_in, elapsed),
            adds_up: sources.iter().all(SourceSummary::adds_up)
                && rules.iter().all(TableTally::adds_up),
            sources,
            sinks: sinks
                .into_iter()
                .map(|sink| SinkSummary {
                    name: sink.name,
                    rows: sink.rows,
                    bytes: sink.bytes,
                })
                .collect(),
            dead_letters,
            dead_letters_path: self.dead_letters_shown(),
            quarantine_path: self.quarantine_shown(&rules),
            taken: self.taken(),
            paused: self.dead_letters.paused(),
            rules,
            checkpoints: self.checkpoint_summary(),
            memory: MemorySummary {
                budget: budget as u64,
                peak: memory::peak_resident_bytes(),
            },
        }
    }
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

fn source(account: SourceAccount) -> SourceSummary {
    SourceSummary {
        name: account.name,
        rows_in: account.rows_in,
        rows_out: account.rows_out,
        filtered: account.filtered,
        ruled: account.ruled,
        dead_letters: account.dead_letters,
        skipped: account.skipped,
        late: account.late,
        bytes: account.bytes,
    }
}

/// The error of a summary whose sums do not add up: a bug that must not pass unseen.
pub fn check_sums(summary: &Summary) -> Result<()> {
    match summary.sources.iter().find(|source| !source.adds_up()) {
        None => Ok(()),
        Some(source) => Err(Error::new(
            Kind::Internal,
            codes::INTERNAL,
            format!("the rows of source \"{}\" do not add up", source.name),
        )
        .detail(format!(
            "{} in, but {} out + {} dropped by filter + {} kept back by rules + {} dead letters + {} \
             late",
            source.rows_in,
            source.rows_out,
            source.filtered,
            source.ruled,
            source.dead_letters,
            source.late
        ))
        .hint("this is a bug in Weir: please report it with the script")),
    }
}
