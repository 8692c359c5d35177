//! Every bound of the engine, with its unit and its reason. Nothing in Weir grows without one.

use std::time::Duration;

/// Rows of a batch: large enough to hide the cost per batch, small enough to stay in L2.
pub const BATCH_ROWS: usize = 8_192;
/// Rows of a batch that a test or a user may set at most.
pub const BATCH_ROWS_MAX: usize = 1_048_576;
/// Bytes of decoded text rows in one batch, so that wide rows do not make huge batches.
pub const BATCH_BYTES_MAX: usize = 16 << 20;
/// Rows of waiting batches that are put together for an operator whose results change, so that a
/// group that many of them have rows of gives one change and not one for each.
pub const GATHERED_ROWS_MAX: usize = 32_768;
/// Bytes from which no more are put together: they are copied, and the queues fill up meanwhile.
pub const GATHERED_BYTES_MAX: usize = 4 << 20;
/// Bytes queued per (sender, receiver) channel: backpressure starts here. One message is always
/// admitted, however large.
pub const CHANNEL_BYTES_MAX: usize = 4 << 20;
/// Messages queued per channel: bounds control messages and tiny batches.
pub const CHANNEL_MESSAGES_MAX: usize = 64;
/// Subtasks of a node.
pub const PARALLELISM_MAX: u32 = 256;
/// Memory of a job when nothing is said.
pub const MEMORY_BYTES_DEFAULT: usize = 1 << 30;
/// The least memory with which a job can run.
pub const MEMORY_BYTES_MIN: usize = 16 << 20;
/// Splits that one source subtask keeps open at once, to read them in event-time order.
pub const OPEN_SPLITS_MAX: usize = 8;
/// Splits that one source subtask keeps open at once where all are read side by side: partitions.
pub const SIDE_BY_SIDE_SPLITS_MAX: usize = 4_096;
/// How long a reader of partitions waits when none has rows.
pub const PENDING_WAIT: Duration = Duration::from_millis(5);
/// Splits whose first rows are looked at in parallel at discovery.
pub const PEEK_CONCURRENCY_MAX: usize = 16;
/// Files that one source may list at once.
pub const FILES_LISTED_MAX: usize = 1_000_000;
/// How often a source that found nothing new is asked again, if the connector says nothing.
pub const DISCOVERY_INTERVAL: Duration = Duration::from_millis(500);
/// How often a sink is asked to roll by age and inactivity.
pub const SINK_TICK_INTERVAL: Duration = Duration::from_millis(200);
/// Attempts of one I/O call of the checkpoint store before the job fails, the first included; where
/// the store is in the cloud, each of them is what its client makes of [`STORE_ATTEMPTS_MAX`].
pub const IO_ATTEMPTS_MAX: usize = 10;
/// Attempts that the client of a store makes of one call: [`IO_RETRY_TIME_MAX`] ends them before,
/// unless the waits between them happen to be short.
pub const STORE_ATTEMPTS_MAX: usize = 100;
/// Longest time that the retries of one I/O call take in all.
pub const IO_RETRY_TIME_MAX: Duration = Duration::from_secs(180);
/// Panes (window slices with rows) that one subtask keeps open.
pub const PANES_MAX: usize = 1_000_000;
/// Windows that one row may belong to (size / slide).
pub const WINDOWS_PER_ROW_MAX: u64 = 100_000;
/// First rows that `ROW_NUMBER() ... <= n` keeps per partition: they are compared with each batch.
pub const RANK_ROWS_MAX: usize = 10_000;
/// Groups at which local pre-aggregation hands its partial results on.
pub const PRE_AGGREGATE_GROUPS_MAX: usize = 1 << 18;
/// Bytes of partial results of one subtask at which it hands them on: it gives them all at once, and
/// wide ones would take much of the memory that the final results need.
pub const PRE_AGGREGATE_BYTES_MAX: usize = 32 << 20;
/// Bytes of one record of a text format: a longer line is a dead letter, not memory.
pub const RECORD_BYTES_MAX: usize = 16 << 20;
/// Dead letters kept in memory before they are written out.
pub const DEAD_LETTERS_BUFFERED_MAX: usize = 4_096;
/// Raw bytes kept per dead letter; what is longer is cut.
pub const DEAD_LETTER_RAW_BYTES_MAX: usize = 1 << 20;
/// Rows that break a rule whose text is kept per epoch: enough to see what is wrong.
pub const RULE_SAMPLES_MAX: usize = 5;
/// Windows without rows between two with rows that a rule tells one by one; the rest of a longer gap is
/// one verdict.
pub const EMPTY_WINDOWS_TOLD_MAX: i64 = 1_000;
/// Rules of one table: each is a bitmap per batch, and a line of the summary.
pub const RULES_MAX: usize = 1_000;
/// Rows of one quarantine table kept in memory before they are written out.
pub const QUARANTINED_BUFFERED_MAX: usize = 8_192;
/// Longest script.
pub const SCRIPT_BYTES_MAX: usize = 1 << 20;
/// How long a job may take to drain after it is asked to stop.
pub const DRAIN_TIME_MAX: Duration = Duration::from_secs(60);
/// Keys of one call of a lookup when nothing is said: what a peer takes in one request without
/// trouble.
pub const LOOKUP_KEYS: usize = 1_024;
/// Keys of one call of a lookup at most: the keys of a larger batch of rows would be in one call.
pub const LOOKUP_KEYS_MAX: usize = 65_536;
/// Batches of one subtask's lookup whose answers are waited for: enough that the peer is never
/// without a question; more would only wait there.
pub const LOOKUP_BATCHES_MAX: usize = 4;
/// Bytes of rows that the cache of one subtask's lookup keeps: the job's memory is for state.
pub const LOOKUP_CACHE_BYTES_MAX: usize = 64 << 20;
/// Calls of one subtask's lookup at once: enough to hide the way to the peer.
pub const LOOKUP_CALLS_MAX: usize = 4;
/// How often a checkpoint is taken when nothing is said.
pub const CHECKPOINT_INTERVAL: Duration = Duration::from_secs(5);
/// Checkpoints that are kept when nothing is said.
pub const CHECKPOINTS_RETAINED: usize = 3;
/// State files that one job writes at once, and that it checks at once when it starts.
pub const STATE_WRITES_MAX: usize = 8;
/// Bytes of one batch in a state file: who writes or reads state holds one of them. Small enough
/// for that, large enough to compress well.
pub const STATE_BATCH_BYTES_MAX: usize = 1 << 20;
/// Reports of tasks to the coordinator of checkpoints that may wait.
pub const REPORTS_MAX: usize = 256;
/// Longest time between two checkpoints.
pub const CHECKPOINT_INTERVAL_MAX: Duration = Duration::from_secs(24 * 3600);
/// Outbox files of one subtask in one epoch.
pub const OUTBOXES_MAX: u32 = 1 << 20;
