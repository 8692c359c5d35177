//! Takes records from librdkafka many at once.
//!
//! rdkafka gives the records of a partition one by one, and each costs an event, an allocation and
//! several looks at the clock, together more than it takes to decode it. librdkafka itself has a
//! call that gives many (`rd_kafka_consume_batch_queue`), which rdkafka does not offer.
//!
//! This is the only crate with `unsafe` code. Its promise: a [`BatchQueue`] and what it gives can
//! be used in any way that compiles.

mod headers;
mod queue;
mod record;

pub use headers::Headers;
pub use queue::BatchQueue;
pub use record::{Record, Timestamp};
