//! The season of a series, found by its autocorrelation.

use crate::ring::Ring;

/// Rows that the season is looked for in.
pub(crate) const ROWS: usize = 1024;
/// Rows before the first look, and the times at which is looked again: doubled up to [`ROWS`], then each
/// time that so many rows have passed.
const ROWS_FIRST: u32 = 128;
/// The shortest season: below, a seasonal mean is hardly a model.
const LAG_MIN: usize = 4;
/// A season must come so often in the rows.
const SEASONS_MIN: usize = 3;
/// The least correlation of rows that are a season apart.
const CORRELATION_MIN: f64 = 0.4;
/// A shorter lag is taken when its correlation is this share of the greatest: multiples of a season
/// correlate as well.
const SHARE_OF_BEST: f64 = 0.9;

/// Whether it is time to look, after so many rows.
pub(crate) fn is_due(rows: u32) -> bool {
    if rows >= ROWS as u32 {
        rows.is_multiple_of(ROWS as u32 / 2)
    } else {
        rows >= ROWS_FIRST && rows.is_power_of_two()
    }
}

/// The season of the rows, in rows.
pub(crate) fn find(rows: &Ring) -> Option<u32> {
    let values: Vec<f64> = rows.iter().map(f64::from).collect();
    let count = values.len();
    let most = count / SEASONS_MIN;
    if most <= LAG_MIN + 1 {
        return None;
    }
    let mean = values.iter().sum::<f64>() / count as f64;
    // Spikes would correlate with each other and hide the rest.
    let width =
        3.0 * (values.iter().map(|v| (v - mean).powi(2)).sum::<f64>() / count as f64).sqrt();
    let centred: Vec<f64> = values
        .iter()
        .map(|v| (v - mean).clamp(-width, width))
        .collect();
    let energy: f64 = centred.iter().map(|v| v * v).sum();
    if energy <= 0.0 || !energy.is_finite() {
        return None;
    }
    let correlation: Vec<f64> = (0..=most + 1)
        .map(|lag| {
            let products = centred
                .iter()
                .zip(centred.iter().skip(lag))
                .map(|(a, b)| a * b);
            let scale = count as f64 / (count - lag) as f64;
            products.sum::<f64>() / energy * scale
        })
        .collect();
    best_peak(&correlation, most)
}

/// The first of the highest peaks behind the fall from lag 0.
fn best_peak(correlation: &[f64], most: usize) -> Option<u32> {
    let fallen = correlation.iter().position(|c| *c < 0.2)?;
    let peaks: Vec<(usize, f64)> = (fallen.max(LAG_MIN)..=most)
        .filter_map(|lag| {
            let [before, at, after] = correlation.get(lag - 1..=lag + 1)?.try_into().ok()?;
            let is_peak = at >= before && at >= after && at >= CORRELATION_MIN;
            is_peak.then_some((lag, at))
        })
        .collect();
    let best = peaks.iter().map(|(_, at)| *at).fold(0.0, f64::max);
    let found = peaks.iter().find(|(_, at)| *at >= best * SHARE_OF_BEST);
    found.and_then(|(lag, _)| u32::try_from(*lag).ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_season_is_found_in_noise_and_none_in_noise_alone() {
        let mut random = crate::random::Random::new(1);
        for season in [12_u32, 48, 288] {
            let mut rows = Ring::new(ROWS);
            for row in 0..ROWS as u32 {
                let turn = f64::from(row % season) / f64::from(season) * std::f64::consts::TAU;
                rows.push((turn.sin() * 3.0 + random.share()) as f32);
            }
            let found = find(&rows).unwrap();
            assert!(found.abs_diff(season) <= 2, "{found} for {season}");
        }
        let mut noise = Ring::new(ROWS);
        for _ in 0..ROWS {
            noise.push(random.share() as f32);
        }
        assert_eq!(find(&noise), None);
        let mut constant = Ring::new(ROWS);
        for _ in 0..ROWS {
            constant.push(7.0);
        }
        assert_eq!(find(&constant), None);
    }
}
