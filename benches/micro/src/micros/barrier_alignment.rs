//! A receiver of eight channels: watermarks merged and barriers aligned; a row is a message.

use arrow::record_batch::RecordBatch;
use weir_engine::exchange::{Event, Inbox, Merge, Sender, inbox};
use weir_engine::message::{Epoch, EventTime, Message};

use crate::input;
use crate::subtask::{memory, wait};
use crate::work::{Micro, Prepared, Result};

const CHANNELS: usize = 8;
const EPOCHS: usize = 256;
/// Of each channel and epoch: so many batches, each with a watermark behind it, then the barrier.
const BATCHES: usize = 4;
const MESSAGES_PER_EPOCH: usize = CHANNELS * (2 * BATCHES + 1);

pub(super) const MESSAGES: Micro = Micro {
    name: "barrier_alignment",
    prepare,
};

fn prepare() -> Result<Prepared> {
    let batches = input::measurements(1, 1)?;
    let (batch, _) = batches.into_iter().next().ok_or("no batch")?;
    let messages = EPOCHS * MESSAGES_PER_EPOCH;
    // All batches, one watermark per round of batches and one barrier per epoch.
    let events = EPOCHS * (CHANNELS * BATCHES + BATCHES + 1);
    Ok(Prepared::new(messages, events, move || {
        let (senders, mut inbox) = inbox(CHANNELS, "micro", &memory());
        let batch = batch.clone();
        Ok(Box::new(move || {
            let mut merge = Merge::new(CHANNELS);
            let mut events = 0;
            for epoch in 0..EPOCHS {
                send(&senders, &batch, epoch)?;
                events += receive(&mut inbox, &mut merge);
            }
            Ok(events)
        }))
    }))
}

/// Fills the channels for an epoch.
fn send(senders: &[Sender], batch: &RecordBatch, epoch: usize) -> Result<()> {
    for sender in senders {
        for round in 0..BATCHES {
            let time = i64::try_from(epoch * BATCHES + round)?;
            wait(sender.send(Message::Batch(batch.clone())))??;
            wait(sender.send(Message::Watermark(EventTime(time))))??;
        }
        wait(sender.send(Message::Barrier(Epoch(epoch as u64))))??;
    }
    Ok(())
}

/// Empties them; gives how many batches, watermarks and barriers the receiver has to act on.
fn receive(inbox: &mut Inbox, merge: &mut Merge) -> usize {
    let mut events = 0;
    while let Some((channel, message)) = inbox.try_recv() {
        match merge.take(channel, message) {
            Event::Batch(_) | Event::Watermark(_) => events += 1,
            Event::Block(channel) => inbox.block(channel),
            Event::Barrier(_) => {
                inbox.unblock();
                events += 1;
            }
            Event::Idle | Event::End | Event::Nothing => {}
        }
    }
    events
}
