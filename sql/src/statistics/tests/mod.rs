//! Statistics of random values beside plain computations, in one piece and divided, and beside pandas and scipy.

mod distances;

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::{ArrayRef, Float64Array, Int64Array, StringArray};
use arrow::datatypes::DataType;
use rand::rngs::StdRng;
use rand::seq::SliceRandom as _;
use rand::{Rng as _, SeedableRng as _};

use super::categories::Categories;
use super::counted::Counted;
use super::distribution::Distribution;
use super::moments::Moments;
use super::numbers::{KEPT_MAX, Numbers};

fn near(found: f64, expected: f64) {
    let apart = (found - expected).abs();
    assert!(
        apart <= 1e-9 * expected.abs().max(1.0),
        "{found} is not {expected}"
    );
}

/// Values in parts of random length.
fn parts<'a, T>(rng: &mut StdRng, values: &'a [T]) -> Vec<&'a [T]> {
    let mut rest = values;
    let mut all = Vec::new();
    while !rest.is_empty() {
        let (part, more) = rest.split_at(rng.random_range(1..=rest.len()));
        all.push(part);
        rest = more;
    }
    all
}

#[test]
fn moments_are_those_of_pandas() {
    let values = [2.0, 4.0, 4.0, 4.0, 5.0, 5.0, 7.0, 9.0, 30.0, -1.5];
    let mut moments = Moments::default();
    values.iter().for_each(|value| moments.add(*value));
    // pandas.Series(values).skew(), .kurt(), .var()
    near(moments.skewness().unwrap(), 2.544_831_352_279_341);
    near(moments.kurtosis().unwrap(), 7.367_734_805_727_572);
    near(moments.variance().unwrap(), 73.891_666_666_666_65);
}

#[test]
fn moments_merge() {
    let mut rng = StdRng::seed_from_u64(11);
    for _ in 0..50 {
        let count = rng.random_range(4..400);
        let values: Vec<f64> = (0..count)
            .map(|_| 1e4 + rng.random::<f64>().powi(3))
            .collect();
        let mut merged = Moments::default();
        for part in parts(&mut rng, &values) {
            let mut moments = Moments::default();
            part.iter().for_each(|value| moments.add(*value));
            merged.merge(&Moments::from_bytes(&moments.to_bytes()).unwrap());
        }
        let n = count as f64;
        let mean = values.iter().sum::<f64>() / n;
        let power = |k| values.iter().map(|v| (v - mean).powi(k)).sum::<f64>() / n;
        let skewness = power(3) / power(2).powf(1.5) * (n * (n - 1.0)).sqrt() / (n - 2.0);
        let excess = power(4) / power(2).powi(2) - 3.0;
        let kurtosis = (n - 1.0) / ((n - 2.0) * (n - 3.0)) * ((n + 1.0) * excess + 6.0);
        let apart = |a: f64, b: f64| (a - b).abs() < 1e-5 * b.abs().max(1.0);
        assert!(apart(merged.skewness().unwrap(), skewness));
        assert!(apart(merged.kurtosis().unwrap(), kurtosis));
    }
    let mut same = Moments::default();
    (0..9).for_each(|_| same.add(0.1));
    assert_eq!((same.skewness(), same.kurtosis()), (None, None));
    assert_eq!(Moments::default().variance(), None);
}

/// As numpy has it: between two values in proportion.
fn quantile(values: &[f64], share: f64) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let place = share * (sorted.len() - 1) as f64;
    let low = sorted[place as usize];
    let high = sorted[place.ceil() as usize];
    low + (high - low) * place.fract()
}

#[test]
fn quantiles_of_few_values_are_exact() {
    let mut rng = StdRng::seed_from_u64(12);
    for case in 0..200 {
        let count = rng.random_range(1..300);
        let spread: f64 = [3.0, 40.0, 1e9][case % 3];
        let values: Vec<f64> = (0..count)
            .map(|_| (rng.random_range(-spread..spread) * 4.0).round() / 4.0)
            .collect();
        let mut numbers = Numbers::default();
        values.iter().for_each(|value| numbers.add(*value, 1));
        for share in [0.0, 0.01, 0.25, 0.5, 0.9, 0.99, 1.0] {
            near(numbers.quantile(share).unwrap(), quantile(&values, share));
        }
    }
    assert_eq!(Numbers::default().quantile(0.5), None);
}

#[test]
fn many_numbers_are_the_same_in_any_order() {
    let mut rng = StdRng::seed_from_u64(13);
    for case in 0..6 {
        let mut values: Vec<f64> = (0..30_000)
            .map(|_| match case % 3 {
                0 => 300.0 + rng.random::<f64>() + rng.random::<f64>(),
                1 => -(rng.random::<f64>() * 40.0).exp(),
                _ => 1.7e15 + f64::from(rng.random_range(0..2_000_000_000)),
            })
            .collect();
        let mut whole = Numbers::default();
        values.iter().for_each(|value| whole.add(*value, 1));
        assert!(whole.values().count() <= KEPT_MAX);
        for share in [0.01, 0.25, 0.5, 0.75, 0.99] {
            let found = whole.quantile(share).unwrap();
            let below = values.iter().filter(|value| **value < found).count();
            let rank = below as f64 / values.len() as f64;
            assert!((rank - share).abs() < 0.005, "{case}: {share} is {rank}");
        }
        values.shuffle(&mut rng);
        let mut merged = Numbers::default();
        for part in parts(&mut rng, &values) {
            let mut numbers = Numbers::default();
            part.iter().for_each(|value| numbers.add(*value, 1));
            merged.merge(&Numbers::from_bytes(&numbers.to_bytes()).unwrap());
        }
        assert!(whole.values().eq(merged.values()), "{case}");
    }
}

#[test]
fn categories_are_the_same_in_any_order() {
    let mut rng = StdRng::seed_from_u64(14);
    for different in [1, 30, 5_000] {
        let mut values: Vec<String> = (0..8_000)
            .map(|_| format!("value {}", rng.random_range(0..different)))
            .collect();
        let mut whole = Categories::default();
        values.iter().for_each(|value| whole.add(value));
        values.shuffle(&mut rng);
        let mut merged = Categories::default();
        for part in parts(&mut rng, &values) {
            let mut categories = Categories::default();
            part.iter().for_each(|value| categories.add(value));
            merged.merge(&Categories::from_bytes(&categories.to_bytes()).unwrap());
        }
        assert_eq!(whole, merged);
        assert_eq!(whole.count(), 8_000);
        assert!(
            Categories::pairs(&whole, &merged)
                .iter()
                .all(|(a, b)| a == b)
        );
    }
}

#[test]
fn values_that_are_counted() {
    let mut rng = StdRng::seed_from_u64(15);
    for _ in 0..50 {
        let count = rng.random_range(1..200);
        let rows: Vec<(Option<i64>, Option<&str>)> = (0..count)
            .map(|_| {
                let number = rng.random_bool(0.9).then(|| rng.random_range(0..6));
                let text = ["a", "b", "c", "d"].get(rng.random_range(0..5)).copied();
                (number, text)
            })
            .collect();
        let mut merged = Counted::new(&[DataType::Int64, DataType::Utf8]).unwrap();
        for part in parts(&mut rng, &rows) {
            let numbers: Int64Array = part.iter().map(|(number, _)| *number).collect();
            let texts: StringArray = part.iter().map(|(_, text)| *text).collect();
            let columns: [ArrayRef; 2] = [Arc::new(numbers), Arc::new(texts)];
            let mut counted = Counted::new(&[DataType::Int64, DataType::Utf8]).unwrap();
            counted.add(&columns).unwrap();
            let counts = counted.counts().unwrap();
            merged.merge(&counts.columns, Some(&counts.counts)).unwrap();
        }
        let mut cells: BTreeMap<(i64, &str), f64> = BTreeMap::new();
        let (mut first, mut second) = (BTreeMap::new(), BTreeMap::new());
        for (number, text) in &rows {
            if let (Some(number), Some(text)) = (*number, *text) {
                *cells.entry((number, text)).or_default() += 1.0;
                *first.entry(number).or_insert(0.0) += 1.0;
                *second.entry(text).or_insert(0.0) += 1.0;
            }
        }
        let n: f64 = cells.values().sum();
        let counts = merged.counts().unwrap();
        if n == 0.0 {
            assert_eq!((counts.entropy(), counts.most()), (None, None));
            continue;
        }
        let entropy: f64 = cells.values().map(|c| -c / n * (c / n).log2()).sum();
        near(counts.entropy().unwrap(), entropy);
        let mutual: f64 = cells
            .iter()
            .map(|((a, b), c)| c / n * (c * n / (first[a] * second[b])).log2())
            .sum();
        near(counts.mutual_information().unwrap().unwrap(), mutual);
        let chi2: f64 = first
            .iter()
            .flat_map(|a| second.iter().map(move |b| (a, b)))
            .map(|((a, in_a), (b, in_b))| {
                let due = in_a * in_b / n;
                (cells.get(&(*a, *b)).copied().unwrap_or(0.0) - due).powi(2) / due
            })
            .sum();
        let least = first.len().min(second.len());
        match counts.cramers_v().unwrap() {
            Some(v) => near(v, (chi2 / n / (least - 1) as f64).sqrt()),
            None => assert_eq!(least, 1),
        }
        let most = cells.values().copied().fold(0.0, f64::max);
        near(counts.top_share().unwrap(), most / n);
    }
}

#[test]
fn what_is_no_number_is_left_out() {
    let column: ArrayRef = Arc::new(Float64Array::from(vec![
        Some(f64::NAN),
        Some(f64::INFINITY),
        Some(-0.0),
        Some(0.0),
        None,
    ]));
    let mut values = Distribution::of(column.data_type());
    values.add(&column).unwrap();
    let Distribution::Numbers(numbers) = &values else {
        panic!("numbers are categories");
    };
    assert!(numbers.values().eq([(0.0, 2)]));
    assert_eq!(
        Distribution::from_bytes(&values.to_bytes()).unwrap(),
        values
    );
    assert!(Distribution::from_bytes(b"nonsense").is_err());
    assert!(Distribution::from_bytes(&values.to_bytes()[..30]).is_err());
}
