//! Decides what a message on one of several channels means for the receiver: pure, no I/O.
//!
//! The merged watermark is the least over the channels that are neither idle nor ended. The channels
//! of one input are idle together or not at all: its subtasks send the same watermarks, and the
//! rows of one that has just woken up must not be overtaken by the watermark of another. A barrier
//! counts once it has come on every channel that has not ended.

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
        }
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
        if let Some(state) = self.channels.get_mut(channel) {
            *state = value;
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
        let mut awake = vec![false; self.inputs.iter().max().map_or(0, |input| input + 1)];
        for (channel, input) in self.channels.iter().zip(&self.inputs) {
            if let (Channel::Active(_), Some(awake)) = (channel, awake.get_mut(*input)) {
                *awake = true;
            }
        }
        let of_input = self.channels.iter().zip(&self.inputs);
        let active = of_input.filter_map(|(channel, input)| match channel {
            Channel::Active(watermark) => Some(*watermark),
            Channel::Idle(watermark) => {
                let awake = awake.get(*input) == Some(&true);
                awake.then_some(*watermark)
            }
            Channel::Ended => None,
        });
        // When all are idle, what each had reached still holds.
        let idle = self.channels.iter().filter_map(|channel| match channel {
            Channel::Idle(watermark) => Some(*watermark),
            _ => None,
        });
        let merged = active.min().or_else(|| idle.max()).unwrap_or(self.merged);
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
