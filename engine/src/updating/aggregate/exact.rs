//! Sums of floats without error: numbers may be taken back in any order, and what is left is exactly
//! the sum of those that are there, rounded once.
//!
//! A sum is an integer in units of 2^-1074, the least float, in limbs of 32 bits. Only the limbs in
//! use are kept: a few for numbers of similar size.

use arrow::array::{ArrayRef, AsArray, Float64Array, Int64Array};
use arrow::datatypes::{DataType, Float64Type, Int64Type};
use datafusion_common::{DataFusionError, Result, ScalarValue};
use datafusion_expr::Accumulator;

const LIMB_BITS: u32 = 32;
const LIMB_MASK: i64 = (1 << LIMB_BITS) - 1;
/// Bits of a float's mantissa, the hidden one included.
const MANTISSA_BITS: u32 = 53;
/// Additions after which limbs of 64 bits could overflow, if each adds 32 bits; with room to spare.
const ADDITIONS_MAX: u32 = 1 << 29;

/// SUM or AVG of Float64.
#[derive(Debug, Default)]
pub(super) struct ExactFloats {
    average: bool,
    sum: Exact,
    /// Numbers that are not null.
    count: i64,
    /// NaN, infinity and minus infinity have no place in a sum; they decide it while they are there.
    nan: i64,
    infinite: i64,
    minus_infinite: i64,
}

impl ExactFloats {
    pub(super) fn new(average: bool) -> Self {
        Self {
            average,
            ..Self::default()
        }
    }

    fn apply(&mut self, values: &[ArrayRef], sign: i64) -> Result<()> {
        let values: &Float64Array = values
            .first()
            .and_then(|values| values.as_primitive_opt::<Float64Type>())
            .ok_or_else(misfit)?;
        for value in values.iter().flatten() {
            self.count += sign;
            if value.is_nan() {
                self.nan += sign;
            } else if value == f64::INFINITY {
                self.infinite += sign;
            } else if value == f64::NEG_INFINITY {
                self.minus_infinite += sign;
            } else {
                self.sum.add(value, sign);
            }
        }
        Ok(())
    }

    fn total(&self) -> f64 {
        match (self.nan > 0, self.infinite > 0, self.minus_infinite > 0) {
            (true, _, _) | (_, true, true) => f64::NAN,
            (_, true, false) => f64::INFINITY,
            (_, false, true) => f64::NEG_INFINITY,
            (false, false, false) => self.sum.rounded(),
        }
    }
}

impl Accumulator for ExactFloats {
    fn update_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        self.apply(values, 1)
    }

    fn retract_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        self.apply(values, -1)
    }

    fn supports_retract_batch(&self) -> bool {
        true
    }

    fn evaluate(&mut self) -> Result<ScalarValue> {
        #[expect(
            clippy::cast_precision_loss,
            reason = "DataFusion's AVG divides by the same conversion"
        )]
        let value = (self.count > 0).then(|| match self.average {
            true => self.total() / self.count as f64,
            false => self.total(),
        });
        Ok(ScalarValue::Float64(value))
    }

    fn size(&self) -> usize {
        size_of::<Self>() + self.sum.limbs.capacity() * size_of::<i64>()
    }

    fn state(&mut self) -> Result<Vec<ScalarValue>> {
        self.sum.carry();
        // The number of the first limb, then the limbs.
        let limbs =
            std::iter::once(i64::from(self.sum.first)).chain(self.sum.limbs.iter().copied());
        let limbs: Vec<ScalarValue> = limbs.map(ScalarValue::from).collect();
        let limbs = ScalarValue::new_list_nullable(&limbs, &DataType::Int64);
        Ok(vec![
            ScalarValue::from(self.count),
            ScalarValue::from(self.nan),
            ScalarValue::from(self.infinite),
            ScalarValue::from(self.minus_infinite),
            ScalarValue::List(limbs),
        ])
    }

    fn merge_batch(&mut self, states: &[ArrayRef]) -> Result<()> {
        let numbers = |place: usize| -> Result<&Int64Array> {
            let column = states.get(place);
            column
                .and_then(|column| column.as_primitive_opt::<Int64Type>())
                .ok_or_else(misfit)
        };
        let counts = [numbers(0)?, numbers(1)?, numbers(2)?, numbers(3)?];
        let counts = counts.map(|column| column.iter().flatten().sum::<i64>());
        let lists = states.get(4).and_then(|column| column.as_list_opt::<i32>());
        for limbs in lists.ok_or_else(misfit)?.iter().flatten() {
            let limbs = limbs.as_primitive_opt::<Int64Type>().ok_or_else(misfit)?;
            if let Some((first, limbs)) = limbs.values().split_first() {
                let first = u32::try_from(*first).map_err(|_| misfit())?;
                for (limb, value) in (first..).zip(limbs) {
                    self.sum.add_at(limb, *value);
                }
                self.sum.carry();
            }
        }
        let [count, nan, infinite, minus_infinite] = counts;
        self.count += count;
        self.nan += nan;
        self.infinite += infinite;
        self.minus_infinite += minus_infinite;
        Ok(())
    }
}

/// An exact sum of finite floats.
#[derive(Debug, Default, Clone)]
struct Exact {
    /// The number of the first limb kept.
    first: u32,
    /// Each may hold more than its 32 bits, and be negative, until it is carried.
    limbs: Vec<i64>,
    /// Additions since limbs were carried.
    additions: u32,
}

impl Exact {
    /// Adds a finite number, or takes it away.
    fn add(&mut self, value: f64, sign: i64) {
        let bits = value.to_bits();
        let field = (bits >> (MANTISSA_BITS - 1)) & 0x7ff;
        let fraction = bits & ((1 << (MANTISSA_BITS - 1)) - 1);
        let hidden = u64::from(field > 0) << (MANTISSA_BITS - 1);
        let mantissa = u128::from(fraction | hidden);
        if mantissa == 0 {
            return;
        }
        let sign = if value.is_sign_negative() {
            -sign
        } else {
            sign
        };
        // A number is its mantissa times two to its place, in units of the least float.
        let place = u32::try_from(field).unwrap_or(0).saturating_sub(1);
        let mut rest = mantissa << (place % LIMB_BITS);
        let mut limb = place / LIMB_BITS;
        while rest > 0 {
            let low = i64::try_from(rest & LIMB_MASK.unsigned_abs() as u128).unwrap_or(0);
            self.add_at(limb, sign * low);
            rest >>= LIMB_BITS;
            limb += 1;
        }
        self.additions += 1;
        if self.additions >= ADDITIONS_MAX {
            self.carry();
        }
    }

    fn add_at(&mut self, limb: u32, value: i64) {
        if value == 0 {
            return;
        }
        if self.limbs.is_empty() {
            self.first = limb;
        }
        if limb < self.first {
            let missing = (self.first - limb) as usize;
            self.limbs.splice(0..0, std::iter::repeat_n(0, missing));
            self.first = limb;
        }
        let place = (limb - self.first) as usize;
        if place >= self.limbs.len() {
            self.limbs.resize(place + 1, 0);
        }
        if let Some(held) = self.limbs.get_mut(place) {
            *held += value;
        }
    }

    /// Brings all limbs but the last to 32 bits without sign; zeros at both ends go.
    fn carry(&mut self) {
        self.additions = 0;
        let mut carry = 0;
        for limb in &mut self.limbs {
            let sum = *limb + carry;
            *limb = sum & LIMB_MASK;
            carry = sum >> LIMB_BITS;
        }
        // What is left is the sign, or a number that a new limb takes.
        while carry != 0 && carry != -1 {
            self.limbs.push(carry & LIMB_MASK);
            carry >>= LIMB_BITS;
        }
        if carry == -1 {
            self.limbs.push(-1);
        }
        while self.limbs.last() == Some(&0) {
            self.limbs.pop();
        }
        let zeros = self.limbs.iter().take_while(|limb| **limb == 0).count();
        self.limbs.drain(..zeros);
        self.first += u32::try_from(zeros).unwrap_or(0);
    }

    /// The nearest float; of two, the even one.
    fn rounded(&self) -> f64 {
        let mut whole = self.clone();
        whole.carry();
        let negative = whole.limbs.last().is_some_and(|last| *last < 0);
        if negative {
            whole.limbs.iter_mut().for_each(|limb| *limb = -*limb);
            whole.carry();
        }
        let magnitude = whole.magnitude();
        if negative { -magnitude } else { magnitude }
    }

    /// The nearest float of a carried sum that is not negative.
    fn magnitude(&self) -> f64 {
        let Some(last) = self.limbs.last() else {
            return 0.0;
        };
        let top = self.first + u32::try_from(self.limbs.len()).unwrap_or(0) - 1;
        let bits = top * LIMB_BITS + last.ilog2() + 1;
        let Some(cut) = bits.checked_sub(MANTISSA_BITS).filter(|cut| *cut > 0) else {
            // It has no more bits than a mantissa, and below the normal floats bits are the number.
            return f64::from_bits(self.bits_from(0));
        };
        let mut mantissa = self.bits_from(cut);
        let half = self.bits_from(cut - 1) & 1 == 1;
        let more = self.has_bits_below(cut - 1);
        mantissa += u64::from(half && (more || mantissa & 1 == 1));
        let carried = mantissa >> MANTISSA_BITS == 1;
        let field = u64::from(cut) + 1 + u64::from(carried);
        if field >= 0x7ff {
            return f64::INFINITY;
        }
        let fraction = if carried { 0 } else { mantissa } & ((1 << (MANTISSA_BITS - 1)) - 1);
        f64::from_bits(field << (MANTISSA_BITS - 1) | fraction)
    }

    /// The bits from a place on; there are at most 64.
    fn bits_from(&self, place: u32) -> u64 {
        let mut bits = 0_u128;
        for offset in (0..4).rev() {
            bits = bits << LIMB_BITS | u128::from(self.limb(place / LIMB_BITS + offset));
        }
        u64::try_from((bits >> (place % LIMB_BITS)) & u128::from(u64::MAX)).unwrap_or(0)
    }

    fn has_bits_below(&self, place: u32) -> bool {
        let whole = (self.first..place / LIMB_BITS).any(|limb| self.limb(limb) != 0);
        let part = self.limb(place / LIMB_BITS) & ((1 << (place % LIMB_BITS)) - 1);
        whole || part != 0
    }

    fn limb(&self, number: u32) -> u64 {
        let place = number.checked_sub(self.first);
        let limb = place.and_then(|place| self.limbs.get(place as usize));
        limb.map_or(0, |limb| limb.unsigned_abs())
    }
}

fn misfit() -> DataFusionError {
    DataFusionError::Internal("an exact sum was given columns of other types".to_owned())
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use rand::rngs::StdRng;
    use rand::seq::SliceRandom;
    use rand::{Rng, SeedableRng};

    use super::*;

    fn column(values: &[f64]) -> [ArrayRef; 1] {
        [Arc::new(Float64Array::from(values.to_vec()))]
    }

    fn sum(values: &[f64]) -> f64 {
        let mut exact = ExactFloats::new(false);
        exact.update_batch(&column(values)).unwrap();
        match exact.evaluate().unwrap() {
            ScalarValue::Float64(Some(sum)) => sum,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn sums_are_rounded_once() {
        assert_eq!(sum(&[0.1; 10]), 1.0);
        assert_eq!(sum(&[1e308, 1.0, -1e308, 1e-300]), 1.0);
        assert_eq!(sum(&[f64::MAX, f64::MAX]), f64::INFINITY);
        assert_eq!(sum(&[f64::MAX, f64::MAX, -f64::MAX]), f64::MAX);
        assert_eq!(sum(&[5e-324, 5e-324]), 1e-323);
        assert_eq!(
            sum(&[f64::MIN_POSITIVE, -5e-324]),
            f64::MIN_POSITIVE - 5e-324
        );
        assert_eq!(sum(&[1.0, f64::EPSILON / 2.0]), 1.0);
        assert_eq!(sum(&[1.0, f64::EPSILON / 2.0, 1e-300]), 1.0 + f64::EPSILON);
        assert_eq!(sum(&[-0.0]), 0.0);
        assert_eq!(sum(&[f64::INFINITY, 1.0]), f64::INFINITY);
        assert!(sum(&[f64::INFINITY, f64::NEG_INFINITY]).is_nan());
    }

    #[test]
    fn sums_of_scaled_integers_are_those_of_integers() {
        for seed in 0..300 {
            println!("SEED={seed}");
            let mut rng = StdRng::seed_from_u64(seed);
            let scale = 2_f64.powi(rng.random_range(-60..60));
            let numbers: Vec<i64> = (0..rng.random_range(1..40))
                .map(|_| rng.random_range(-(1_i64 << 53)..1 << 53) >> rng.random_range(0..50))
                .collect();
            let wide: i128 = numbers.iter().map(|n| i128::from(*n)).sum();
            let floats: Vec<f64> = numbers.iter().map(|n| *n as f64 * scale).collect();
            assert_eq!(sum(&floats), wide as f64 * scale);
        }
    }

    #[test]
    fn what_is_taken_back_leaves_no_trace() {
        for seed in 0..300 {
            println!("SEED={seed}");
            let mut rng = StdRng::seed_from_u64(seed);
            let wild = |rng: &mut StdRng| f64::from_bits(rng.random());
            let kept: Vec<f64> = (0..rng.random_range(0..20))
                .map(|_| wild(&mut rng))
                .collect();
            let gone: Vec<f64> = (0..rng.random_range(1..20))
                .map(|_| wild(&mut rng))
                .collect();
            let mut all = [kept.clone(), gone.clone()].concat();
            all.shuffle(&mut rng);
            let mut exact = ExactFloats::new(rng.random_bool(0.5));
            exact.update_batch(&column(&all)).unwrap();
            if rng.random_bool(0.5) {
                let state = exact.state().unwrap();
                let state: Vec<_> = state.iter().map(|s| s.to_array().unwrap()).collect();
                exact = ExactFloats::new(exact.average);
                exact.merge_batch(&state).unwrap();
            }
            exact.retract_batch(&column(&gone)).unwrap();
            let mut fresh = ExactFloats::new(exact.average);
            fresh.update_batch(&column(&kept)).unwrap();
            let text = |sum: &mut ExactFloats| format!("{:?}", sum.evaluate().unwrap());
            assert_eq!(text(&mut exact), text(&mut fresh));
        }
    }
}
