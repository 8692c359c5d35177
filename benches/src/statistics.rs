//! What is said of several times: the middle, and how far they are apart.

use std::time::Duration;

/// The middle of some times; the mean of the two in the middle of an even number.
pub(crate) fn median(times: &[Duration]) -> Duration {
    let mut sorted = times.to_vec();
    sorted.sort();
    let middle = sorted.len() / 2;
    match (sorted.get(middle.wrapping_sub(1)), sorted.get(middle)) {
        (Some(below), Some(above)) if sorted.len().is_multiple_of(2) => (*below + *above) / 2,
        (_, Some(time)) => *time,
        (_, None) => Duration::ZERO,
    }
}

/// How far the times are apart, as a share of their median.
pub(crate) fn spread(times: &[Duration]) -> f64 {
    let (least, most) = (times.iter().min(), times.iter().max());
    match (least, most, median(times).as_secs_f64()) {
        (Some(least), Some(most), middle) if middle > 0.0 => {
            (*most - *least).as_secs_f64() / middle
        }
        _ => 0.0,
    }
}

/// The least of sorted values that is not below so many thousandths of them.
pub(crate) fn permille(sorted: &[u32], thousandths: usize) -> Option<u32> {
    let place = (sorted.len() * thousandths).div_ceil(1_000).max(1);
    sorted.get(place - 1).copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn times(millis: &[u64]) -> Vec<Duration> {
        millis.iter().map(|ms| Duration::from_millis(*ms)).collect()
    }

    #[test]
    fn ranks_are_nearest() {
        let values: Vec<u32> = (1..=2_000).collect();
        assert_eq!(permille(&values, 500), Some(1_000));
        assert_eq!(permille(&values, 990), Some(1_980));
        assert_eq!(permille(&values, 999), Some(1_998));
        assert_eq!(permille(&values, 1_000), Some(2_000));
        assert_eq!(permille(&[5], 1), Some(5));
        assert_eq!(permille(&[], 500), None);
    }

    #[test]
    fn medians_and_spreads() {
        assert_eq!(median(&times(&[3, 1, 2])), Duration::from_millis(2));
        assert_eq!(median(&times(&[4, 1, 2, 8])), Duration::from_millis(3));
        assert_eq!(median(&[]), Duration::ZERO);
        assert!((spread(&times(&[8, 10, 12])) - 0.4).abs() < 1e-9);
        assert_eq!(spread(&times(&[5])), 0.0);
    }
}
