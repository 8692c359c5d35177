//! What a micro-benchmark is: input that is made once, and work over it that repeats.

use std::hint::black_box;

/// The result of everything here that can fail.
pub(crate) type Result<T> = std::result::Result<T, Box<dyn std::error::Error + Send + Sync>>;

/// One run of the work: gives a number that says whether it is right.
pub(crate) type Work = Box<dyn FnOnce() -> Result<usize>>;

/// A micro-benchmark: one thread, no chance, no clock.
#[derive(Debug)]
pub(crate) struct Micro {
    /// Its name, which the figures are kept under.
    pub(crate) name: &'static str,
    /// Makes the input; not measured.
    pub(crate) prepare: fn() -> Result<Prepared>,
}

/// Input that is made.
pub(crate) struct Prepared {
    /// Rows, or messages where the name says so, that one run takes.
    pub(crate) rows: usize,
    /// What each run must give, found in another way.
    gives: usize,
    start: Box<dyn Fn() -> Result<Work>>,
}

impl Prepared {
    /// `start` makes what a run uses up, unmeasured: operators, writers.
    pub(crate) fn new(
        rows: usize,
        gives: usize,
        start: impl Fn() -> Result<Work> + 'static,
    ) -> Self {
        let start = Box::new(start);
        Self { rows, gives, start }
    }

    /// Makes a run.
    pub(crate) fn start(&self) -> Result<Work> {
        (self.start)()
    }

    /// Refuses a wrong result: what is wrong has no figure.
    pub(crate) fn check(&self, given: usize) -> Result<()> {
        if given == self.gives {
            return Ok(());
        }
        Err(format!("the work gives {given}, {} is right", self.gives).into())
    }
}

/// The one function whose instructions count: callgrind knows it by its name.
#[inline(never)]
pub(crate) fn measured(work: Work) -> Result<usize> {
    black_box(work())
}
