//! The protocol in a world that goes wrong: every order of every step, exhausted.
//!
//! Two places where instances run, each of which may crash, freeze for any time and go on, and be
//! started again; a log with conditional create and garbage collection; writes whose answers get
//! lost, or that arrive much later or never; a sink that shows what is committed.
//! The instances run the real [`Machine`]. What is done for its decisions follows
//! `checkpoint::store`: settling a lost answer by reading, and the look for later manifests. What
//! the tasks do between two steps that others can see is one step.

use std::collections::{BTreeMap, BTreeSet};

use stateright::{Model, Property};

use super::Fact;

mod instance;
mod tests;

use instance::{Slot, Step};

/// Tasks of a job; each reads an input of its own.
const TASKS: usize = 2;

const ONCE: &str = "CK-6: rows are shown once, as a prefix";
const NOT_LOST: &str = "CK-6: no row is lost";
const NOT_ABORTED: &str = "CK-3: nothing that is needed is aborted";

/// Mistakes that the model must find.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Bug {
    /// Manifests are written whatever is there: nobody is fenced.
    NoFence,
    /// Tokens are committed before the manifest is known to be durable.
    CommitEarly,
    /// Tokens are aborted although nobody knows whether the manifest is durable.
    AbortUnknown,
    /// The fence forgets the tokens of the manifest that it restores.
    FenceForgets,
    /// Who finds its place free does not look whether it was collected.
    NoLook,
}

/// How large the world is.
#[derive(Debug, Clone, Copy)]
struct Bounds {
    rows: [u8; TASKS],
    epochs: u64,
    starts: u64,
    hold_commits: bool,
    bug: Option<Bug>,
}

/// Rows `from..to` of a task's input, prepared once.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
struct Token {
    generation: u64,
    epoch: u64,
    task: usize,
    from: u8,
    to: u8,
}

/// A manifest.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
struct Entry {
    epoch: u64,
    generation: u64,
    finished: bool,
    positions: [u8; TASKS],
    tokens: Vec<Token>,
}

/// The whole world.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct World {
    log: BTreeMap<u64, Entry>,
    /// A write that was sent and has not arrived; it may never do.
    network: Option<Entry>,
    committed: BTreeSet<Token>,
    aborted: BTreeSet<Token>,
    starts: u64,
    slots: [Slot; 2],
}

/// What may happen next.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Action {
    Start(usize),
    /// The instance is gone, at once.
    Crash(usize),
    /// Something in the instance fails, and it ends by itself.
    Fail(usize),
    /// The tasks give their parts of an epoch, each its rows up to a position, or end.
    Epoch(usize, [Part; TASKS]),
    /// The write is carried out, and its answer is lost: reading settles what it was.
    Land(usize),
    /// The write is on its way for now; meanwhile the instance gets no answer.
    Delay(usize),
    Settle(usize),
    Look(usize),
    GiveUp(usize),
    CommitNext(usize),
    Abort(usize),
    Arrive(Entry),
}

/// What a task does in an epoch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Part {
    /// It acks with its rows up to here.
    Ack(u8),
    /// It reads the rest and ends.
    End,
    /// It has ended before.
    Ended,
}

impl Model for Bounds {
    type State = World;
    type Action = Action;

    fn init_states(&self) -> Vec<World> {
        vec![World {
            log: BTreeMap::new(),
            network: None,
            committed: BTreeSet::new(),
            aborted: BTreeSet::new(),
            starts: 0,
            slots: [Slot::Down, Slot::Down],
        }]
    }

    fn actions(&self, world: &World, actions: &mut Vec<Action>) {
        actions.extend(world.network.iter().cloned().map(Action::Arrive));
        let down = world.slots.iter().position(|slot| *slot == Slot::Down);
        if let Some(at) = down
            && world.starts < self.starts
            && world.next_epoch() <= self.epochs
        {
            actions.push(Action::Start(at));
        }
        for (at, slot) in world.slots.iter().enumerate() {
            slot.actions(at, self, world, actions);
        }
    }

    fn next_state(&self, world: &World, action: Action) -> Option<World> {
        let mut next = world.clone();
        match action {
            Action::Start(at) => {
                next.starts += 1;
                next.slots[at] = next.fence_with(self, next.starts);
            }
            Action::Crash(at) => next.slots[at] = Slot::Down,
            Action::Fail(at) => next.tell(self, at, Fact::Failed),
            Action::Epoch(at, parts) => next.epoch(self, at, parts),
            Action::Land(at) => {
                let entry = next.slots[at].entry()?.clone();
                next.create(self, entry);
                next.slots[at].set_step(Step::Asking);
            }
            Action::Delay(at) => {
                let entry = next.slots[at].entry()?.clone();
                next.network = Some(entry);
                next.slots[at].set_step(Step::Asking);
            }
            Action::Settle(at) => next.settle(self, at)?,
            Action::Look(at) => next.look(self, at)?,
            Action::GiveUp(at) => next.unknown(self, at),
            Action::CommitNext(at) => next.commit_next(self, at)?,
            Action::Abort(at) => {
                if let Slot::Aborting { tokens, .. } = &next.slots[at] {
                    next.aborted.extend(tokens.iter().cloned());
                }
                next.slots[at] = Slot::Down;
            }
            Action::Arrive(entry) => {
                next.network = None;
                next.create(self, entry);
            }
        }
        // The places are alike.
        next.slots.sort_by_key(Slot::generation);
        (next != *world).then_some(next)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        vec![
            Property::always(ONCE, |_, world: &World| world.shown().is_some()),
            Property::always(NOT_LOST, |_, world: &World| world.nothing_lost()),
            Property::always(NOT_ABORTED, |_, world: &World| {
                // Older manifests are not restored; a write that arrives late may be among them.
                let newest = world.log.values().next_back();
                let named = newest.into_iter().flat_map(|entry| &entry.tokens);
                let mut needed = named.chain(&world.committed);
                needed.all(|token| !world.aborted.contains(token))
            }),
            Property::sometimes(
                "a job ends with all rows shown",
                |bounds: &Self, world: &World| {
                    let finished = world.log.values().next_back().is_some_and(|e| e.finished);
                    finished && world.shown() == Some(bounds.rows)
                },
            ),
            Property::sometimes("tokens are aborted", |_, world: &World| {
                !world.aborted.is_empty()
            }),
            Property::sometimes("two instances run", |_, world: &World| {
                let running = |slot: &Slot| matches!(slot, Slot::Running(_));
                world.slots.iter().all(running)
            }),
            Property::sometimes(
                "a write arrives after its place was collected",
                |_, world: &World| {
                    let oldest = world.log.keys().next().copied();
                    let mut late = world.network.iter().map(|entry| entry.epoch);
                    late.any(|epoch| oldest.is_some_and(|oldest| epoch < oldest))
                },
            ),
        ]
    }
}

impl World {
    /// Gives how far each task's rows are shown; `None` when one is missing or there twice.
    fn shown(&self) -> Option<[u8; TASKS]> {
        let mut shown = [0; TASKS];
        for (task, shown) in shown.iter_mut().enumerate() {
            let mut tokens: Vec<_> = self.committed.iter().filter(|t| t.task == task).collect();
            tokens.sort_by_key(|token| token.from);
            for token in tokens {
                if token.from != *shown {
                    return None;
                }
                *shown = token.to;
            }
        }
        Some(shown)
    }

    /// Whether a restart shows all rows that it does not read again, and reads all others.
    fn nothing_lost(&self) -> bool {
        let Some((_, newest)) = self.log.last_key_value() else {
            return self.committed.is_empty();
        };
        (0..TASKS).all(|task| {
            let of_task = |token: &&Token| token.task == task;
            let tokens = self.committed.iter().chain(&newest.tokens).filter(of_task);
            let rows: BTreeSet<u8> = tokens.flat_map(|token| token.from..token.to).collect();
            rows.into_iter().eq(0..newest.positions[task])
        })
    }

    fn next_epoch(&self) -> u64 {
        self.log.last_key_value().map_or(1, |(epoch, _)| epoch + 1)
    }

    /// Reads the log and gives the fence to be published.
    fn fence_with(&self, bounds: &Bounds, generation: u64) -> Slot {
        let latest = self.log.last_key_value().map(|(_, entry)| entry);
        let newer = latest.is_some_and(|latest| latest.generation > generation);
        if newer || self.next_epoch() > bounds.epochs {
            return Slot::Down;
        }
        let mut entry = Entry {
            epoch: self.next_epoch(),
            generation,
            finished: latest.is_some_and(|latest| latest.finished),
            positions: latest.map_or([0; TASKS], |latest| latest.positions),
            tokens: latest.map_or(Vec::new(), |latest| latest.tokens.clone()),
        };
        if bounds.bug == Some(Bug::FenceForgets) {
            entry.tokens.clear();
        }
        Slot::Fencing {
            entry,
            step: Step::Sending,
        }
    }

    /// Creates a manifest unless there is one.
    fn create(&mut self, bounds: &Bounds, entry: Entry) {
        if bounds.bug == Some(Bug::NoFence) {
            self.log.insert(entry.epoch, entry);
        } else {
            self.log.entry(entry.epoch).or_insert(entry);
        }
    }

    /// Keeps the newest manifest only.
    fn collect(&mut self) {
        while self.log.len() > 1 {
            self.log.pop_first();
        }
    }
}
