//! One record, or an error that stands among the records.

use std::fmt;
use std::marker::PhantomData;
use std::ptr::{self, NonNull};
use std::slice;

use rdkafka::bindings as native;
use rdkafka::error::KafkaError;
use rdkafka::types::RDKafkaRespErr as Code;

use crate::headers::Headers;

/// A message of librdkafka that is destroyed here.
pub(crate) struct Owned(NonNull<native::rd_kafka_message_t>);

impl Owned {
    /// Takes a message over.
    ///
    /// # Safety
    ///
    /// librdkafka has given the message, nobody else destroys it, and the client outlives it.
    pub(crate) unsafe fn new(message: NonNull<native::rd_kafka_message_t>) -> Self {
        Self(message)
    }

    fn message(&self) -> &native::rd_kafka_message_t {
        // SAFETY: the message is whole until it is destroyed, and nobody changes it.
        unsafe { self.0.as_ref() }
    }

    /// Bytes of the value, or of the text of an error.
    pub(crate) fn value_bytes(&self) -> usize {
        self.message().len
    }
}

impl Drop for Owned {
    fn drop(&mut self) {
        // SAFETY: by the promise of `new` it is ours to destroy, and this happens once.
        unsafe { native::rd_kafka_message_destroy(self.0.as_ptr()) };
    }
}

/// When a record was written, in milliseconds since 1970.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Timestamp {
    /// The record has none.
    None,
    /// By the producer's clock.
    Created(i64),
    /// By the broker's clock.
    Appended(i64),
}

/// A record, as long as its queue is not asked for the next.
pub struct Record<'queue> {
    owned: Owned,
    queue: PhantomData<&'queue ()>,
}

impl fmt::Debug for Record<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Record")
            .field("offset", &self.offset())
            .finish_non_exhaustive()
    }
}

impl Record<'_> {
    pub(crate) fn of(owned: Owned) -> Result<Self, KafkaError> {
        let message = owned.message();
        match message.err {
            Code::RD_KAFKA_RESP_ERR_NO_ERROR => Ok(Self {
                owned,
                queue: PhantomData,
            }),
            Code::RD_KAFKA_RESP_ERR__PARTITION_EOF => {
                Err(KafkaError::PartitionEOF(message.partition))
            }
            code @ Code::RD_KAFKA_RESP_ERR__FATAL => {
                Err(KafkaError::MessageConsumptionFatal(code.into()))
            }
            code => Err(KafkaError::MessageConsumption(code.into())),
        }
    }

    /// The value; `None` if the record has none.
    pub fn value(&self) -> Option<&[u8]> {
        let message = self.owned.message();
        if message.payload.is_null() {
            return None;
        }
        // SAFETY: a payload that is not null has `len` bytes, which live as long as the message.
        Some(unsafe { slice::from_raw_parts(message.payload.cast::<u8>(), message.len) })
    }

    /// The key; `None` if the record has none.
    pub fn key(&self) -> Option<&[u8]> {
        let message = self.owned.message();
        if message.key.is_null() {
            return None;
        }
        // SAFETY: a key that is not null has `key_len` bytes, which live as long as the message.
        Some(unsafe { slice::from_raw_parts(message.key.cast::<u8>(), message.key_len) })
    }

    /// The offset in its partition.
    pub fn offset(&self) -> i64 {
        self.owned.message().offset
    }

    /// When it was written.
    pub fn timestamp(&self) -> Timestamp {
        use native::rd_kafka_timestamp_type_t as Kind;
        let mut kind = Kind::RD_KAFKA_TIMESTAMP_NOT_AVAILABLE;
        // SAFETY: the message is whole, and the kind is written before the call returns.
        let time = unsafe { native::rd_kafka_message_timestamp(self.owned.0.as_ptr(), &mut kind) };
        match kind {
            _ if time < 0 => Timestamp::None,
            Kind::RD_KAFKA_TIMESTAMP_NOT_AVAILABLE => Timestamp::None,
            Kind::RD_KAFKA_TIMESTAMP_CREATE_TIME => Timestamp::Created(time),
            Kind::RD_KAFKA_TIMESTAMP_LOG_APPEND_TIME => Timestamp::Appended(time),
        }
    }

    /// The headers, in their order.
    pub fn headers(&self) -> Headers<'_> {
        let mut headers = ptr::null_mut();
        let message = self.owned.0.as_ptr();
        // SAFETY: the message is whole; the headers that are given are its own, live as long as
        // it, and are parsed by the one call that makes them, on one thread: `Record` is not `Sync`.
        let code = unsafe { native::rd_kafka_message_headers(message, &mut headers) };
        let found = code == Code::RD_KAFKA_RESP_ERR_NO_ERROR;
        // SAFETY: see above; the borrow of this record is that of the headers.
        unsafe { Headers::new(NonNull::new(headers).filter(|_| found)) }
    }
}
