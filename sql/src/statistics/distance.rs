//! How far two distributions are apart. Pure; `reference` is what the other one is compared with.

use super::categories::Categories;
use super::distribution::Distribution;
use super::moments::Moments;
use super::numbers::Numbers;
use super::special;
use crate::profile::{LEAST, js, psi};

/// Bins of numbers, of equal weight in the reference.
const BINS: usize = 10;

/// A measure of distance, or of how likely one so great is by chance.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Distance {
    Psi,
    Kl,
    Js,
    ChiSquare,
    LInf,
    Ks,
    KsP,
    Wasserstein,
    WelchP,
}

impl Distance {
    /// Their names.
    pub(crate) const ALL: [(&str, Distance); 9] = [
        ("psi", Self::Psi),
        ("kl", Self::Kl),
        ("js", Self::Js),
        ("chi2", Self::ChiSquare),
        ("l_inf", Self::LInf),
        ("ks", Self::Ks),
        ("ks_p", Self::KsP),
        ("wasserstein", Self::Wasserstein),
        ("welch_p", Self::WelchP),
    ];

    /// Whether it needs values that have an order.
    pub(crate) fn is_of_numbers(self) -> bool {
        matches!(
            self,
            Self::Ks | Self::KsP | Self::Wasserstein | Self::WelchP
        )
    }

    /// The distance; `None` if one of them has no value, or it is not defined.
    pub(crate) fn between(self, reference: &Distribution, now: &Distribution) -> Option<f64> {
        match (reference, now) {
            (Distribution::Numbers(reference), Distribution::Numbers(now)) => {
                self.of_numbers(reference, now)
            }
            (Distribution::Categories(reference), Distribution::Categories(now)) => {
                self.of_counts(&Categories::pairs(reference, now))
            }
            _ => None,
        }
    }

    fn of_numbers(self, reference: &Numbers, now: &Numbers) -> Option<f64> {
        let (n, m) = (reference.count() as f64, now.count() as f64);
        if n == 0.0 || m == 0.0 {
            return None;
        }
        let (one, two) = Numbers::alike(reference, now);
        match self {
            Self::Ks => Some(greatest_step(&one, &two)),
            Self::KsP => {
                let size = n * m / (n + m);
                Some(special::kolmogorov(greatest_step(&one, &two), size))
            }
            Self::Wasserstein => Some(area(&one, &two)),
            Self::WelchP => welch(&reference.moments, &now.moments),
            _ => self.of_counts(&bins(&one, &two)),
        }
    }

    /// Over how often each category comes in the reference and now.
    fn of_counts(self, pairs: &[(u64, u64)]) -> Option<f64> {
        let all = |of: fn(&(u64, u64)) -> u64| pairs.iter().map(of).sum::<u64>() as f64;
        let (n, m) = (all(|pair| pair.0), all(|pair| pair.1));
        if n == 0.0 || m == 0.0 {
            return None;
        }
        let shares: Vec<(f64, f64)> = pairs
            .iter()
            .map(|(before, now)| (*before as f64 / n, *now as f64 / m))
            .collect();
        let (expected, found): (Vec<f64>, Vec<f64>) = shares.iter().copied().unzip();
        match self {
            Self::Psi => Some(psi(&expected, &found)),
            Self::Js => Some(js(&expected, &found)),
            Self::Kl => {
                let parts = shares.iter().filter(|(_, found)| *found > 0.0);
                Some(parts.map(|(e, f)| f * (f / e.max(LEAST)).ln()).sum())
            }
            Self::LInf => Some(
                shares
                    .iter()
                    .map(|(e, f)| (e - f).abs())
                    .fold(0.0, f64::max),
            ),
            Self::ChiSquare => Some(chi_square(pairs, n, m)),
            _ => None,
        }
    }
}

/// How likely two samples of one distribution differ as much (chi-square test of homogeneity).
fn chi_square(pairs: &[(u64, u64)], n: f64, m: f64) -> f64 {
    let seen = pairs.iter().filter(|(before, now)| before + now > 0);
    let (mut value, mut classes) = (0.0, 0_u32);
    for (before, now) in seen {
        classes += 1;
        let both = (before + now) as f64;
        for (count, of) in [(before, n), (now, m)] {
            let due = both * of / (n + m);
            value += (*count as f64 - due).powi(2) / due;
        }
    }
    match classes {
        0 | 1 => 1.0,
        classes => special::chi_square(value, f64::from(classes - 1)),
    }
}

/// How many numbers of each are in bins between the deciles of the reference, which belong to the lower bin.
fn bins(reference: &Numbers, now: &Numbers) -> Vec<(u64, u64)> {
    let n = reference.count() as f64;
    let mut edges: Vec<f64> = Vec::new();
    let mut seen = 0;
    for (value, count) in reference.values() {
        let reached = |seen: u64| (seen as f64 * BINS as f64 / n).floor();
        if reached(seen + count) > reached(seen) && seen + count < reference.count() {
            edges.push(value);
        }
        seen += count;
    }
    let mut pairs = vec![(0, 0); edges.len() + 1];
    let mut count = |numbers: &Numbers, of: fn(&mut (u64, u64)) -> &mut u64| {
        for (value, count) in numbers.values() {
            let bin = edges.partition_point(|edge| *edge < value);
            if let Some(pair) = pairs.get_mut(bin) {
                *of(pair) += count;
            }
        }
    };
    count(reference, |pair| &mut pair.0);
    count(now, |pair| &mut pair.1);
    pairs
}

/// The shares of the numbers of both up to each number that either has.
fn steps(one: &Numbers, two: &Numbers) -> Vec<(f64, f64, f64)> {
    let (n, m) = (one.count() as f64, two.count() as f64);
    let values = one.values().chain(two.values());
    let mut points: Vec<f64> = values.map(|(value, _)| value).collect();
    points.sort_by(f64::total_cmp);
    points.dedup();
    let (mut left, mut right) = (one.values().peekable(), two.values().peekable());
    let (mut below, mut under) = (0, 0);
    let mut all = Vec::with_capacity(points.len());
    for point in points {
        while let Some((_, count)) = left.next_if(|(value, _)| *value <= point) {
            below += count;
        }
        while let Some((_, count)) = right.next_if(|(value, _)| *value <= point) {
            under += count;
        }
        all.push((point, below as f64 / n, under as f64 / m));
    }
    all
}

fn greatest_step(one: &Numbers, two: &Numbers) -> f64 {
    let steps = steps(one, two).into_iter();
    steps.map(|(_, a, b)| (a - b).abs()).fold(0.0, f64::max)
}

/// The area between the cumulative distributions.
fn area(one: &Numbers, two: &Numbers) -> f64 {
    let steps = steps(one, two);
    let pairs = steps.iter().zip(steps.iter().skip(1));
    pairs
        .map(|((from, a, b), (to, _, _))| (to - from) * (a - b).abs())
        .sum()
}

/// How likely the means of two samples of distributions with one mean differ as much (Welch's t-test, both sides).
fn welch(reference: &Moments, now: &Moments) -> Option<f64> {
    let part = |moments: &Moments| Some(moments.variance()? / moments.count as f64);
    let (a, b) = (part(reference)?, part(now)?);
    if a + b <= 0.0 {
        return None;
    }
    let t = (now.mean - reference.mean) / (a + b).sqrt();
    let share = |part: f64, count: u64| part * part / (count as f64 - 1.0);
    let freedom = (a + b).powi(2) / (share(a, reference.count) + share(b, now.count));
    Some(special::student(t, freedom))
}
