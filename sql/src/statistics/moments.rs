//! The first four moments of numbers in one pass; they merge (Chan, Pébay), so that parts may be counted apart.

/// Numbers as far as mean, deviation, skewness and kurtosis go.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(crate) struct Moments {
    pub(crate) count: u64,
    pub(crate) mean: f64,
    /// Sums of the second, third and fourth powers of the distances from the mean.
    powers: [f64; 3],
}

impl Moments {
    /// Bytes of [`Self::to_bytes`].
    pub(crate) const BYTES: usize = 5 * size_of::<u64>();

    /// What is known when only the first two are.
    pub(crate) fn of(count: u64, mean: f64, squares: f64) -> Self {
        let powers = [squares, 0.0, 0.0];
        Self {
            count,
            mean,
            powers,
        }
    }

    pub(crate) fn add(&mut self, value: f64) {
        self.merge(&Self::of(1, value, 0.0));
    }

    pub(crate) fn merge(&mut self, other: &Self) {
        if other.count == 0 {
            return;
        }
        let (a, b) = (self.count as f64, other.count as f64);
        let all = a + b;
        let away = other.mean - self.mean;
        let [left2, left3, left4] = self.powers;
        let [right2, right3, right4] = other.powers;
        let step = away / all;
        let product = away * step * a * b;
        let third = product * step * (a - b) + 3.0 * step * (a * right2 - b * left2);
        let fourth = product * step * step * (a * a - a * b + b * b)
            + 6.0 * step * step * (a * a * right2 + b * b * left2)
            + 4.0 * step * (a * right3 - b * left3);
        self.powers = [
            left2 + right2 + product,
            left3 + right3 + third,
            left4 + right4 + fourth,
        ];
        self.mean += step * b;
        self.count += other.count;
    }

    /// The variance of a sample.
    pub(crate) fn variance(&self) -> Option<f64> {
        let free = self.count.checked_sub(1).filter(|free| *free > 0)?;
        Some(self.powers[0] / free as f64)
    }

    /// The adjusted skewness of a sample (G1, as DuckDB and pandas have it); `None` of fewer than three
    /// values, and where all are the same.
    pub(crate) fn skewness(&self) -> Option<f64> {
        let n = self.count as f64;
        let [second, third, _] = self.powers;
        if self.count < 3 || second <= 0.0 {
            return None;
        }
        let plain = n.sqrt() * third / second.powf(1.5);
        Some(plain * (n * (n - 1.0)).sqrt() / (n - 2.0))
    }

    /// The excess kurtosis of a sample (G2, as DuckDB and pandas have it); `None` of fewer than four values,
    /// and where all are the same.
    pub(crate) fn kurtosis(&self) -> Option<f64> {
        let n = self.count as f64;
        let [second, _, fourth] = self.powers;
        if self.count < 4 || second <= 0.0 {
            return None;
        }
        let plain = n * fourth / (second * second) - 3.0;
        Some((n - 1.0) / ((n - 2.0) * (n - 3.0)) * ((n + 1.0) * plain + 6.0))
    }

    pub(crate) fn to_bytes(self) -> [u8; Self::BYTES] {
        let mut bytes = [0; Self::BYTES];
        let [second, third, fourth] = self.powers;
        let floats = [self.mean, second, third, fourth].map(f64::to_le_bytes);
        let parts = std::iter::once(self.count.to_le_bytes()).chain(floats);
        for (place, part) in bytes.chunks_exact_mut(size_of::<u64>()).zip(parts) {
            place.copy_from_slice(&part);
        }
        bytes
    }

    pub(crate) fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let (parts, rest) = bytes.as_chunks::<8>();
        let [count, mean, second, third, fourth] = parts else {
            return None;
        };
        let powers = [second, third, fourth].map(|part| f64::from_le_bytes(*part));
        rest.is_empty().then_some(Self {
            count: u64::from_le_bytes(*count),
            mean: f64::from_le_bytes(*mean),
            powers,
        })
    }
}
