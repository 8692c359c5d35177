//! The sending side of one edge: which rows go to which receiver.

use std::sync::Arc;

use arrow::array::UInt32Array;
use arrow::compute::take_record_batch;
use arrow::record_batch::RecordBatch;
use datafusion_physical_expr::PhysicalExpr;

use super::Sender;
use crate::error::{Error, Result};
use crate::graph::Partitioning;
use crate::key_group::{hash_keys, subtask_of};
use crate::message::Message;

/// One edge as seen by one sending subtask.
#[derive(Debug)]
pub struct Outlet {
    senders: Vec<Sender>,
    how: How,
    hashes: Vec<u64>,
}

#[derive(Debug)]
enum How {
    One(usize),
    Hash(Vec<Arc<dyn PhysicalExpr>>),
    Broadcast,
    Turn(usize),
}

impl Outlet {
    /// Makes the outlet of subtask `subtask` over the senders to all receivers.
    pub fn new(partitioning: &Partitioning, senders: Vec<Sender>, subtask: usize) -> Self {
        let how = match partitioning {
            _ if senders.len() == 1 => How::One(0),
            // A forward edge has one sender per receiver, which the first arm has taken.
            Partitioning::Forward => How::One(0),
            Partitioning::Hash(keys) if keys.is_empty() => How::One(0),
            Partitioning::Hash(keys) => How::Hash(keys.clone()),
            Partitioning::Broadcast => How::Broadcast,
            Partitioning::Rebalance => How::Turn(subtask % senders.len().max(1)),
        };
        Self {
            senders,
            how,
            hashes: Vec::new(),
        }
    }

    /// Sends rows to the receivers that they belong to.
    pub async fn send(&mut self, batch: RecordBatch) -> Result<()> {
        match &mut self.how {
            How::One(to) => put(&self.senders, *to, batch).await,
            How::Turn(next) => {
                let to = *next;
                *next = (to + 1) % self.senders.len();
                put(&self.senders, to, batch).await
            }
            How::Broadcast => {
                for to in 0..self.senders.len() {
                    put(&self.senders, to, batch.clone()).await?;
                }
                Ok(())
            }
            How::Hash(keys) => {
                let parts = split(&batch, keys, self.senders.len(), &mut self.hashes)?;
                for (to, part) in parts
                    .into_iter()
                    .enumerate()
                    .filter(|(_, p)| p.num_rows() > 0)
                {
                    put(&self.senders, to, part).await?;
                }
                Ok(())
            }
        }
    }

    /// Sends a control message to all receivers that this subtask reaches.
    pub async fn control(&self, message: &Message) -> Result<()> {
        for sender in &self.senders {
            sender.send(message.clone()).await?;
        }
        Ok(())
    }
}

async fn put(senders: &[Sender], to: usize, batch: RecordBatch) -> Result<()> {
    let sender = senders
        .get(to)
        .ok_or_else(|| Error::internal("a receiver is missing"))?;
    sender.send(Message::Batch(batch)).await
}

fn split(
    batch: &RecordBatch,
    keys: &[Arc<dyn PhysicalExpr>],
    subtasks: usize,
    hashes: &mut Vec<u64>,
) -> Result<Vec<RecordBatch>> {
    let rows = batch.num_rows();
    let arrays = keys
        .iter()
        .map(|key| Ok(key.evaluate(batch)?.into_array(rows)?))
        .collect::<Result<Vec<_>>>()?;
    hash_keys(&arrays, rows, hashes)?;
    let mut indices: Vec<Vec<u32>> = vec![Vec::with_capacity(2 * rows / subtasks); subtasks];
    for (row, hash) in hashes.iter().enumerate() {
        if let (Some(part), Ok(row)) = (
            indices.get_mut(subtask_of(*hash, subtasks)),
            u32::try_from(row),
        ) {
            part.push(row);
        }
    }
    indices
        .into_iter()
        .map(|part| Ok(take_record_batch(batch, &UInt32Array::from(part))?))
        .collect()
}
