//! One instance: it claims, fences, commits what it restores, and runs its machine.

use super::super::{Decision, Machine, ManifestKind};
use super::{Action, Bounds, Bug, Entry, Fact, Part, TASKS, Token, World};
use crate::message::Epoch;

/// A place where an instance runs.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) enum Slot {
    Down,
    Fencing { entry: Entry, step: Step },
    Recovering { entry: Entry, committed: usize },
    Running(Box<Job>),
    Aborting { generation: u64, tokens: Vec<Token> },
}

/// What an instance is about to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Step {
    /// Begin an epoch.
    Idle,
    /// Send the manifest.
    Sending,
    /// Read the manifest's place, since no answer came.
    Asking,
    /// Look for later manifests, since this one is there.
    Looking,
    /// Commit this token of the manifest.
    Committing(usize),
}

/// A running job.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Job {
    generation: u64,
    machine: Machine,
    /// Where each task was at the last durable epoch.
    base: [u8; TASKS],
    ended: [bool; TASKS],
    /// Where each task is in this epoch.
    parts: [u8; TASKS],
    /// Tokens that a durable manifest holds and that are committed at the end.
    held: Vec<Token>,
    /// The last manifest.
    entry: Option<Entry>,
    step: Step,
}

impl Slot {
    /// Tells the instances apart, and those that are gone from those that are not.
    pub(super) fn generation(&self) -> u64 {
        match self {
            Self::Down => u64::MAX,
            Self::Fencing { entry, .. } | Self::Recovering { entry, .. } => entry.generation,
            Self::Running(job) => job.generation,
            Self::Aborting { generation, .. } => *generation,
        }
    }

    pub(super) fn actions(
        &self,
        at: usize,
        bounds: &Bounds,
        world: &World,
        actions: &mut Vec<Action>,
    ) {
        match self {
            Self::Down => return,
            Self::Fencing { step, .. } => step.actions(at, world, actions),
            Self::Recovering { .. } => actions.push(Action::CommitNext(at)),
            Self::Running(job) => {
                job.step.actions(at, world, actions);
                if job.step == Step::Idle {
                    job.epochs(at, bounds, actions);
                }
            }
            Self::Aborting { .. } => actions.push(Action::Abort(at)),
        }
        actions.push(Action::Crash(at));
    }

    /// Gives the manifest that is to be published.
    pub(super) fn entry(&self) -> Option<&Entry> {
        match self {
            Self::Fencing { entry, .. } => Some(entry),
            Self::Running(job) => job.entry.as_ref(),
            _ => None,
        }
    }

    pub(super) fn set_step(&mut self, to: Step) {
        match self {
            Self::Fencing { step, .. } => *step = to,
            Self::Running(job) => job.step = to,
            _ => {}
        }
    }
}

impl Step {
    fn actions(self, at: usize, world: &World, actions: &mut Vec<Action>) {
        match self {
            Self::Idle => {}
            Self::Sending => {
                actions.extend([Action::Land(at), Action::Fail(at)]);
                if world.network.is_none() {
                    actions.push(Action::Delay(at));
                }
            }
            Self::Asking => actions.extend([Action::Settle(at), Action::GiveUp(at)]),
            Self::Looking => actions.push(Action::Look(at)),
            Self::Committing(_) => actions.push(Action::CommitNext(at)),
        }
    }
}

impl Job {
    fn new(bounds: &Bounds, from: &Entry) -> Self {
        let held = bounds.hold_commits && !from.finished;
        Self {
            generation: from.generation,
            machine: Machine::new(TASKS, Epoch(from.epoch), bounds.hold_commits),
            base: from.positions,
            ended: [false; TASKS],
            parts: from.positions,
            held: if held {
                from.tokens.clone()
            } else {
                Vec::new()
            },
            entry: None,
            step: Step::Idle,
        }
    }

    /// Gives every way in which the tasks may go through the next epoch.
    fn epochs(&self, at: usize, bounds: &Bounds, actions: &mut Vec<Action>) {
        if self.machine.epoch.0 >= bounds.epochs {
            return;
        }
        let ways = |task: usize| -> Vec<Part> {
            if self.ended[task] {
                return vec![Part::Ended];
            }
            let acks = (self.base[task]..=bounds.rows[task]).map(Part::Ack);
            acks.chain([Part::End]).collect()
        };
        for first in ways(0) {
            actions.extend(
                ways(1)
                    .into_iter()
                    .map(|second| Action::Epoch(at, [first, second])),
            );
        }
    }

    /// Makes the manifest of an epoch of what the tasks have given.
    fn write(&mut self, epoch: u64) {
        let mut tokens = self.held.clone();
        for (task, (from, to)) in self.base.into_iter().zip(self.parts).enumerate() {
            if from < to {
                tokens.push(Token {
                    generation: self.generation,
                    epoch,
                    task,
                    from,
                    to,
                });
            }
        }
        self.entry = Some(Entry {
            epoch,
            generation: self.generation,
            finished: false,
            positions: self.parts,
            tokens,
        });
    }
}

impl World {
    /// The tasks go through an epoch.
    pub(super) fn epoch(&mut self, bounds: &Bounds, at: usize, parts: [Part; TASKS]) {
        if parts.iter().any(|part| matches!(part, Part::Ack(_))) {
            self.tell(bounds, at, Fact::Due);
        }
        for (task, part) in parts.into_iter().enumerate() {
            let Slot::Running(job) = &mut self.slots[at] else {
                return;
            };
            let epoch = job.machine.in_flight().unwrap_or(Epoch(0));
            let fact = match part {
                Part::Ack(position) => {
                    job.parts[task] = position;
                    Fact::Ack { task, epoch }
                }
                Part::End => {
                    job.parts[task] = bounds.rows[task];
                    job.ended[task] = true;
                    Fact::Ended { task }
                }
                Part::Ended => continue,
            };
            self.tell(bounds, at, fact);
        }
    }

    /// Tells an instance a fact and does what it decides, as far as nobody else can see it.
    pub(super) fn tell(&mut self, bounds: &Bounds, at: usize, fact: Fact) {
        let mut facts = vec![fact];
        while let Some(fact) = facts.pop() {
            let Slot::Running(job) = &mut self.slots[at] else {
                return;
            };
            for decision in job.machine.take(fact) {
                let Slot::Running(job) = &mut self.slots[at] else {
                    return;
                };
                match decision {
                    Decision::Inject(_) => {}
                    Decision::Write(epoch) if epoch.0 > bounds.epochs => {
                        self.slots[at] = Slot::Down;
                    }
                    Decision::Write(epoch) => {
                        job.write(epoch.0);
                        facts.push(Fact::StateWritten(epoch));
                    }
                    Decision::Publish(_, kind) => {
                        job.step = Step::Sending;
                        if let Some(entry) = &mut job.entry {
                            entry.finished = kind == ManifestKind::Finished;
                            if bounds.bug == Some(Bug::CommitEarly) {
                                self.committed.extend(entry.tokens.iter().cloned());
                            }
                        }
                    }
                    Decision::Commit(_) => job.step = Step::Committing(0),
                    Decision::Collect => {
                        job.step = Step::Idle;
                        self.collect();
                    }
                    Decision::Finish => self.slots[at] = Slot::Down,
                    Decision::Discard { tokens } => self.discard(bounds, at, fact, tokens),
                }
            }
        }
    }

    fn discard(&mut self, bounds: &Bounds, at: usize, fact: Fact, tokens: bool) {
        let Slot::Running(job) = &self.slots[at] else {
            return;
        };
        let unknown = fact == Fact::OutcomeUnknown && bounds.bug == Some(Bug::AbortUnknown);
        // What is in flight and not among the tokens of a durable manifest.
        let named = job.entry.iter().filter(|_| job.step != Step::Idle);
        let named = named.flat_map(|entry| &entry.tokens);
        let prepared: Vec<Token> = named
            .filter(|token| !job.held.contains(token))
            .cloned()
            .collect();
        self.slots[at] = match (tokens || unknown) && !prepared.is_empty() {
            true => Slot::Aborting {
                generation: job.generation,
                tokens: prepared,
            },
            false => Slot::Down,
        };
    }

    /// Reads the place of a manifest whose answer did not come.
    pub(super) fn settle(&mut self, bounds: &Bounds, at: usize) -> Option<()> {
        let entry = self.slots[at].entry()?;
        match self.log.get(&entry.epoch) {
            None => self.slots[at].set_step(Step::Sending),
            Some(found) if found == entry => self.slots[at].set_step(Step::Looking),
            Some(_) => {
                let overtaken = self.is_overtaken(entry.epoch);
                match &self.slots[at] {
                    Slot::Fencing { entry, .. } => {
                        self.slots[at] = self.fence_with(bounds, entry.generation);
                    }
                    _ if overtaken && bounds.bug != Some(Bug::NoLook) => self.unknown(bounds, at),
                    _ => self.tell(bounds, at, Fact::Fenced),
                }
            }
        }
        Some(())
    }

    /// Looks for later manifests.
    pub(super) fn look(&mut self, bounds: &Bounds, at: usize) -> Option<()> {
        let entry = self.slots[at].entry()?.clone();
        if self.is_overtaken(entry.epoch) && bounds.bug != Some(Bug::NoLook) {
            match &self.slots[at] {
                Slot::Fencing { .. } => self.slots[at] = self.fence_with(bounds, entry.generation),
                _ => self.unknown(bounds, at),
            }
            return Some(());
        }
        if let Slot::Running(job) = &mut self.slots[at] {
            job.base = entry.positions;
            if bounds.hold_commits {
                job.held.clone_from(&entry.tokens);
            }
            self.tell(bounds, at, Fact::Published(Epoch(entry.epoch)));
        } else if bounds.hold_commits && !entry.finished {
            self.slots[at] = Slot::Running(Box::new(Job::new(bounds, &entry)));
        } else {
            self.slots[at] = Slot::Recovering {
                entry,
                committed: 0,
            };
        }
        Some(())
    }

    fn is_overtaken(&self, epoch: u64) -> bool {
        self.log.range(epoch + 1..).next().is_some()
    }

    /// Commits the next token of a manifest.
    pub(super) fn commit_next(&mut self, bounds: &Bounds, at: usize) -> Option<()> {
        match &mut self.slots[at] {
            Slot::Recovering { entry, committed } => match entry.tokens.get(*committed) {
                Some(token) => {
                    self.committed.insert(token.clone());
                    *committed += 1;
                }
                None => {
                    let job = Job::new(bounds, entry);
                    self.slots[at] = Slot::Running(Box::new(job));
                }
            },
            Slot::Running(job) => {
                let (entry, Step::Committing(number)) = (job.entry.as_ref()?, job.step) else {
                    return None;
                };
                match entry.tokens.get(number) {
                    Some(token) => {
                        self.committed.insert(token.clone());
                        job.step = Step::Committing(number + 1);
                    }
                    None => {
                        let epoch = Epoch(entry.epoch);
                        self.tell(bounds, at, Fact::Committed(epoch));
                    }
                }
            }
            _ => return None,
        }
        Some(())
    }

    /// Nobody knows what became of the manifest.
    pub(super) fn unknown(&mut self, bounds: &Bounds, at: usize) {
        match &self.slots[at] {
            Slot::Running(_) => self.tell(bounds, at, Fact::OutcomeUnknown),
            _ => self.slots[at] = Slot::Down,
        }
    }
}
