//! What bad messages cost in formats that fail as a whole.

use std::ops::Range;
use std::sync::atomic::{AtomicUsize, Ordering};

use arrow::array::{ArrayRef, UInt8Array};
use arrow::error::ArrowError;

use super::super::block::{BlockDecoder, DecodeBlock, Rows, Trouble};
use super::super::messages::Messages;
use super::*;

/// Messages of one byte, of which `x` is bad; counts how many it has looked at.
#[derive(Debug)]
struct Bytes {
    schema: SchemaRef,
    looked: Arc<AtomicUsize>,
}

impl DecodeBlock for Bytes {
    fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    fn decode(&mut self, messages: &Messages, range: Range<usize>) -> Result<Rows, Trouble> {
        self.looked.fetch_add(range.len(), Ordering::Relaxed);
        let bytes: Vec<u8> = range.map(|at| messages.get(at)[0]).collect();
        if bytes.contains(&b'x') {
            return Err(ArrowError::ParseError("x".to_owned()).into());
        }
        let column: ArrayRef = Arc::new(UInt8Array::from(bytes));
        Ok(Rows {
            batch: RecordBatch::try_new(Arc::clone(&self.schema), vec![column])?,
            positions: None,
            misfits: Vec::new(),
            failed: Vec::new(),
        })
    }

    fn explain(&self, _message: &[u8], error: &ArrowError) -> (&'static str, String) {
        ("decode", error.to_string())
    }
}

/// Decodes blocks of 8,192 messages; gives how often one was looked at.
fn looks(blocks: usize, is_bad: impl Fn(usize) -> bool) -> f64 {
    let looked = Arc::new(AtomicUsize::new(0));
    let mut decoder = BlockDecoder::new(Bytes {
        schema: schema(&[("x", DataType::UInt8)]),
        looked: Arc::clone(&looked),
    });
    let all = blocks * 8_192;
    for start in (0..all).step_by(8_192) {
        for at in start..start + 8_192 {
            let value: &[u8] = if is_bad(at) { b"x" } else { b"." };
            let (key, value) = (None, Some(value));
            let index = u32::try_from(at - start).unwrap();
            assert_eq!(
                decoder.push(Record { key, value }, index).unwrap(),
                Push::Taken
            );
        }
        let decoded = decoder.flush().unwrap();
        check_account(&decoded, 8_192);
        let rejected = decoded.rejected.iter().map(|r| start + r.index as usize);
        let expected = (start..start + 8_192).filter(|at| is_bad(*at));
        assert!(rejected.eq(expected));
    }
    looked.load(Ordering::Relaxed) as f64 / all as f64
}

#[test]
fn a_bad_message_costs_no_more_than_a_few_neighbours() {
    assert_eq!(looks(4, |_| false), 1.0);
    let cases = [
        (1_000_000, 1.1),
        (10_000, 1.4),
        (1_000, 1.5),
        (100, 2.5),
        (10, 6.0),
    ];
    for (distance, most) in cases {
        let looks = looks(40, |at| at % distance == distance / 2);
        assert!(looks < most, "one of {distance}: {looks}");
    }
    // After the last bad one it is as before.
    assert!(looks(400, |at| at < 8_192 && at % 100 == 0) < 1.1);
}
