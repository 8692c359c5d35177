//! Debezium's envelopes: `{"before":...,"after":...,"op":"c"}`, as other programs that write them
//! without a database do.
//!
//! A retraction and its new row become one `u` when they stand side by side with the same key;
//! otherwise the one is a `d` and the other a `c`, which says the same.

use arrow::array::RecordBatch;
use weir_engine::{Result, changelog};

use super::text::JsonValues;
use super::{Values, is_replaced, keys, split};
use crate::format::{Encoder, Message};

/// Makes envelopes of rows.
#[derive(Debug)]
pub(super) struct DebeziumEncoder {
    /// The columns of the key.
    pub(super) key: Option<Vec<usize>>,
}

impl Encoder for DebeziumEncoder {
    fn encode(&mut self, batch: &RecordBatch) -> Result<Vec<Message>> {
        let (rows, kinds) = split(batch)?;
        let keys = keys(&rows, self.key.as_deref())?;
        let rows = JsonValues.encode(&rows)?;
        let adds = changelog::adds(kinds.as_ref(), rows.len())?;
        let mut messages = Vec::with_capacity(rows.len());
        let mut before: Option<&[u8]> = None;
        for (at, (row, adds)) in rows.iter().zip(adds).enumerate() {
            if let Some(kinds) = &kinds
                && is_replaced(kinds, &keys, at)
            {
                before = Some(row);
                continue;
            }
            let value = match (adds, before.take()) {
                (false, _) => envelope(Some(row), None, "d"),
                (true, Some(before)) => envelope(Some(before), Some(row), "u"),
                (true, None) => envelope(None, Some(row), "c"),
            };
            messages.push(Message {
                key: keys.get(at).cloned().flatten(),
                value: Some(value),
            });
        }
        Ok(messages)
    }
}

fn envelope(before: Option<&[u8]>, after: Option<&[u8]>, op: &str) -> Vec<u8> {
    let null: &[u8] = b"null";
    let parts = [
        b"{\"before\":",
        before.unwrap_or(null),
        b",\"after\":",
        after.unwrap_or(null),
        b",\"op\":\"",
        op.as_bytes(),
        b"\"}",
    ];
    parts.concat()
}
