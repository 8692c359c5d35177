//! One pass of a stream through a pipeline.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use super::arrivals::{Arrivals, Query};
use super::events::Events;
use super::reader::{self, Progress};
use super::sender::Sender;
use crate::clock::{now_us, pause};
use crate::failure::{Failure, Result};
use crate::programs::{Job, Program};
use crate::servers::kafka::Kafka;

/// How long another row is waited for.
const PATIENCE_US: u64 = 20_000_000;
/// How long it is listened for rows that come twice.
const GRACE: Duration = Duration::from_millis(300);
/// How often it is looked whether all rows have come.
const LOOK: Duration = Duration::from_millis(20);
/// From the first row of the pipeline to the first event.
const BREATH_US: u64 = 300_000;

/// A stream and the pipeline that it goes through.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Pass<'a> {
    /// The broker of the topics.
    pub(crate) broker: &'a Kafka,
    /// Partitions of the topics.
    pub(crate) partitions: u32,
    /// The pipeline; its variables `IN` and `OUT` are set to the topics.
    pub(crate) job: &'a Job,
    /// What it computes.
    pub(crate) query: Query,
    /// Events per second.
    pub(crate) rate: u64,
    /// Events in all.
    pub(crate) count: u64,
    /// The first events, whose latency does not count.
    pub(crate) warmup: u64,
}

/// What a pass has shown.
#[derive(Debug)]
pub(crate) struct Passed {
    /// The events.
    pub(crate) events: Events,
    /// The rows.
    pub(crate) arrivals: Arrivals,
    /// Processor time of the program, from the first event to the last row.
    pub(crate) cpu: Option<Duration>,
    /// The most memory that it had resident.
    pub(crate) peak_bytes: Option<u64>,
}

impl Pass<'_> {
    /// Starts the pipeline, sends the events, and reads the rows until all have come.
    pub(crate) fn run(&self, program: &mut dyn Program) -> Result<Passed> {
        let input = self.broker.topic("in", self.partitions)?;
        let output = self.broker.topic("out", self.partitions)?;
        let passed = self.through(program, &input, &output);
        self.broker.remove(&input)?;
        self.broker.remove(&output)?;
        passed
    }

    fn through(&self, program: &mut dyn Program, input: &str, output: &str) -> Result<Passed> {
        let mut job = self.job.clone();
        job.variables.insert("IN".to_owned(), input.to_owned());
        job.variables.insert("OUT".to_owned(), output.to_owned());
        let mut sender = Sender::new(self.broker, input, self.partitions)?;
        let lines = program.start(&job)?;
        let progress = Progress::default();
        std::thread::scope(|scope| {
            let progress = &progress;
            let reading = scope.spawn(move || {
                let end = match lines {
                    Some(lines) => reader::read_lines(lines, progress),
                    None => reader::read_topic(self.broker, output, self.partitions, progress),
                };
                progress.is_ended.store(true, Ordering::Relaxed);
                end
            });
            let sent = self.send(&mut sender, program, progress);
            progress.is_over.store(true, Ordering::Relaxed);
            let stopped = program.stop();
            let read = reading
                .join()
                .unwrap_or_else(|_| Err(Failure::new("the reader panicked")));
            // What a program says of its end explains best why rows were missing.
            stopped.and(read).and(sent)
        })
    }

    /// Sends everything and waits for what comes of it.
    fn send(
        &self,
        sender: &mut Sender,
        program: &mut dyn Program,
        progress: &Progress,
    ) -> Result<Passed> {
        sender.knock(progress)?;
        let events = Events {
            start_us: now_us() + BREATH_US,
            rate: self.rate,
            count: self.count,
        };
        let from_us = events.due_us(self.warmup);
        progress.expect(Arrivals::new(self.query, events, from_us));
        let before = program.usage();
        sender.send(&events)?;
        let sent_us = now_us();
        let is_patient = || {
            let last_us = sent_us.max(progress.last_us.load(Ordering::Relaxed));
            now_us() < last_us + PATIENCE_US
        };
        let is_set = |flag: &AtomicBool| flag.load(Ordering::Relaxed);
        while !is_set(&progress.is_complete) && !is_set(&progress.is_ended) && is_patient() {
            pause(LOOK);
        }
        let after = program.usage();
        pause(GRACE);
        let Some(arrivals) = progress.arrivals() else {
            return Err(Failure::new("the rows were not counted"));
        };
        Ok(Passed {
            events,
            arrivals,
            cpu: before
                .zip(after)
                .map(|(before, after)| after.cpu.saturating_sub(before.cpu)),
            peak_bytes: after.map(|usage| usage.peak_bytes),
        })
    }
}
