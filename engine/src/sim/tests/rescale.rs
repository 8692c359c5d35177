//! A job that is stopped with a savepoint goes on with another parallelism.

use super::setup;
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

fn stop_and_go_on(pipeline: Pipeline, before: u32, after: u32, seed: u64) {
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
}

#[test]
fn every_stateful_pipeline_goes_on_with_any_parallelism() {
    let mut count = 0;
    for pipeline in Pipeline::ALL {
        for before in PARALLELISMS {
            for after in PARALLELISMS {
                let seed = u64::from(before * 8 + after);
                stop_and_go_on(pipeline, before, after, seed);
                count += 1;
            }
        }
    }
    println!("{count} restarts");
}
