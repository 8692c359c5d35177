//! Whole numbers that were there, a bit for each: for keys that lie close together, as those of numbered
//! rows do. Others take more memory than their hashes, which is told.

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use arrow::array::{Array, ArrayRef, AsArray, BooleanBufferBuilder, Int64Array};
use arrow::buffer::BooleanBuffer;
use arrow::compute::cast;
use arrow::datatypes::{DataType, Int64Type};
use datafusion_common::hash_utils::RandomState;
use parking_lot::Mutex;

use super::fingerprint;
use crate::error::{Error, Result};

/// Numbers of one chunk, as a power of two.
const CHUNK_BITS: u32 = 12;
const WORDS: usize = (1 << CHUNK_BITS) / u64::BITS as usize;
/// What a chunk takes, with its place in a map that has free ones.
const CHUNK_BYTES: usize = WORDS * size_of::<u64>() + 48;
/// What a number may take: about as much as its hash would.
const NUMBER_BYTES_MAX: usize = 32;
/// So much is nothing to worry about.
const BYTES_MIN: usize = 64 << 10;
/// Maps that the chunks are spread over, so that those who share them seldom wait for one another.
const MAPS: usize = 64;

type Chunk = Box<[u64; WORDS]>;

/// The numbers of a column, shared by those who bring rows.
#[derive(Debug)]
pub(super) struct Dense {
    data_type: DataType,
    maps: Vec<Mutex<HashMap<i64, Chunk, RandomState>>>,
    chunks: AtomicUsize,
    held: AtomicUsize,
}

impl Dense {
    /// For values of a type; `None` for one that isn't whole numbers.
    pub(super) fn of(data_type: DataType) -> Option<Self> {
        use DataType::*;
        let is_whole = matches!(
            data_type,
            Int8 | Int16 | Int32 | Int64 | UInt8 | UInt16 | UInt32
        );
        let mut maps = Vec::new();
        maps.resize_with(MAPS, Mutex::default);
        is_whole.then(|| Self {
            data_type,
            maps,
            chunks: AtomicUsize::default(),
            held: AtomicUsize::default(),
        })
    }

    /// Notes the numbers of some rows, in order; sets the rows whose number was there.
    pub(super) fn see(
        &self,
        column: &ArrayRef,
        rows: &BooleanBuffer,
        repeated: &mut BooleanBufferBuilder,
    ) -> Result<()> {
        let numbers = cast(column, &DataType::Int64)?;
        let numbers = numbers.as_primitive::<Int64Type>().values();
        let number = |row: usize| Some((row, *numbers.get(row)?));
        let rows: Vec<(usize, i64)> = rows.set_indices().filter_map(number).collect();
        let (mut chunks, mut held) = (0, 0);
        for run in rows.chunk_by(|(_, one), (_, next)| chunk_of(*one) == chunk_of(*next)) {
            let chunk = run.first().map_or(0, |(_, number)| chunk_of(*number));
            let Some(map) = self.maps.get(chunk as usize % MAPS) else {
                continue;
            };
            let mut map = map.lock();
            let bits = map.entry(chunk).or_insert_with(|| {
                chunks += 1;
                Box::new([0; WORDS])
            });
            for (row, number) in run {
                let place = (*number & ((1 << CHUNK_BITS) - 1)) as usize;
                let bit = 1_u64 << (place % 64);
                let Some(word) = bits.get_mut(place / 64) else {
                    continue;
                };
                if *word & bit != 0 {
                    repeated.set_bit(*row, true);
                } else {
                    *word |= bit;
                    held += 1;
                }
            }
        }
        self.chunks.fetch_add(chunks, Relaxed);
        self.held.fetch_add(held, Relaxed);
        Ok(())
    }

    /// Whether hashes would take less memory.
    pub(super) fn is_sparse(&self) -> bool {
        let held = self.held.load(Relaxed);
        self.bytes() > BYTES_MIN + held * NUMBER_BYTES_MAX
    }

    /// Bytes in memory.
    pub(super) fn bytes(&self) -> usize {
        self.chunks.load(Relaxed) * CHUNK_BYTES
    }

    /// Takes the numbers out, as those of keys, chunk by chunk.
    pub(super) fn drain(&self) -> impl Iterator<Item = Result<Vec<u128>>> + '_ {
        let chunks = self
            .maps
            .iter()
            .flat_map(|map| std::mem::take(&mut *map.lock()));
        chunks.map(|(chunk, bits)| {
            self.chunks.fetch_sub(1, Relaxed);
            let numbers = BooleanBuffer::from_iter(
                bits.iter()
                    .flat_map(|word| (0..u64::BITS).map(move |bit| word >> bit & 1 == 1)),
            );
            let numbers = numbers
                .set_indices()
                .map(|at| (chunk << CHUNK_BITS) | at as i64);
            let column: ArrayRef = std::sync::Arc::new(Int64Array::from_iter_values(numbers));
            let column = cast(&column, &self.data_type)?;
            if column.null_count() > 0 {
                return Err(Error::internal("a key is out of its type's range"));
            }
            let rows = column.len();
            fingerprint::keys(&[column], rows)
        })
    }
}

fn chunk_of(number: i64) -> i64 {
    number >> CHUNK_BITS
}
