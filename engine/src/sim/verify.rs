//! What must be true of a world whose pipeline has ended, whatever happened to its processes.

use std::collections::BTreeSet;

use super::data::{self, Bag, Line, net, passes};
use super::pipeline::Pipeline;
use super::world::{Process, RETAINED, World};
use crate::checkpoint::{Manifest, ManifestKind};

/// What is wrong, in words; empty if nothing is.
pub(super) fn wrong(world: &World) -> Vec<String> {
    let mut wrong = world.seen.lock().wrong.clone();
    rows(world, &mut wrong);
    chain(&world.log.lock(), &mut wrong);
    for (number, process) in world.processes.iter().enumerate() {
        prefix(world, number, process, &mut wrong);
        let letters = process.letters.total();
        if letters > 0 {
            wrong.push(format!("process {number} has {letters} dead letters"));
        }
    }
    garbage(world, &mut wrong);
    leftovers(world, &mut wrong);
    wrong
}

/// What the newest process has finished is visible, and what older ones have left is swept, unless
/// they were still there.
fn leftovers(world: &World, wrong: &mut Vec<String>) {
    let has_zombies = world.processes.iter().any(|process| {
        let plan = process.plan.filter(|_| process.gate.has_fired());
        plan.is_some_and(|plan| plan.flavour.is_zombie())
    });
    let newest = format!("staged/run{}-", world.processes.len() - 1);
    for name in world.staged() {
        if name.starts_with(&newest) || (!has_zombies && swept(world)) {
            wrong.push(format!("{name} is left over"));
        }
    }
}

/// Whether the newest process came so far that it swept.
fn swept(world: &World) -> bool {
    let newest = world.processes.last();
    newest.is_some_and(|process| process.found.lock().looked)
}

/// Names the first few rows that are there too often or not often enough.
fn difference(found: &Bag, expected: &Bag, what: &str, wrong: &mut Vec<String>) {
    let lines: BTreeSet<_> = found.keys().chain(expected.keys()).collect();
    let count = |bag: &Bag, line: &Line| bag.get(line).copied().unwrap_or(0);
    let differ = lines
        .into_iter()
        .filter(|line| count(found, line) != count(expected, line));
    for line in differ.take(3) {
        let (found, expected) = (count(found, line), count(expected, line));
        wrong.push(format!(
            "{what}: {line:?} is there {found} times, not {expected}"
        ));
    }
}

fn rows(world: &World, wrong: &mut Vec<String>) {
    let answer = world.setup.pipeline.answer(world.setup.size);
    let visible = world.visible();
    if world.setup.pipeline == Pipeline::View {
        difference(&net(&visible), &answer, "changelog", wrong);
        difference(&world.view(), &answer, "view", wrong);
    } else {
        difference(&visible, &answer, "sink", wrong);
    }
}

/// What a process saw when it began to read: what its checkpoint says, no more and no less.
fn prefix(world: &World, number: usize, process: &Process, wrong: &mut Vec<String>) {
    let found = process.found.lock().clone();
    if !found.looked {
        return;
    }
    let what = format!("at the start of process {number}");
    match world.setup.pipeline {
        Pipeline::Stateless => {
            for ((source, split), next) in process.opened.lock().iter() {
                let rows = world.setup.size.all(*source);
                let before = rows
                    .iter()
                    .filter(|row| row.split == *split && row.seq < *next && passes(row));
                let of_split = found
                    .visible
                    .iter()
                    .filter(|(line, _)| line.first() == Some(&Some(*split)));
                let of_split = of_split.map(|(line, times)| (line.clone(), *times));
                let expected = data::bag(before.map(data::line));
                difference(&of_split.collect(), &expected, &what, wrong);
            }
        }
        Pipeline::Window | Pipeline::Join => {
            let answer = world.setup.pipeline.answer(world.setup.size);
            let known = found.visible.iter();
            let extra = known.filter(|(line, times)| answer.get(*line).copied() < Some(**times));
            for (line, times) in extra.take(3) {
                wrong.push(format!("{what}: {line:?} is there {times} times too early"));
            }
        }
        Pipeline::View => {}
    }
}

/// The manifests form one chain: each follows the one before, by the same instance, or by a newer
/// one that took over.
fn chain(log: &[Manifest], wrong: &mut Vec<String>) {
    let mut last: Option<&Manifest> = None;
    for manifest in log {
        let (epoch, writer) = (manifest.epoch, &manifest.writer);
        let Some(before) = last else {
            if epoch != 1 || manifest.kind != ManifestKind::Restored {
                wrong.push(format!("the log begins with epoch {epoch}"));
            }
            last = Some(manifest);
            continue;
        };
        if epoch <= before.epoch {
            // A place that was collected may be taken again by a write that was held up; who wrote
            // it must learn that it is nowhere.
            if manifest.generation >= before.generation {
                wrong.push(format!("{writer} took epoch {epoch} a second time"));
            }
            continue;
        }
        if epoch != before.epoch + 1 {
            wrong.push(format!("epoch {epoch} follows {}", before.epoch));
        }
        let follows = match manifest.kind {
            ManifestKind::Restored => {
                manifest.generation > before.generation
                    && manifest.restored_from == Some(before.epoch)
            }
            _ => manifest.writer == before.writer && manifest.generation == before.generation,
        };
        if !follows {
            wrong.push(format!(
                "epoch {epoch} of {writer} does not follow that of {}",
                before.writer
            ));
        }
        if manifest.kind == ManifestKind::Restored && manifest.commits != before.commits {
            wrong.push(format!("epoch {epoch} of {writer} loses tokens"));
        }
        last = Some(manifest);
    }
}

/// Nothing is left that nobody needs.
fn garbage(world: &World, wrong: &mut Vec<String>) {
    let collected = world.ask(|store| async move {
        store.collect(RETAINED).await?;
        store.list().await
    });
    let listed = match collected {
        Ok(listed) => listed,
        Err(error) => return wrong.push(format!("nothing can be collected: {error}")),
    };
    let manifests = listed
        .iter()
        .filter_map(|listed| listed.manifest.as_ref().ok());
    let kept = manifests
        .clone()
        .filter(|m| m.kind != ManifestKind::Savepoint);
    let kept = kept.count();
    if kept > RETAINED || manifests.clone().count() != listed.len() {
        wrong.push(format!("{kept} of {} epochs are kept", listed.len()));
    }
    let named: BTreeSet<String> = manifests
        .flat_map(Manifest::files)
        .map(|file| format!("state/{}", file.path))
        .collect();
    let files = world.kept();
    let state = files.iter().filter(|file| file.ends_with(".state"));
    for file in state.filter(|file| !named.contains(*file)).take(3) {
        wrong.push(format!("{file} is in no checkpoint"));
    }
    if let Some(file) = named.iter().find(|file| !files.contains(file)) {
        wrong.push(format!("{file} is missing"));
    }
}
