//! Keys that are whole numbers near each other: a group is found by the key's place in a table of
//! all numbers between, without hashing. Keys that lie too far apart are hashed after all.

use std::cmp::Ordering;
use std::mem;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, ArrowPrimitiveType, AsArray, PrimitiveArray};
use arrow::datatypes::{DataType, Int32Type, Int64Type, SchemaRef};
use datafusion_common::Result;
use datafusion_expr::EmitTo;
use datafusion_physical_plan::aggregates::group_values::{GroupValues, new_group_values};
use datafusion_physical_plan::aggregates::order::GroupOrdering;

/// Numbers between keys that any table may span: 64 KiB.
const SPAN: usize = 1 << 14;
/// Numbers per key that a larger table may span.
const SPAN_PER_KEY: usize = 8;
/// Numbers that the smallest table spans.
const SPAN_MIN: usize = 1 << 10;

/// Makes the table of keys that suits them best.
pub(super) fn group_values(schema: &SchemaRef) -> Result<Box<dyn GroupValues>> {
    Ok(match schema.fields().iter().as_slice() {
        [key] if *key.data_type() == DataType::Int64 => Box::new(Dense::<Int64Type>::new(schema)),
        [key] if *key.data_type() == DataType::Int32 => Box::new(Dense::<Int32Type>::new(schema)),
        _ => hashed(schema)?,
    })
}

fn hashed(schema: &SchemaRef) -> Result<Box<dyn GroupValues>> {
    new_group_values(Arc::clone(schema), &GroupOrdering::None)
}

struct Dense<T: ArrowPrimitiveType> {
    schema: SchemaRef,
    /// The number at the first place.
    first: i64,
    /// The least key and the greatest, once there are keys.
    low: i64,
    high: i64,
    /// Of each number its group, from 1; 0 is none.
    places: Vec<u32>,
    /// The keys of the groups.
    keys: Vec<T::Native>,
    /// What has taken over.
    hashed: Option<Box<dyn GroupValues>>,
}

impl<T: ArrowPrimitiveType> Dense<T>
where
    T::Native: Into<i64>,
{
    fn new(schema: &SchemaRef) -> Self {
        Self {
            schema: Arc::clone(schema),
            first: 0,
            low: 0,
            high: 0,
            places: Vec::new(),
            keys: Vec::new(),
            hashed: None,
        }
    }

    /// Finds the groups of keys; gives up at one that is too far from the others.
    fn find(&mut self, keys: &[T::Native], groups: &mut Vec<usize>) -> bool {
        groups.clear();
        groups.reserve(keys.len());
        for key in keys {
            let at: i64 = (*key).into();
            let mut place = self.place(at);
            if place >= self.places.len() {
                if !self.cover(at) {
                    return false;
                }
                place = self.place(at);
            }
            let Some(group) = self.places.get_mut(place) else {
                return false;
            };
            if *group == 0 {
                self.keys.push(*key);
                let Ok(number) = u32::try_from(self.keys.len()) else {
                    return false;
                };
                *group = number;
                let (low, high) = if number == 1 {
                    (at, at)
                } else {
                    (self.low, self.high)
                };
                (self.low, self.high) = (low.min(at), high.max(at));
            }
            groups.push(*group as usize - 1);
        }
        true
    }

    /// The place of a number; outside of the table when it has none.
    fn place(&self, number: i64) -> usize {
        usize::try_from(number.wrapping_sub(self.first).cast_unsigned()).unwrap_or(usize::MAX)
    }

    /// Makes the table span a number too, if that is not too much.
    fn cover(&mut self, number: i64) -> bool {
        let is_first = self.keys.is_empty();
        let (low, high) = if is_first {
            (number, number)
        } else {
            (self.low.min(number), self.high.max(number))
        };
        let span = high
            .checked_sub(low)
            .and_then(|span| usize::try_from(span).ok());
        let limit = SPAN.max(self.keys.len() * SPAN_PER_KEY);
        let Some(span) = span.map(|span| span + 1).filter(|span| *span <= limit) else {
            return false;
        };
        let held = if is_first { self.places.len() } else { 0 };
        let length = span.next_power_of_two().max(SPAN_MIN).max(held);
        // Room for more is on the side to which the keys grow.
        let room = i64::try_from(length - span).unwrap_or(0);
        let below = match number.cmp(&self.low) {
            _ if is_first => room / 2,
            Ordering::Less => room,
            _ => 0,
        };
        let first = low.checked_sub(below).unwrap_or(low);
        let mut places = vec![0; length];
        if !is_first {
            let old = self
                .places
                .get(self.place(self.low)..=self.place(self.high));
            let offset = usize::try_from(self.low.wrapping_sub(first)).unwrap_or(usize::MAX);
            let new = places.get_mut(offset..).unwrap_or_default();
            for (new, old) in new.iter_mut().zip(old.unwrap_or_default()) {
                *new = *old;
            }
        }
        (self.first, self.places) = (first, places);
        true
    }

    /// Hashes the keys from now on; groups keep their numbers.
    fn give_up(&mut self) -> Result<&mut Box<dyn GroupValues>> {
        let mut table = hashed(&self.schema)?;
        let keys = self.take_keys();
        if !keys.is_empty() {
            table.intern(&[keys], &mut Vec::new())?;
        }
        self.places = Vec::new();
        Ok(self.hashed.insert(table))
    }

    fn take_keys(&mut self) -> ArrayRef {
        self.places.fill(0);
        Arc::new(PrimitiveArray::<T>::from_iter_values(mem::take(
            &mut self.keys,
        )))
    }
}

impl<T: ArrowPrimitiveType> GroupValues for Dense<T>
where
    T::Native: Into<i64>,
{
    fn intern(&mut self, cols: &[ArrayRef], groups: &mut Vec<usize>) -> Result<()> {
        if let Some(hashed) = &mut self.hashed {
            return hashed.intern(cols, groups);
        }
        let column = cols.first().and_then(|c| c.as_primitive_opt::<T>());
        let plain = column.filter(|column| column.null_count() == 0);
        if plain.is_some_and(|keys| self.find(keys.values(), groups)) {
            return Ok(());
        }
        self.give_up()?.intern(cols, groups)
    }

    fn size(&self) -> usize {
        self.hashed.as_ref().map_or(0, |hashed| hashed.size())
            + self.places.capacity() * size_of::<u32>()
            + self.keys.capacity() * size_of::<T::Native>()
    }

    fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn len(&self) -> usize {
        let hashed = self.hashed.as_ref();
        hashed.map_or(self.keys.len(), |hashed| hashed.len())
    }

    fn emit(&mut self, emit_to: EmitTo) -> Result<Vec<ArrayRef>> {
        match (&mut self.hashed, emit_to) {
            (Some(hashed), _) => hashed.emit(emit_to),
            (None, EmitTo::All) => Ok(vec![self.take_keys()]),
            (None, EmitTo::First(_)) => self.give_up()?.emit(emit_to),
        }
    }

    fn clear_shrink(&mut self, num_rows: usize) {
        match &mut self.hashed {
            Some(hashed) => hashed.clear_shrink(num_rows),
            None => {
                self.keys.clear();
                self.places.fill(0);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use arrow::array::Int64Array;
    use arrow::datatypes::{Field, Schema};
    use rand::rngs::StdRng;
    use rand::{Rng, SeedableRng};

    use super::*;

    /// Random keys of all kinds: the groups are those of DataFusion's table, number by number.
    #[test]
    fn groups_are_those_of_hashing() {
        let schema = Arc::new(Schema::new(vec![Field::new("key", DataType::Int64, true)]));
        for seed in 0..400 {
            println!("SEED={seed}");
            let mut rng = StdRng::seed_from_u64(seed);
            let mut tables = [group_values(&schema).unwrap(), hashed(&schema).unwrap()];
            for _ in 0..rng.random_range(1..4) {
                let middle = match rng.random_range(0..4) {
                    0 => i64::MAX,
                    1 => i64::MIN,
                    2 => rng.random(),
                    _ => 0,
                };
                let span = 1_i64 << rng.random_range(0..40);
                for _ in 0..rng.random_range(0..6) {
                    let nulls = rng.random_bool(0.1);
                    let key = |_| {
                        let key = middle.saturating_add(rng.random_range(-span..span));
                        (!nulls || rng.random_bool(0.5)).then_some(key)
                    };
                    let keys: Int64Array = (0..300).map(key).collect();
                    let keys: ArrayRef = Arc::new(keys);
                    let [ours, theirs] = tables.each_mut().map(|table| {
                        let mut groups = Vec::new();
                        table.intern(&[Arc::clone(&keys)], &mut groups).unwrap();
                        (groups, table.len())
                    });
                    assert_eq!(ours, theirs);
                }
                let keys = tables.each_mut().map(|table| table.emit(EmitTo::All));
                let [ours, theirs] = keys.map(|keys| keys.unwrap().swap_remove(0));
                assert_eq!(*ours, *theirs);
                tables.iter_mut().for_each(|table| table.clear_shrink(0));
            }
        }
    }

    #[test]
    fn keys_near_each_other_are_not_hashed() {
        let schema = Arc::new(Schema::new(vec![Field::new("key", DataType::Int64, true)]));
        let mut table = Dense::<Int64Type>::new(&schema);
        let mut groups = Vec::new();
        for start in [0, 1_000_000, -5_000_000_000] {
            let keys = (0..10_000).map(|i| start + i * 7 % 10_000);
            let keys: ArrayRef = Arc::new(Int64Array::from_iter_values(keys));
            table.intern(&[keys], &mut groups).unwrap();
            assert!(table.hashed.is_none() && table.len() == 10_000);
            table.emit(EmitTo::All).unwrap();
        }
        let far: ArrayRef = Arc::new(Int64Array::from(vec![1, 1 << 40, 1]));
        table.intern(&[far], &mut groups).unwrap();
        assert!(table.hashed.is_some());
        assert_eq!(groups, [0, 1, 0]);
    }
}
