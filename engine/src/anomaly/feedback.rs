//! What people have said of anomalies: rows of `weir.anomaly_feedback`, which anybody may add while a pipeline runs.
//!
//! An anomaly's id holds what names its model and key, and what names it among those of the key. So each operator knows
//! what is about its own models, and a model takes what is said of each of its anomalies once: that it has is part of
//! its state. How much of the table was read is nobody's state: who starts anew reads all of it again.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use arrow::array::AsArray;
use arrow::datatypes::{DataType, Field, Schema, SchemaRef, TimeUnit, TimestampMicrosecondType};
use arrow::record_batch::RecordBatch;
use parking_lot::Mutex;
use weir_anomaly::{Feedback, Verdict};

use crate::env::Clock;
use crate::error::{Error, Result};
use crate::history::History;

/// The table in the schema `weir`.
pub const FEEDBACK: &str = "anomaly_feedback";
/// How often a running pipeline looks whether something was said.
const INTERVAL: Duration = Duration::from_secs(1);

/// The columns of the table.
pub fn feedback_schema() -> SchemaRef {
    let time = DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()));
    Arc::new(Schema::new(vec![
        Field::new("id", DataType::Utf8, false),
        Field::new("model", DataType::Utf8, false),
        Field::new("feedback", DataType::Utf8, false),
        Field::new("recorded_at", time, false),
    ]))
}

/// What was said of one anomaly.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Said {
    /// Names the model and its key.
    pub(super) key: u64,
    /// Names the anomaly among those of the key.
    pub(super) mark: u64,
    pub(super) feedback: Feedback,
    /// When, in microseconds.
    pub(super) at: i64,
}

/// The table as the pipelines of a session have it.
#[derive(Debug)]
pub struct FeedbackLog {
    clock: Arc<dyn Clock>,
    inner: Mutex<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    stores: Vec<Arc<dyn History>>,
    read: BTreeSet<String>,
    said: Vec<Said>,
    due: Option<Duration>,
}

impl FeedbackLog {
    /// A table in no place yet.
    pub fn new(clock: Arc<dyn Clock>) -> Self {
        Self {
            clock,
            inner: Mutex::default(),
        }
    }

    /// Says where the table is, which is looked at anew.
    pub fn set_stores(&self, stores: Vec<Arc<dyn History>>) {
        let mut inner = self.inner.lock();
        (inner.stores, inner.due) = (stores, None);
    }

    /// What was said beyond so many that are known, as far as it has been looked for; it is about once a second.
    pub(super) fn after(&self, known: usize) -> Result<Vec<Said>> {
        let now = self.clock.monotonic();
        let mut inner = self.inner.lock();
        if inner.due.is_none_or(|due| now >= due) {
            inner.look()?;
            inner.due = Some(now + INTERVAL);
        }
        Ok(inner.said.get(known..).unwrap_or_default().to_vec())
    }
}

impl Inner {
    fn look(&mut self) -> Result<()> {
        for store in &self.stores {
            for file in store.files(FEEDBACK)? {
                if self.read.contains(&file) {
                    continue;
                }
                for batch in store.read(FEEDBACK, &file)? {
                    self.said.extend(said(&batch)?);
                }
                self.read.insert(file);
            }
        }
        Ok(())
    }
}

/// Reads rows of the table; an id that is none of ours is of no model.
fn said(batch: &RecordBatch) -> Result<Vec<Said>> {
    let column = |name: &str| batch.column_by_name(name);
    let texts = |name: &str| column(name).and_then(|column| column.as_string_opt::<i32>());
    let times = column("recorded_at");
    let times = times.and_then(|times| times.as_primitive_opt::<TimestampMicrosecondType>());
    let (Some(ids), Some(words), Some(times)) = (texts("id"), texts("feedback"), times) else {
        return Err(Error::internal("feedback on anomalies has other columns"));
    };
    let rows = (0..batch.num_rows()).filter_map(|row| {
        let (key, mark) = parts_of(ids.value(row))?;
        Some(Said {
            key,
            mark,
            feedback: Feedback::of_word(words.value(row))?,
            at: times.value(row),
        })
    });
    Ok(rows.collect())
}

/// What names a model and a key of it.
pub(super) fn key_of(model: &str, key: &[u8]) -> u64 {
    // FNV-1a: ids outlive the program, and few bytes are hashed.
    let bytes = model.as_bytes().iter().chain(&[0]).chain(key);
    let hash = bytes.fold(0xCBF2_9CE4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01B3)
    });
    hash ^ (hash >> 29)
}

/// The id of an anomaly.
pub(super) fn id_of(key: u64, verdict: &Verdict) -> String {
    format!("{key:016x}{:016x}", verdict.mark)
}

fn parts_of(id: &str) -> Option<(u64, u64)> {
    let (key, mark) = id
        .split_at_checked(16)
        .filter(|(_, mark)| mark.len() == 16)?;
    let number = |digits| u64::from_str_radix(digits, 16).ok();
    Some((number(key)?, number(mark)?))
}
