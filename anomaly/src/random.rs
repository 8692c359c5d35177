//! Chance that is part of the state: a model's picks follow from its seed alone, so that a restored model
//! goes on as the one that was saved.

use crate::codec::{Reader, State, Writer};
use crate::error::Result;

/// SplitMix64: 8 bytes of state, and each state is a good one.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Random(u64);

impl Random {
    /// Starts from a seed.
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// 64 random bits.
    pub(crate) fn bits(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        mix(self.0)
    }

    /// A number in [0, 1).
    pub(crate) fn share(&mut self) -> f64 {
        (self.bits() >> 11) as f64 / (1_u64 << 53) as f64
    }

    /// A number in [0, below).
    pub(crate) fn below(&mut self, below: u64) -> u64 {
        ((u128::from(self.bits()) * u128::from(below)) >> 64) as u64
    }
}

/// Scatters bits, so that near numbers become far ones.
pub(crate) fn mix(bits: u64) -> u64 {
    let bits = (bits ^ (bits >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    let bits = (bits ^ (bits >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    bits ^ (bits >> 31)
}

impl State for Random {
    fn save(&self, to: &mut Writer) {
        to.u64(self.0);
    }

    fn load(&mut self, from: &mut Reader<'_>) -> Result<()> {
        self.0 = from.u64()?;
        Ok(())
    }

    fn heap_bytes(&self) -> usize {
        0
    }
}
