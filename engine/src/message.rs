//! What flows along an edge: batches of rows, and control messages in band and in order.

use std::fmt;

use arrow::record_batch::RecordBatch;
use serde::{Deserialize, Serialize};

/// A point in event time, in microseconds since 1970-01-01T00:00:00Z.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct EventTime(pub i64);

impl EventTime {
    /// Before all rows: nothing is known yet.
    pub const MIN: Self = Self(i64::MIN);
    /// After all rows: what [`Message::End`] means.
    pub const MAX: Self = Self(i64::MAX);
}

impl fmt::Display for EventTime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::MIN => f.write_str("-"),
            Self::MAX => f.write_str("end"),
            Self(micros) => match arrow::temporal_conversions::timestamp_us_to_datetime(micros) {
                Some(time) => write!(f, "{}", time.format("%Y-%m-%dT%H:%M:%S%.3fZ")),
                None => write!(f, "{micros}us"),
            },
        }
    }
}

/// The number of a checkpoint of one job, counted from 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Epoch(pub u64);

/// One message on an edge. Order is kept per sender and receiver.
#[derive(Debug, Clone)]
pub enum Message {
    /// Rows.
    Batch(RecordBatch),
    /// No row with an earlier event time follows on this edge.
    Watermark(EventTime),
    /// The sender has nothing for now: it does not hold back the receiver's watermark until it
    /// sends a batch or a watermark again.
    Idle,
    /// The rows before it belong to this epoch or an earlier one.
    Barrier(Epoch),
    /// Nothing follows. Acts as a watermark of [`EventTime::MAX`].
    End,
}
