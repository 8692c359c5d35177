//! An inbox: one bounded queue per sender, read in turn by one task.
//!
//! A queue takes a message when it is empty or has room in bytes, in messages and in the memory
//! pool: so a huge batch passes, and nobody waits for memory that only the receiver can free.

use std::collections::VecDeque;
use std::sync::Arc;

use arrow::array::Array;
use arrow::record_batch::RecordBatch;
use datafusion_execution::memory_pool::{MemoryConsumer, MemoryPool, MemoryReservation};
use parking_lot::Mutex;
use tokio::sync::Notify;

use crate::error::{Error, Result};
use crate::limits;
use crate::message::Message;

#[derive(Debug)]
struct Queue {
    messages: VecDeque<(Message, usize)>,
    bytes: usize,
    blocked: bool,
}

#[derive(Debug)]
struct State {
    queues: Vec<Queue>,
    next: usize,
    closed: bool,
    memory: MemoryReservation,
}

#[derive(Debug)]
struct Shared {
    state: Mutex<State>,
    readable: Notify,
    writable: Vec<Notify>,
}

/// The sending end of one queue of an inbox.
#[derive(Debug)]
pub struct Sender {
    shared: Arc<Shared>,
    channel: usize,
}

/// The receiving end of all queues.
#[derive(Debug)]
pub struct Inbox {
    shared: Arc<Shared>,
}

/// Makes an inbox with so many queues.
pub fn inbox(channels: usize, name: &str, pool: &Arc<dyn MemoryPool>) -> (Vec<Sender>, Inbox) {
    let queue = || Queue {
        messages: VecDeque::new(),
        bytes: 0,
        blocked: false,
    };
    let state = State {
        queues: (0..channels).map(|_| queue()).collect(),
        next: 0,
        closed: false,
        memory: MemoryConsumer::new(format!("exchange into {name}")).register(pool),
    };
    let shared = Arc::new(Shared {
        state: Mutex::new(state),
        readable: Notify::new(),
        writable: (0..channels).map(|_| Notify::new()).collect(),
    });
    let sender = |channel| Sender {
        shared: Arc::clone(&shared),
        channel,
    };
    ((0..channels).map(sender).collect(), Inbox { shared })
}

impl Sender {
    /// Sends a message; waits for room.
    pub async fn send(&self, message: Message) -> Result<()> {
        let bytes = message_bytes(&message);
        let mut message = Some(message);
        loop {
            if self.try_put(&mut message, bytes)? {
                self.shared.readable.notify_one();
                return Ok(());
            }
            // Room that came since leaves a permit, so this wait can't miss it.
            if let Some(room) = self.shared.writable.get(self.channel) {
                room.notified().await;
            }
        }
    }

    fn try_put(&self, message: &mut Option<Message>, bytes: usize) -> Result<bool> {
        let mut state = self.shared.state.lock();
        let state = &mut *state;
        if state.closed {
            return Err(Error::cancelled());
        }
        let Some(queue) = state.queues.get_mut(self.channel) else {
            return Err(Error::internal("a channel is not in its inbox"));
        };
        if queue.messages.is_empty() {
            state.memory.grow(bytes);
        } else {
            let full = queue.bytes + bytes > limits::CHANNEL_BYTES_MAX
                || queue.messages.len() >= limits::CHANNEL_MESSAGES_MAX;
            if full || state.memory.try_grow(bytes).is_err() {
                return Ok(false);
            }
        }
        if let Some(message) = message.take() {
            queue.bytes += bytes;
            queue.messages.push_back((message, bytes));
        }
        Ok(true)
    }
}

impl Inbox {
    /// How many queues there are.
    pub fn channels(&self) -> usize {
        self.shared.writable.len()
    }

    /// Gives the next message of any queue that is not blocked, with the queue's number.
    pub async fn recv(&mut self) -> (usize, Message) {
        loop {
            if let Some(found) = self.try_recv() {
                return found;
            }
            // A message that came since leaves a permit, so this wait can't miss it.
            self.shared.readable.notified().await;
        }
    }

    /// Gives the next message if there is one.
    pub fn try_recv(&mut self) -> Option<(usize, Message)> {
        self.take(|_, _| true)
    }

    /// Gives what waits in one of these queues with nothing before it, if it is rows or a watermark.
    pub fn try_recv_flow(&mut self, channels: impl Fn(usize) -> bool) -> Option<(usize, Message)> {
        self.take(|channel, message| {
            channels(channel) && matches!(message, Message::Batch(_) | Message::Watermark(_))
        })
    }

    /// Takes the first message of a queue, if it is wanted; the queues have their turns.
    fn take(&mut self, wanted: impl Fn(usize, &Message) -> bool) -> Option<(usize, Message)> {
        let mut state = self.shared.state.lock();
        let state = &mut *state;
        let count = state.queues.len();
        for step in 0..count {
            let channel = (state.next + step) % count;
            let Some(queue) = state.queues.get_mut(channel).filter(|queue| !queue.blocked) else {
                continue;
            };
            let first = queue.messages.front();
            if !first.is_some_and(|(message, _)| wanted(channel, message)) {
                continue;
            }
            if let Some((message, bytes)) = queue.messages.pop_front() {
                queue.bytes -= bytes;
                state.memory.shrink(bytes);
                state.next = (channel + 1) % count;
                if let Some(writable) = self.shared.writable.get(channel) {
                    writable.notify_one();
                }
                return Some((channel, message));
            }
        }
        None
    }

    /// Stops reading one queue: its barrier has come before those of others.
    pub fn block(&mut self, channel: usize) {
        if let Some(queue) = self.shared.state.lock().queues.get_mut(channel) {
            queue.blocked = true;
        }
    }

    /// Reads all queues again.
    pub fn unblock(&mut self) {
        for queue in &mut self.shared.state.lock().queues {
            queue.blocked = false;
        }
    }
}

impl Drop for Inbox {
    fn drop(&mut self) {
        self.shared.state.lock().closed = true;
        for writable in &self.shared.writable {
            writable.notify_one();
        }
    }
}

fn message_bytes(message: &Message) -> usize {
    match message {
        Message::Batch(batch) => batch_bytes(batch),
        _ => 0,
    }
}

/// The bytes that a batch's own rows take: slices of a shared buffer count only their part.
pub(crate) fn batch_bytes(batch: &RecordBatch) -> usize {
    let part = |array: &Arc<dyn Array>| {
        let data = array.to_data();
        data.get_slice_memory_size()
            .unwrap_or_else(|_| array.get_array_memory_size())
    };
    batch.columns().iter().map(part).sum()
}
