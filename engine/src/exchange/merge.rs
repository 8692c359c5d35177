//! Decides what a message on one of several channels means for the receiver: pure, no I/O.
//!
//! The watermark of an input is the least over its channels that have not ended, also over idle ones:
//! its subtasks send the same watermarks while they are idle, and the rows of one that has just woken
//! up must not be overtaken by the watermark of another. An input is idle when all its channels are;
//! the merged watermark is the least over the inputs that are not. A barrier counts once it has come
//! on every channel that has not ended.

use crate::message::{Epoch, EventTime, Message};

/// What the receiver has to do.
#[derive(Debug)]
pub enum Event {
    /// Process rows.
    Batch(arrow::record_batch::RecordBatch),
    /// The merged watermark has advanced.
    Watermark(EventTime),
    /// All channels are idle.
    Idle,
    /// Do not read this channel until the barrier is complete.
    Block(usize),
    /// The barrier has come on all channels: snapshot, forward, read all channels again.
    Barrier(Epoch),
    /// All channels have ended.
    End,
    /// Nothing.
    Nothing,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Channel {
    Active(EventTime),
    Idle(EventTime),
    Ended,
}

/// The state of the channels of one receiver.
#[derive(Debug)]
pub struct Merge {
    channels: Vec<Channel>,
    /// The input of each channel.
    inputs: Vec<usize>,
    merged: EventTime,
    waiting: Option<Epoch>,
    arrived: Vec<bool>,
    /// An input whose watermarks say nothing.
    timeless: Option<usize>,
}

impl Merge {
    /// Starts with all channels active and nothing known; they are of one input.
    pub fn new(channels: usize) -> Self {
        Self::of(&vec![0; channels])
    }

    /// The same for channels of these inputs.
    pub fn of(inputs: &[usize]) -> Self {
        Self {
            channels: vec![Channel::Active(EventTime::MIN); inputs.len()],
            inputs: inputs.to_vec(),
            merged: EventTime::MIN,
            waiting: None,
            arrived: vec![false; inputs.len()],
            timeless: None,
        }
    }

    /// The same without the watermarks of an input: it counts as idle.
    pub fn without_time(mut self, input: Option<usize>) -> Self {
        self.timeless = input;
        for channel in 0..self.channels.len() {
            self.set(channel, Channel::Active(EventTime::MIN));
        }
        self
    }

    /// Takes a message of a channel.
    pub fn take(&mut self, channel: usize, message: Message) -> Event {
        match message {
            Message::Batch(batch) => {
                if let Some(Channel::Idle(watermark)) = self.channels.get(channel).copied() {
                    self.set(channel, Channel::Active(watermark));
                }
                Event::Batch(batch)
            }
            Message::Watermark(watermark) => {
                let before = match self.channels.get(channel) {
                    Some(Channel::Active(w) | Channel::Idle(w)) => *w,
                    _ => EventTime::MIN,
                };
                self.set(channel, Channel::Active(watermark.max(before)));
                self.advance()
            }
            Message::Idle => {
                if let Some(Channel::Active(watermark)) = self.channels.get(channel).copied() {
                    self.set(channel, Channel::Idle(watermark));
                }
                match self.advance() {
                    Event::Nothing if self.is_idle() => Event::Idle,
                    event => event,
                }
            }
            Message::Barrier(epoch) => self.barrier(channel, epoch),
            Message::End => self.end(channel),
        }
    }

    fn set(&mut self, channel: usize, value: Channel) {
        let is_timeless =
            self.timeless.is_some() && self.inputs.get(channel).copied() == self.timeless;
        if let Some(state) = self.channels.get_mut(channel) {
            *state = match value {
                Channel::Active(_) if is_timeless => Channel::Idle(EventTime::MIN),
                other => other,
            };
        }
    }

    /// Whether no channel is active.
    pub fn is_idle(&self) -> bool {
        self.channels
            .iter()
            .all(|c| !matches!(c, Channel::Active(_)))
    }

    /// Gives the merged watermark if it is higher than before.
    fn advance(&mut self) -> Event {
        let inputs = self.inputs.iter().max().map_or(0, |input| input + 1);
        let mut reached: Vec<(Option<EventTime>, bool)> = vec![(None, false); inputs];
        for (channel, input) in self.channels.iter().zip(&self.inputs) {
            let (watermark, is_active) = match channel {
                Channel::Active(watermark) => (*watermark, true),
                Channel::Idle(watermark) => (*watermark, false),
                Channel::Ended => continue,
            };
            if let Some((least, is_awake)) = reached.get_mut(*input) {
                *least = Some(least.map_or(watermark, |least| least.min(watermark)));
                *is_awake |= is_active;
            }
        }
        let of = |awake: bool| {
            let some = reached
                .iter()
                .filter(move |(_, is_awake)| *is_awake == awake);
            some.filter_map(|(least, _)| *least)
        };
        // When all are idle, what each had reached still holds.
        let merged = of(true).min().or_else(|| of(false).max());
        let merged = merged.unwrap_or(self.merged);
        if merged > self.merged {
            self.merged = merged;
            return Event::Watermark(merged);
        }
        Event::Nothing
    }

    fn barrier(&mut self, channel: usize, epoch: Epoch) -> Event {
        self.waiting = Some(epoch);
        if let Some(arrived) = self.arrived.get_mut(channel) {
            *arrived = true;
        }
        self.complete_barrier()
            .map_or(Event::Block(channel), Event::Barrier)
    }

    fn complete_barrier(&mut self) -> Option<Epoch> {
        let epoch = self.waiting?;
        let complete = self
            .channels
            .iter()
            .zip(&self.arrived)
            .all(|(channel, arrived)| *arrived || *channel == Channel::Ended);
        complete.then(|| {
            self.waiting = None;
            self.arrived.fill(false);
            epoch
        })
    }

    fn end(&mut self, channel: usize) -> Event {
        self.set(channel, Channel::Ended);
        if self.channels.iter().all(|c| *c == Channel::Ended) {
            return Event::End;
        }
        match self.complete_barrier() {
            // The watermark that the end frees comes with the next message of the others.
            Some(epoch) => Event::Barrier(epoch),
            None => self.advance(),
        }
    }
}
