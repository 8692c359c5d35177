//! One run of a pipeline through planned faults, watched to its end and then judged.

use std::collections::BTreeMap;
use std::time::Duration;

use super::executor::{Halt, Instance};
use super::fault::Plan;
use super::verify;
use super::world::{Setup, World};
use crate::checkpoint::ManifestKind;
use crate::error::Kind;
use crate::runtime::JobEnd;

/// Processes after which a run makes no progress.
const PROCESSES_MAX: usize = 8;

/// How a run went.
#[derive(Debug)]
pub(super) struct Outcome {
    /// What is wrong, in words; empty if nothing is.
    pub(super) wrong: Vec<String>,
    /// How many of the planned faults have come.
    pub(super) fired: usize,
    /// Operations of the first process.
    pub(super) calls: u64,
    /// Epochs in the log.
    pub(super) epochs: usize,
    /// What all processes have done, in order.
    pub(super) trace: Vec<Vec<String>>,
}

/// The subtasks of each process.
fn parallelism(seed: u64, instance: Instance, salt: u64) -> u32 {
    let hash = (seed ^ 0x51ed)
        .wrapping_mul(0x9e37_79b9_7f4a_7c15)
        .wrapping_add((instance as u64 + 1).wrapping_mul(salt | 1).rotate_left(17));
    u32::try_from(hash % 3).unwrap() + 1
}

/// Runs a pipeline; each plan is for the process of its place.
pub(super) fn run(setup: &Setup, plans: &[Plan]) -> Outcome {
    let mut world = World::new(setup.clone());
    let mut wrong = Vec::new();
    // The first process runs as it does without faults, up to its fault.
    let salt = plans.first().map_or(0, |plan| plan.at);
    let mut zombies: BTreeMap<Instance, Option<Duration>> = BTreeMap::new();
    loop {
        let newest = world.processes.len();
        if newest >= PROCESSES_MAX {
            wrong.push("process after process fails".to_owned());
            break;
        }
        let salt = if newest == 0 { 0 } else { salt };
        let subtasks = parallelism(setup.seed, newest, salt);
        world.start(subtasks, plans.get(newest).copied());
        match watch(&world, newest, &zombies) {
            Step::Wrong(text) => {
                wrong.push(text);
                break;
            }
            Step::Ended => break,
            Step::Fired => {
                if plans
                    .get(newest)
                    .is_some_and(|plan| plan.flavour.is_zombie())
                {
                    // Some go on until they are told that they are fenced.
                    let life = world.sim.draw(120_000);
                    let dies = world.sim.now() + Duration::from_micros(life);
                    zombies.insert(newest, life.is_multiple_of(2).then_some(dies));
                }
            }
            Step::Failed => {}
        }
    }
    if wrong.is_empty() && world.sim.run_until(|| quiet(&world, &zombies)) != Halt::Reached {
        wrong.push("an old process hangs".to_owned());
    }
    let is_over = |world: &World| {
        let log = world.log.lock();
        log.last().is_none_or(|m| m.kind == ManifestKind::Finished)
    };
    if wrong.is_empty() && !is_over(&world) {
        // An old process took over when all was done, and died: one more comes after it.
        let newest = world.processes.len();
        world.start(1, None);
        if let Step::Wrong(text) = watch(&world, newest, &zombies) {
            wrong.push(text);
        }
    }
    if wrong.is_empty() {
        wrong = verify::wrong(&world);
    }
    let epochs = world.log.lock().len();
    Outcome {
        wrong,
        fired: world
            .processes
            .iter()
            .filter(|process| process.plan.is_some() && process.gate.has_fired())
            .count(),
        calls: world.processes.first().map_or(0, |p| p.gate.calls()),
        epochs,
        trace: world.processes.iter().map(|p| p.gate.trace()).collect(),
    }
}

enum Step {
    Ended,
    Fired,
    /// It could not go on beside an old process.
    Failed,
    Wrong(String),
}

fn watch(world: &World, newest: Instance, zombies: &BTreeMap<Instance, Option<Duration>>) -> Step {
    let Some(process) = world.processes.get(newest) else {
        return Step::Wrong("there is no process".to_owned());
    };
    let halt = world.sim.run_until(|| {
        bury(world, zombies);
        process.gate.has_fired() || process.done.lock().is_some()
    });
    if halt != Halt::Reached {
        return Step::Wrong(format!("process {newest} hangs: {halt:?}"));
    }
    let done = process.done.lock();
    match &*done {
        None => Step::Fired,
        Some(Ok(JobEnd::Finished)) => Step::Ended,
        Some(Ok(end)) => Step::Wrong(format!("process {newest} ended with {end:?}")),
        Some(Err(error)) if !zombies.is_empty() && error.kind() == Kind::Conflict => Step::Failed,
        Some(Err(error)) => {
            let detail = error.detail_text().unwrap_or_default();
            Step::Wrong(format!("process {newest} failed: {error} {detail}"))
        }
    }
}

/// Ends old processes whose time has come.
fn bury(world: &World, zombies: &BTreeMap<Instance, Option<Duration>>) {
    for (instance, dies) in zombies {
        if dies.is_some_and(|dies| world.sim.now() >= dies) {
            world.sim.kill(*instance);
        }
    }
}

/// Whether the old processes have ended, or will say nothing more.
fn quiet(world: &World, zombies: &BTreeMap<Instance, Option<Duration>>) -> bool {
    bury(world, zombies);
    zombies.iter().all(|(instance, dies)| {
        let dead = dies.is_some_and(|dies| world.sim.now() >= dies);
        let process = world.processes.get(*instance);
        dead || process.is_none_or(|process| process.done.lock().is_some())
    })
}
