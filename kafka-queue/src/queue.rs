//! The queue of one partition.

use std::collections::VecDeque;
use std::ffi::CString;
use std::fmt;
use std::ptr::{self, NonNull};
use std::sync::Arc;

use rdkafka::bindings as native;
use rdkafka::consumer::{BaseConsumer, Consumer as _, ConsumerContext};
use rdkafka::error::KafkaError;

use crate::record::{Owned, Record};

/// Records that are taken at once at most.
const RECORDS_MAX: usize = 1_024;
/// Bytes of values that are taken at once, if they are as long as those before.
const BYTES: usize = 256 << 10;

/// The records of one partition, in order.
pub struct BatchQueue<C: ConsumerContext> {
    queue: NonNull<native::rd_kafka_queue_t>,
    /// What is taken and not given; it is empty when the next are taken.
    taken: VecDeque<Owned>,
    buffer: Vec<*mut native::rd_kafka_message_t>,
    /// The most bytes of a value among the last that were taken.
    value_bytes: usize,
    /// Queue and records belong to it: it goes last.
    _consumer: Arc<BaseConsumer<C>>,
}

// SAFETY: librdkafka's queues and messages may be used by any thread, one at a time; all that is
// done with them here asks for `&mut self`. The consumer is shared by an `Arc`.
unsafe impl<C: ConsumerContext + Send + Sync> Send for BatchQueue<C> {}

impl<C: ConsumerContext> fmt::Debug for BatchQueue<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BatchQueue")
            .field("taken", &self.taken.len())
            .finish_non_exhaustive()
    }
}

impl<C: ConsumerContext> BatchQueue<C> {
    /// The queue of a partition that `split_partition_queue` has given: the same records, which
    /// come by one of the two ways each.
    pub fn of(consumer: &Arc<BaseConsumer<C>>, topic: &str, partition: i32) -> Option<Self> {
        let topic = CString::new(topic).ok()?;
        let client = consumer.client().native_ptr();
        // SAFETY: the client lives as long as the consumer, and the topic's name ends with a zero.
        let queue =
            unsafe { native::rd_kafka_queue_get_partition(client, topic.as_ptr(), partition) };
        Some(Self {
            queue: NonNull::new(queue)?,
            taken: VecDeque::with_capacity(RECORDS_MAX),
            buffer: vec![ptr::null_mut(); RECORDS_MAX],
            value_bytes: BYTES,
            _consumer: Arc::clone(consumer),
        })
    }

    /// Gives the next record if there is one; does not wait. An error is the partition's, and
    /// stands where it happened among the records.
    pub fn poll(&mut self) -> Option<Result<Record<'_>, KafkaError>> {
        if self.taken.is_empty() {
            self.take();
        }
        self.taken.pop_front().map(Record::of)
    }

    fn take(&mut self) {
        let records = (BYTES / self.value_bytes.max(1)).clamp(1, RECORDS_MAX);
        let buffer = self.buffer.as_mut_ptr();
        // SAFETY: the queue lives until `drop`; the buffer has room for `RECORDS_MAX` pointers, and
        // `records` is no more.
        let count = unsafe {
            native::rd_kafka_consume_batch_queue(self.queue.as_ptr(), 0, buffer, records)
        };
        // Less than none says that the queue cannot be read in this way, which its type excludes.
        let count = usize::try_from(count).unwrap_or_default();
        let taken = self.buffer.iter().take(count);
        let taken = taken.filter_map(|message| NonNull::new(*message));
        // SAFETY: librdkafka gave the messages just now, each once, and to destroy them is on us.
        // Whoever has one borrows this queue, and with it the consumer.
        let taken = taken.map(|message| unsafe { Owned::new(message) });
        self.taken.extend(taken);
        let bytes = self.taken.iter().map(Owned::value_bytes);
        self.value_bytes = bytes.max().unwrap_or(self.value_bytes);
    }
}

impl<C: ConsumerContext> Drop for BatchQueue<C> {
    fn drop(&mut self) {
        self.taken.clear();
        // SAFETY: the queue was ours since `of`, and is not used after this.
        unsafe { native::rd_kafka_queue_destroy(self.queue.as_ptr()) };
    }
}
