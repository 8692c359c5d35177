//! A job that is stopped with a savepoint goes on with another parallelism.

use super::setup;
use crate::checkpoint::Manifest;
use crate::job::Stop;
use crate::runtime::JobEnd;
use crate::sim::executor::Halt;
use crate::sim::pipeline::Pipeline;
use crate::sim::verify;
use crate::sim::world::World;

const PARALLELISMS: [u32; 4] = [1, 2, 3, 5];

fn ends(world: &World, process: usize) -> JobEnd {
    let process = &world.processes[process];
    let halt = world.sim.run_until(|| process.done.lock().is_some());
    assert_eq!(halt, Halt::Reached);
    process.done.lock().take().unwrap().unwrap()
}

/// Whether the first checkpoint after the last start names all files of a node that it was given
/// back, and has added what changed.
fn goes_on(log: &[Manifest]) -> bool {
    let last = log.iter().map(|manifest| manifest.generation).max();
    let mut own = log.iter().filter(|m| Some(m.generation) == last);
    let (Some(given), Some(first)) = (own.next(), own.next()) else {
        return false;
    };
    let chains = |manifest: &'_ Manifest| {
        let nodes = manifest.nodes.iter().cloned();
        let nodes = nodes.filter(|node| !node.id.starts_with("input"));
        nodes.flat_map(|node| node.chains).collect::<Vec<_>>()
    };
    let (given, first) = (chains(given), chains(first));
    let grown = given.iter().zip(&first).any(|(old, new)| {
        let is_longer = new.files.len() > old.files.len();
        is_longer && !old.files.is_empty() && new.files.starts_with(&old.files)
    });
    grown && given.len() == first.len()
}

/// Gives whether the chains of state went on.
fn stop_and_go_on(pipeline: Pipeline, before: u32, after: u32, seed: u64) -> bool {
    let at = format!("{pipeline:?} {before} to {after} SEED={seed}");
    let mut setup = setup(pipeline, seed, None);
    setup.size.splits = 5;
    let rows = u64::try_from(setup.size.splits * setup.size.rows_of_split()).unwrap();
    let mut world = World::new(setup);
    world.start(before, None);
    let process = &world.processes[0];
    let halt = world.sim.run_until(|| {
        let read = process.metrics.node("input0");
        read.is_some_and(|read| read.rows_in >= rows / 3)
    });
    assert_eq!(halt, Halt::Reached, "{at}");
    process.stop.send_replace(Stop::Drain);
    let end = ends(&world, 0);
    assert!(matches!(end, JobEnd::Stopped(_)), "{at}: {end:?}");
    world.start(after, None);
    assert_eq!(ends(&world, 1), JobEnd::Finished, "{at}");
    let wrong = verify::wrong(&world);
    assert!(wrong.is_empty(), "{at}: {wrong:#?}");
    let log = world.log.lock();
    goes_on(&log)
}

#[test]
fn every_stateful_pipeline_goes_on_with_any_parallelism() {
    let mut count = 0;
    for pipeline in Pipeline::ALL {
        let mut gone_on = 0;
        for before in PARALLELISMS {
            for after in PARALLELISMS {
                let seed = u64::from(before * 8 + after);
                let goes_on = stop_and_go_on(pipeline, before, after, seed);
                assert!(
                    !goes_on || before == after,
                    "{pipeline:?} {before} to {after}"
                );
                gone_on += u32::from(goes_on);
                count += 1;
            }
        }
        // A job that ends with its first checkpoint gives all of its state.
        let expected = if pipeline == Pipeline::Stateless {
            0..=0
        } else {
            2..=4
        };
        assert!(expected.contains(&gone_on), "{pipeline:?}: {gone_on}");
    }
    println!("{count} restarts");
}
