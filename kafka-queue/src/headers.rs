//! The headers of a record.

use std::ffi::CStr;
use std::marker::PhantomData;
use std::ptr::{self, NonNull};
use std::slice;

use rdkafka::bindings as native;
use rdkafka::types::RDKafkaRespErr as Code;

/// Names and values of headers, in their order.
#[derive(Debug)]
pub struct Headers<'record> {
    headers: Option<NonNull<native::rd_kafka_headers_t>>,
    next: usize,
    record: PhantomData<&'record ()>,
}

impl Headers<'_> {
    /// # Safety
    ///
    /// The headers live and do not change as long as `'record`.
    pub(crate) unsafe fn new(headers: Option<NonNull<native::rd_kafka_headers_t>>) -> Self {
        Self {
            headers,
            next: 0,
            record: PhantomData,
        }
    }
}

impl<'record> Iterator for Headers<'record> {
    type Item = (&'record CStr, Option<&'record [u8]>);

    fn next(&mut self) -> Option<Self::Item> {
        let headers = self.headers?.as_ptr();
        let (mut name, mut value, mut bytes) = (ptr::null(), ptr::null(), 0);
        // SAFETY: the headers are whole by the promise of `new`; the three are written before the
        // call returns, if there is a header of this number.
        let code = unsafe {
            native::rd_kafka_header_get_all(headers, self.next, &mut name, &mut value, &mut bytes)
        };
        if code != Code::RD_KAFKA_RESP_ERR_NO_ERROR {
            return None;
        }
        self.next += 1;
        // SAFETY: a header's name ends with a zero and lives as long as the headers.
        let name = unsafe { CStr::from_ptr(name) };
        if value.is_null() {
            return Some((name, None));
        }
        // SAFETY: a value that is not null has so many bytes, which live as long as the headers.
        let value = unsafe { slice::from_raw_parts(value.cast::<u8>(), bytes) };
        Some((name, Some(value)))
    }
}
