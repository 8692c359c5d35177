//! Distances of distributions beside scipy 1.17, and beside plain computations over all values.

use rand::rngs::StdRng;
use rand::{Rng as _, SeedableRng as _};

use super::near;
use crate::statistics::{Categories, Distance, Distribution, Numbers};

fn numbers(values: &[f64]) -> Distribution {
    let mut numbers = Numbers::default();
    values.iter().for_each(|value| numbers.add(*value, 1));
    Distribution::Numbers(numbers)
}

fn categories(counts: &[(&str, u64)]) -> Distribution {
    let counts = counts.iter().filter(|(_, count)| *count > 0);
    let counts = counts.map(|(value, count)| ((*value).to_owned(), *count));
    Distribution::Categories(Categories::of(counts, None))
}

fn check(reference: &Distribution, now: &Distribution, expected: &[(Distance, f64)]) {
    for (distance, expected) in expected {
        near(distance.between(reference, now).unwrap(), *expected);
    }
}

/// `scipy.stats.ks_2samp`, `wasserstein_distance`, `ttest_ind(equal_var=False)`, `chi2_contingency`,
/// `scipy.spatial.distance.jensenshannon`, and numpy for the rest, over bins between the deciles.
#[test]
fn numbers_are_as_far_apart_as_scipy_says() {
    let reference: Vec<f64> = (0..400).map(|i| f64::from(i * 37 % 101) / 10.0).collect();
    let now: Vec<f64> = (0..300)
        .map(|i| f64::from(i * 53 % 97) / 9.0 + 0.5)
        .collect();
    let expected = [
        (Distance::Ks, 0.11),
        (Distance::Wasserstein, 0.814_185_185_185_185_1),
        (Distance::WelchP, 0.000_476_541_507_976_724),
        (Distance::Psi, 0.128_421_057_732_000_05),
        (Distance::Kl, 0.065_649_715_035_750_86),
        (Distance::Js, 0.150_369_088_489_815_28),
        (Distance::LInf, 0.105_833_333_333_333_33),
        (Distance::ChiSquare, 0.011_524_557_889_231_927),
    ];
    check(&numbers(&reference), &numbers(&now), &expected);
    let same = [
        (Distance::Ks, 0.0),
        (Distance::KsP, 1.0),
        (Distance::Psi, 0.0),
    ];
    check(&numbers(&now), &numbers(&now), &same);
}

#[test]
fn categories_are_as_far_apart_as_scipy_says() {
    let reference = [("a", 50), ("b", 30), ("c", 20), ("d", 0), ("e", 5)];
    let now = [("a", 40), ("b", 40), ("c", 10), ("d", 7), ("e", 0)];
    let expected = [
        (Distance::Psi, 0.876_594_198_122_974_8),
        (Distance::Kl, 0.503_642_157_592_503_4),
        (Distance::Js, 0.281_790_633_308_203_5),
        (Distance::LInf, 0.126_656_848_306_332_84),
        (Distance::ChiSquare, 0.001_487_991_191_331_201_2),
    ];
    check(&categories(&reference), &categories(&now), &expected);
    let only = categories(&[("a", 3)]);
    assert_eq!(Distance::ChiSquare.between(&only, &only), Some(1.0));
    assert_eq!(Distance::Psi.between(&only, &categories(&[])), None);
    assert_eq!(Distance::Ks.between(&only, &only), None);
    // Of a profile only some values are known: the others are one, whatever they are now.
    let known = [("a".to_owned(), 60), ("b".to_owned(), 30)];
    let partly = Distribution::Categories(Categories::of(known, Some(10)));
    let now = categories(&[("a", 50), ("b", 30), ("x", 12), ("y", 8)]);
    near(Distance::LInf.between(&partly, &now).unwrap(), 0.1);
}

#[test]
fn random_numbers_are_as_far_apart_as_all_of_them_say() {
    let mut rng = StdRng::seed_from_u64(17);
    for case in 0..12 {
        // Few different numbers, which are kept exactly, and many.
        let (count, exact) = [(200, true), (20_000, false)][case % 2];
        let moved = rng.random_range(0.0..0.6);
        let mut draw = |shift: f64| -> Vec<f64> {
            let sum = |_| shift + 1e3 + (0..4).map(|_| rng.random::<f64>()).sum::<f64>();
            let mut values: Vec<f64> = (0..count).map(sum).collect();
            values.sort_by(f64::total_cmp);
            values
        };
        let (reference, now) = (draw(0.0), draw(moved));
        let upto = |of: &[f64], value: f64| {
            of.partition_point(|other| *other <= value) as f64 / of.len() as f64
        };
        let mut all = [reference.clone(), now.clone()].concat();
        all.sort_by(f64::total_cmp);
        let step = |value: &f64| (upto(&reference, *value) - upto(&now, *value)).abs();
        let ks = all.iter().map(step).fold(0.0, f64::max);
        let pairs = all.iter().zip(all.iter().skip(1));
        let area: f64 = pairs.map(|(from, to)| (to - from) * step(from)).sum();
        let within = if exact { 1e-9 } else { 0.005 };
        let (reference, now) = (numbers(&reference), numbers(&now));
        for (distance, due) in [(Distance::Ks, ks), (Distance::Wasserstein, area)] {
            let found = distance.between(&reference, &now).unwrap();
            assert!(
                (found - due).abs() < within,
                "{case}: {distance:?} {found} is not {due}"
            );
        }
    }
}
