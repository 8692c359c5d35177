//! A job with checkpoints, from taking its pipeline over to its end.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, watch};

use super::build::{self, CommitMode, Plan};
use super::coordinator::{Coordinator, Ending, Setup};
use super::job::{
    CheckpointOptions, JobEnd, TimeOptions, complete, is_bounded, run_tasks, watermarks,
};
use super::progress::CheckpointProgress;
use super::recovery::{Recovered, commit_again, fenced};
use super::report::Barrier;
use super::steps::Steps;
use crate::checkpoint::Store;
use crate::env::Env;
use crate::error::{Error, Kind, Result, codes};
use crate::graph::{Graph, NodeKind};
use crate::job::{JobContext, Stop};
use crate::limits;

/// Longest time that a failed job takes to find out whether another instance has its pipeline.
const OVERTAKEN_TIME_MAX: Duration = Duration::from_secs(5);

/// Runs a graph from the last checkpoint that there is.
pub(super) async fn run(
    graph: &Graph,
    context: JobContext,
    time: TimeOptions,
    options: CheckpointOptions,
    progress: CheckpointProgress,
) -> Result<JobEnd> {
    let steps = Steps::new(context.env.clock_arc(), "it takes the pipeline over");
    let mut stop = context.stop.clone();
    let begun = async {
        let recovered = recover(graph, &context, time, &options, &progress, &steps).await?;
        if recovered.read {
            steps.next("its last epoch is closed");
            recovered.close(recovered.manifest.clone()).await?;
            complete(graph).await?;
            progress.set(|state| state.was_finished = true);
            return Ok::<_, Error>(None);
        }
        steps.next("its sinks are checked");
        for (_, node) in graph.nodes() {
            if let NodeKind::Sink(sink) = &node.kind {
                sink.check(&node.schema, recovered.start_of(node)).await?;
            }
        }
        Ok(Some(recovered))
    };
    // A store that does not answer must not keep anybody from stopping.
    let begun = tokio::select! {
        biased;
        begun = steps.watched(begun) => begun?,
        _ = stop.wait_for(|stop| *stop == Stop::Now) => return Err(Error::cancelled()),
    };
    match begun {
        Some(recovered) => {
            let (env, generation) = (context.env.clone(), recovered.generation);
            let end = go_on(graph, context, time, &options, recovered, progress, &steps).await;
            match end {
                Err(error) => Err(why(error, &options.store, generation, &env).await),
                end => end,
            }
        }
        None => Ok(JobEnd::Finished),
    }
}

/// What a failed instance is told. Who was frozen while another one took the pipeline over may
/// fail anywhere before its next manifest would be refused: its files are swept by then.
async fn why(error: Error, store: &Store, generation: u64, env: &Env) -> Error {
    if [codes::FENCED, codes::CANCELLED].contains(&error.code()) {
        return error;
    }
    let overtaken = env.timeout(OVERTAKEN_TIME_MAX, store.is_overtaken(generation));
    match overtaken.await {
        Some(Ok(true)) => fenced().caused_by(error),
        _ => error,
    }
}

/// Takes the pipeline over and commits what its last epoch has prepared.
async fn recover(
    graph: &Graph,
    context: &JobContext,
    time: TimeOptions,
    options: &CheckpointOptions,
    progress: &CheckpointProgress,
    steps: &Steps,
) -> Result<Recovered> {
    let store = options.store.clone();
    let kind = (time.streaming, options.alone);
    let recovered = Recovered::take_over(graph, store, context, kind).await?;
    if let Some(epoch) = recovered.resumed {
        tracing::info!(epoch, "going on from a checkpoint");
    }
    for note in &recovered.notes {
        tracing::warn!("{note}");
    }
    progress.set(|state| {
        state.resumed = recovered.resumed;
        state.notes.clone_from(&recovered.notes);
    });
    for (_, node) in graph.nodes() {
        if let NodeKind::Sink(sink) = &node.kind {
            sink.own(&recovered.owner(node));
        }
    }
    let counted = &recovered.manifest.tallies;
    let taken = recovered.manifest.requests.as_ref();
    let applied = taken.map(|taken| &taken.applied);
    let letters = &context.dead_letters;
    let paused = &recovered.manifest.paused;
    letters.begin(counted, (applied, paused), holds(graph, time))?;
    if !holds(graph, time) || recovered.read {
        steps.next("its sinks show what the last checkpoint has prepared");
        commit_again(&recovered.manifest, &options.store, graph, context).await?;
    }
    Ok(recovered)
}

/// Whether the sinks show nothing before the end.
fn holds(graph: &Graph, time: TimeOptions) -> bool {
    is_bounded(graph) && !time.streaming
}

/// Runs the tasks of a pipeline that is taken over, and its checkpoints.
async fn go_on(
    graph: &Graph,
    mut context: JobContext,
    time: TimeOptions,
    options: &CheckpointOptions,
    recovered: Recovered,
    progress: CheckpointProgress,
    steps: &Steps,
) -> Result<JobEnd> {
    let recovered = Arc::new(recovered);
    let (fail, failed) = watch::channel(false);
    let (report, reports) = mpsc::channel(limits::REPORTS_MAX);
    let (barriers, barrier) = watch::channel(Barrier {
        epoch: recovered.epoch(),
        ..Barrier::default()
    });
    let plan = Plan {
        watermarks: watermarks(time),
        idle_timeout: time.idle_timeout,
        drift_max: time.drift_max,
        commits: CommitMode::WithEpoch(Arc::clone(&recovered), report, barrier),
        failed: failed.clone(),
    };
    // A drain is a checkpoint after which nothing is read: the tasks themselves need not know.
    let asked = context.stop.clone();
    let (tell, told) = watch::channel(Stop::Run);
    context.stop = told;
    steps.next("it reads its state back");
    let built = steps.watched(build::tasks(graph, &context, &plan)).await?;
    let restored_in = steps.elapsed();
    progress.set(|state| state.restored_in = restored_in);
    drop(plan);
    let coordinator = Coordinator::new(
        graph,
        Setup {
            recovered,
            job: context.clone(),
            // Rows of a bounded stretch of the plan come in another order each time.
            interval: built.repeats.then_some(options.interval),
            retained: options.retained,
            kind: (time.streaming, options.alone),
            hold: holds(graph, time),
            loading: built.tasks.len() - built.names.len(),
            tasks: built.names,
            barriers,
            reports,
            progress,
        },
    );
    let coordinate = async {
        let ending = coordinator.run(asked, failed).await;
        if !matches!(ending, Ok(Ending::Finished)) {
            tell.send_replace(Stop::Now);
        }
        ending
    };
    let (ran, ending) = futures::join!(run_tasks(built.tasks, &context, &fail), coordinate);
    drop(tell);
    let end = settle(ran, ending, &context)?;
    if end == JobEnd::Finished {
        complete(graph).await?;
    }
    Ok(end)
}

/// Tells how the job ended of how its tasks and its checkpoints did.
fn settle(ran: Result<()>, ending: Result<Ending>, context: &JobContext) -> Result<JobEnd> {
    // What no epoch has comes again.
    let discarded = context.dead_letters.discard();
    context.dead_letters.flush()?;
    match (ran, ending) {
        (Err(error), _) if error.kind() != Kind::Cancelled => Err(error),
        (_, Ok(Ending::Stopped(epoch))) => discarded.map(|()| JobEnd::Stopped(epoch)),
        (Ok(()), Ok(Ending::Finished)) => discarded.map(|()| JobEnd::Finished),
        (_, Err(error)) => Err(error),
        (Err(_), Ok(Ending::Finished)) => Err(Error::internal("a task ended after the last epoch")),
    }
}
