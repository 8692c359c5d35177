//! What each subtask of each node counts. Atomics only: reading never stops a task.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use parking_lot::Mutex;

use crate::message::EventTime;

/// Counters of one subtask of one node.
#[derive(Debug)]
pub struct SubtaskMetrics {
    /// Rows taken in (for a source: decoded).
    pub rows_in: AtomicU64,
    /// Rows given out (for a sink: written).
    pub rows_out: AtomicU64,
    /// Bytes read by a source or made visible by a sink.
    pub bytes: AtomicU64,
    /// Rows that came after their window was closed.
    pub late: AtomicU64,
    /// Those of them that came by the second input, in an operator with two.
    pub late_second: AtomicU64,
    /// Rows that came back from quarantine, which are among those taken in.
    pub returned: AtomicU64,
    /// Rows that a source's own columns dropped as dead letters after decoding.
    pub rejected: AtomicU64,
    /// Rows that rules have kept back.
    pub kept_back: AtomicU64,
    /// Nanoseconds of computing.
    pub busy_ns: AtomicU64,
    /// Nanoseconds of waiting for room downstream: backpressure.
    pub blocked_ns: AtomicU64,
    /// Bytes of state kept.
    pub state_bytes: AtomicU64,
    /// Keys that a table was asked for.
    pub asked: AtomicU64,
    /// Keys whose rows a cache had.
    pub cached: AtomicU64,
    watermark: AtomicI64,
}

impl Default for SubtaskMetrics {
    fn default() -> Self {
        Self {
            rows_in: AtomicU64::new(0),
            rows_out: AtomicU64::new(0),
            bytes: AtomicU64::new(0),
            late: AtomicU64::new(0),
            late_second: AtomicU64::new(0),
            returned: AtomicU64::new(0),
            rejected: AtomicU64::new(0),
            kept_back: AtomicU64::new(0),
            busy_ns: AtomicU64::new(0),
            blocked_ns: AtomicU64::new(0),
            state_bytes: AtomicU64::new(0),
            asked: AtomicU64::new(0),
            cached: AtomicU64::new(0),
            watermark: AtomicI64::new(i64::MIN),
        }
    }
}

impl SubtaskMetrics {
    /// Counts rows taken in.
    pub fn add_in(&self, rows: usize) {
        self.rows_in.fetch_add(rows as u64, Relaxed);
    }

    /// Counts rows given out.
    pub fn add_out(&self, rows: usize) {
        self.rows_out.fetch_add(rows as u64, Relaxed);
    }

    /// Counts computing time.
    pub fn add_busy(&self, time: Duration) {
        self.busy_ns
            .fetch_add(u64::try_from(time.as_nanos()).unwrap_or(u64::MAX), Relaxed);
    }

    /// Counts time of waiting for room downstream.
    pub fn add_blocked(&self, time: Duration) {
        self.blocked_ns
            .fetch_add(u64::try_from(time.as_nanos()).unwrap_or(u64::MAX), Relaxed);
    }

    /// Notes the watermark.
    pub fn set_watermark(&self, watermark: EventTime) {
        self.watermark.store(watermark.0, Relaxed);
    }

    /// Gives the watermark.
    pub fn watermark(&self) -> EventTime {
        EventTime(self.watermark.load(Relaxed))
    }
}

/// The sums of one node at one moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NodeSnapshot {
    /// Rows taken in.
    pub rows_in: u64,
    /// Rows given out.
    pub rows_out: u64,
    /// Bytes read or made visible.
    pub bytes: u64,
    /// Rows too late for their window.
    pub late: u64,
    /// Those of them that came by the second input.
    pub late_second: u64,
    /// Rows that came back from quarantine.
    pub returned: u64,
    /// Rows that became dead letters after decoding.
    pub rejected: u64,
    /// Rows that rules have kept back.
    pub kept_back: u64,
    /// Computing time over all subtasks.
    pub busy: Duration,
    /// Waiting time over all subtasks.
    pub blocked: Duration,
    /// State kept.
    pub state_bytes: u64,
    /// Keys that a table was asked for.
    pub asked: u64,
    /// Keys whose rows a cache had.
    pub cached: u64,
    /// The least watermark of the subtasks.
    pub watermark: EventTime,
    /// Subtasks.
    pub subtasks: u32,
}

/// All counters of a job: cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct Metrics {
    nodes: Arc<Mutex<BTreeMap<Arc<str>, Subtasks>>>,
}

/// The counters of one node, by subtask.
type Subtasks = Vec<Arc<SubtaskMetrics>>;

impl Metrics {
    /// Registers one subtask of a node.
    pub fn register(&self, node: &Arc<str>) -> Arc<SubtaskMetrics> {
        let metrics = Arc::new(SubtaskMetrics::default());
        self.nodes
            .lock()
            .entry(Arc::clone(node))
            .or_default()
            .push(Arc::clone(&metrics));
        metrics
    }

    /// Counts bytes that a sink made visible for all of its subtasks.
    pub fn add_visible(&self, node: &str, bytes: u64) {
        if let Some(first) = self.nodes.lock().get(node).and_then(|all| all.first()) {
            first.bytes.fetch_add(bytes, Relaxed);
        }
    }

    /// Sums one node.
    pub fn node(&self, node: &str) -> Option<NodeSnapshot> {
        let nodes = self.nodes.lock();
        let subtasks = nodes.get(node)?;
        let sum = |get: fn(&SubtaskMetrics) -> &AtomicU64| {
            subtasks.iter().map(|m| get(m).load(Relaxed)).sum::<u64>()
        };
        Some(NodeSnapshot {
            rows_in: sum(|m| &m.rows_in),
            rows_out: sum(|m| &m.rows_out),
            bytes: sum(|m| &m.bytes),
            late: sum(|m| &m.late),
            late_second: sum(|m| &m.late_second),
            returned: sum(|m| &m.returned),
            rejected: sum(|m| &m.rejected),
            kept_back: sum(|m| &m.kept_back),
            busy: Duration::from_nanos(sum(|m| &m.busy_ns)),
            blocked: Duration::from_nanos(sum(|m| &m.blocked_ns)),
            state_bytes: sum(|m| &m.state_bytes),
            asked: sum(|m| &m.asked),
            cached: sum(|m| &m.cached),
            watermark: subtasks
                .iter()
                .map(|m| m.watermark())
                .min()
                .unwrap_or(EventTime::MIN),
            subtasks: u32::try_from(subtasks.len()).unwrap_or(u32::MAX),
        })
    }
}
