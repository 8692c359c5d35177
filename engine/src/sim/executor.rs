//! A scheduler and a clock for whole jobs: one thread, one seed, no real time.
//!
//! Of the tasks that can go on, the seed picks the next one. Time passes only when none can, and
//! then at once. Tasks belong to an instance, and an instance dies with all its tasks at the same
//! moment, in the middle of whatever they wait for.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::{Arc, Weak};
use std::task::{Context, Poll, Wake, Waker};
use std::time::Duration;

use parking_lot::Mutex;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use crate::env::{BoxFuture, Clock, Env, Spawner, TaskHandle, Work};
use crate::error::{Error, Kind, Result, codes};

/// The number of an instance: a process, as the world sees it.
pub(super) type Instance = usize;

/// When the simulated world begins.
const EPOCH_MICROS: i64 = 1_700_000_000_000_000;
/// Turns after which a run that has not ended hangs.
const TURNS_MAX: u64 = 2_000_000;

struct Slot {
    instance: Instance,
    /// `None` while the task has its turn.
    task: Option<BoxFuture<()>>,
    ended: Ended,
}

type Ended = Arc<Mutex<(Option<Result<()>>, Option<Waker>)>>;

struct State {
    rng: StdRng,
    now: Duration,
    next: u64,
    tasks: BTreeMap<u64, Slot>,
    ready: BTreeSet<u64>,
    timers: BTreeMap<(Duration, u64), Waker>,
    dead: BTreeSet<Instance>,
    turns: u64,
}

/// The world's scheduler and clock: cheap to clone.
#[derive(Clone)]
pub(super) struct Sim(Arc<Mutex<State>>);

impl fmt::Debug for Sim {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Sim")
    }
}

/// Why the world has stopped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Halt {
    /// What was waited for is there.
    Reached,
    /// Nothing can go on, and no time will change that.
    Stuck,
    /// It goes on and on.
    Endless,
}

impl Sim {
    pub(super) fn new(seed: u64) -> Self {
        Self(Arc::new(Mutex::new(State {
            rng: StdRng::seed_from_u64(seed),
            now: Duration::ZERO,
            next: 0,
            tasks: BTreeMap::new(),
            ready: BTreeSet::new(),
            timers: BTreeMap::new(),
            dead: BTreeSet::new(),
            turns: 0,
        })))
    }

    /// The environment of an instance.
    pub(super) fn env(&self, instance: Instance, seed: u64) -> Env {
        let clock = Arc::new(SimClock(Arc::downgrade(&self.0)));
        let spawner = SimSpawner {
            state: Arc::downgrade(&self.0),
            instance,
        };
        Env::new(clock, Arc::new(spawner), seed)
    }

    pub(super) fn now(&self) -> Duration {
        self.0.lock().now
    }

    /// Draws from the world's own chance.
    pub(super) fn draw(&self, below: u64) -> u64 {
        self.0.lock().rng.random_range(0..below.max(1))
    }

    /// Ends all tasks of an instance; the one that has its turn ends with it.
    pub(super) fn kill(&self, instance: Instance) {
        let gone: Vec<Slot> = {
            let mut state = self.0.lock();
            state.dead.insert(instance);
            let ids: Vec<u64> = state
                .tasks
                .iter()
                .filter(|(_, slot)| slot.instance == instance)
                .map(|(id, _)| *id)
                .collect();
            ids.iter().filter_map(|id| state.tasks.remove(id)).collect()
        };
        // What tasks own may lock the world when it is dropped.
        drop(gone);
    }

    /// Runs until `done` says so; it is asked after every turn.
    pub(super) fn run_until(&self, mut done: impl FnMut() -> bool) -> Halt {
        loop {
            if done() {
                return Halt::Reached;
            }
            if self.0.lock().turns >= TURNS_MAX {
                return Halt::Endless;
            }
            if !self.turn() && !self.wait() {
                return Halt::Stuck;
            }
        }
    }

    /// Gives one task its turn; false when none is ready.
    fn turn(&self) -> bool {
        let (id, mut task) = {
            let mut state = self.0.lock();
            let state = &mut *state;
            if state.ready.is_empty() {
                return false;
            }
            state.turns += 1;
            let pick = state.rng.random_range(0..state.ready.len());
            let id = state.ready.iter().nth(pick).copied().unwrap();
            state.ready.remove(&id);
            match state.tasks.get_mut(&id).and_then(|slot| slot.task.take()) {
                Some(task) => (id, task),
                None => return true,
            }
        };
        let waker = Waker::from(Arc::new(Wakes {
            state: Arc::downgrade(&self.0),
            id,
        }));
        let mut context = Context::from_waker(&waker);
        let polled = catch_unwind(AssertUnwindSafe(|| task.as_mut().poll(&mut context)));
        let result = match polled {
            Ok(Poll::Pending) => {
                let mut state = self.0.lock();
                if let Some(slot) = state.tasks.get_mut(&id) {
                    slot.task = Some(task);
                    return true;
                }
                // It was killed while it had its turn.
                drop(state);
                drop(task);
                return true;
            }
            Ok(Poll::Ready(())) => Ok(()),
            Err(_) => Err(Error::new(Kind::Internal, codes::PANIC, "a task panicked")),
        };
        drop(task);
        let slot = self.0.lock().tasks.remove(&id);
        if let Some(slot) = slot {
            end(&slot.ended, result);
        }
        true
    }

    /// Lets time pass up to the next timer; false when there is none.
    fn wait(&self) -> bool {
        let waker = {
            let mut state = self.0.lock();
            let Some(((at, _), waker)) = state.timers.pop_first() else {
                return false;
            };
            state.now = state.now.max(at);
            state.turns += 1;
            waker
        };
        waker.wake();
        true
    }

    /// Drops all that is left, so that nothing keeps the world alive.
    pub(super) fn end(&self) {
        let (tasks, timers) = {
            let mut state = self.0.lock();
            let tasks = std::mem::take(&mut state.tasks);
            (tasks, std::mem::take(&mut state.timers))
        };
        drop(tasks);
        drop(timers);
    }
}

fn end(ended: &Ended, result: Result<()>) {
    let waker = {
        let mut ended = ended.lock();
        ended.0 = Some(result);
        ended.1.take()
    };
    if let Some(waker) = waker {
        waker.wake();
    }
}

struct Wakes {
    state: Weak<Mutex<State>>,
    id: u64,
}

impl Wake for Wakes {
    fn wake(self: Arc<Self>) {
        if let Some(state) = self.state.upgrade() {
            state.lock().ready.insert(self.id);
        }
    }
}

#[derive(Clone)]
struct SimSpawner {
    state: Weak<Mutex<State>>,
    instance: Instance,
}

impl fmt::Debug for SimSpawner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SimSpawner")
    }
}

impl Spawner for SimSpawner {
    fn spawn(&self, _work: Work, task: BoxFuture<()>) -> TaskHandle {
        let ended: Ended = Arc::default();
        let mut number = 0;
        if let Some(state) = self.state.upgrade() {
            let mut state = state.lock();
            number = state.next;
            state.next += 1;
            // A dead process starts nothing.
            if !state.dead.contains(&self.instance) {
                let slot = Slot {
                    instance: self.instance,
                    task: Some(task),
                    ended: Arc::clone(&ended),
                };
                state.tasks.insert(number, slot);
                state.ready.insert(number);
            }
        }
        let (of, told) = (Weak::clone(&self.state), Arc::clone(&ended));
        let abort = move || {
            let Some(state) = of.upgrade() else { return };
            let slot = state.lock().tasks.remove(&number);
            if slot.is_some() {
                end(&told, Err(Error::cancelled()));
            }
        };
        TaskHandle::new(Box::pin(Joining(ended)), Box::new(abort))
    }

    fn blocking(&self, call: Box<dyn FnOnce() + Send>) -> TaskHandle {
        self.spawn(Work::Cpu, Box::pin(async move { call() }))
    }
}

struct Joining(Ended);

impl Future for Joining {
    type Output = Result<()>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Result<()>> {
        let mut ended = self.0.lock();
        match ended.0.take() {
            Some(result) => Poll::Ready(result),
            None => {
                ended.1 = Some(context.waker().clone());
                Poll::Pending
            }
        }
    }
}

struct SimClock(Weak<Mutex<State>>);

impl fmt::Debug for SimClock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SimClock")
    }
}

impl Clock for SimClock {
    fn now_micros(&self) -> i64 {
        EPOCH_MICROS + i64::try_from(self.monotonic().as_micros()).unwrap()
    }

    fn monotonic(&self) -> Duration {
        let state = self.0.upgrade();
        state.map_or(Duration::ZERO, |state| state.lock().now)
    }

    fn sleep(&self, time: Duration) -> BoxFuture<()> {
        Box::pin(Sleep {
            until: self.monotonic() + time,
            state: Weak::clone(&self.0),
            timer: None,
        })
    }
}

struct Sleep {
    until: Duration,
    state: Weak<Mutex<State>>,
    timer: Option<u64>,
}

impl Future for Sleep {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        let Some(shared) = self.state.upgrade() else {
            return Poll::Pending;
        };
        let mut state = shared.lock();
        if state.now >= self.until {
            return Poll::Ready(());
        }
        let timer = match self.timer {
            Some(timer) => timer,
            None => {
                state.next += 1;
                state.next
            }
        };
        let until = self.until;
        let old = state.timers.insert((until, timer), context.waker().clone());
        drop(state);
        drop(old);
        self.timer = Some(timer);
        Poll::Pending
    }
}

impl Drop for Sleep {
    fn drop(&mut self) {
        if let (Some(timer), Some(state)) = (self.timer, self.state.upgrade()) {
            let waker = state.lock().timers.remove(&(self.until, timer));
            drop(waker);
        }
    }
}
