//! Probabilities of test statistics: how likely a value at least as extreme is when nothing has changed.

/// Steps of a continued fraction or series; they end far earlier where an answer is not all but 0 or 1.
const STEPS_MAX: u32 = 10_000;
/// Where a step changes nothing any more.
const ENOUGH: f64 = 1e-15;
/// In place of zero in a divisor (Lentz).
const TINY: f64 = 1e-300;

/// The logarithm of the gamma function (Lanczos, 15 digits), for positive numbers.
fn ln_gamma(x: f64) -> f64 {
    const G: f64 = 7.0;
    const FACTORS: [f64; 9] = [
        0.999_999_999_999_809_9,
        676.520_368_121_885_1,
        -1_259.139_216_722_402_8,
        771.323_428_777_653_1,
        -176.615_029_162_140_6,
        12.507_343_278_686_905,
        -0.138_571_095_265_720_12,
        9.984_369_578_019_572e-6,
        1.505_632_735_149_311_6e-7,
    ];
    if x < 0.5 {
        let pi = std::f64::consts::PI;
        return (pi / (pi * x).sin()).ln() - ln_gamma(1.0 - x);
    }
    let x = x - 1.0;
    let mut factors = FACTORS.iter();
    let first = factors.next().copied().unwrap_or(1.0);
    let sum = (1_u32..).zip(factors).fold(first, |sum, (at, factor)| {
        sum + factor / (x + f64::from(at))
    });
    let t = x + G + 0.5;
    0.5 * std::f64::consts::TAU.ln() + (x + 0.5) * t.ln() - t + sum.ln()
}

/// The regularised upper incomplete gamma function.
fn upper_gamma(a: f64, x: f64) -> f64 {
    if x <= 0.0 {
        return 1.0;
    }
    let scale = (a * x.ln() - x - ln_gamma(a)).exp();
    if x < a + 1.0 {
        let (mut term, mut sum) = (1.0 / a, 1.0 / a);
        for step in 1..STEPS_MAX {
            term *= x / (a + f64::from(step));
            sum += term;
            if term.abs() < sum.abs() * ENOUGH {
                break;
            }
        }
        return (1.0 - sum * scale).clamp(0.0, 1.0);
    }
    let mut b = x + 1.0 - a;
    let mut c = 1.0 / TINY;
    let mut d = 1.0 / b;
    let mut h = d;
    for step in 1..STEPS_MAX {
        let step = f64::from(step);
        let an = -step * (step - a);
        b += 2.0;
        d = 1.0 / kept(an * d + b);
        c = kept(b + an / c);
        let change = d * c;
        h *= change;
        if (change - 1.0).abs() < ENOUGH {
            break;
        }
    }
    (scale * h).clamp(0.0, 1.0)
}

fn kept(divisor: f64) -> f64 {
    match divisor.abs() < TINY {
        true => TINY,
        false => divisor,
    }
}

/// The regularised incomplete beta function.
fn beta(a: f64, b: f64, x: f64) -> f64 {
    if x <= 0.0 {
        return 0.0;
    }
    if x >= 1.0 {
        return 1.0;
    }
    let scale = (ln_gamma(a + b) - ln_gamma(a) - ln_gamma(b) + a * x.ln() + b * (-x).ln_1p()).exp();
    // The fraction ends soon on one side of the mean only.
    match x < (a + 1.0) / (a + b + 2.0) {
        true => scale * beta_fraction(a, b, x) / a,
        false => 1.0 - scale * beta_fraction(b, a, 1.0 - x) / b,
    }
}

fn beta_fraction(a: f64, b: f64, x: f64) -> f64 {
    let mut c = 1.0;
    let mut d = 1.0 / kept(1.0 - (a + b) * x / (a + 1.0));
    let mut h = d;
    for step in 1..STEPS_MAX {
        let m = f64::from(step);
        let even = m * (b - m) * x / ((a + 2.0 * m - 1.0) * (a + 2.0 * m));
        let odd = -(a + m) * (a + b + m) * x / ((a + 2.0 * m) * (a + 2.0 * m + 1.0));
        let mut change = 1.0;
        for part in [even, odd] {
            d = 1.0 / kept(1.0 + part * d);
            c = kept(1.0 + part / c);
            change = d * c;
            h *= change;
        }
        if (change - 1.0).abs() < ENOUGH {
            break;
        }
    }
    h
}

/// Of Student's t on both sides.
pub(crate) fn student(t: f64, freedom: f64) -> f64 {
    beta(freedom / 2.0, 0.5, freedom / (freedom + t * t)).clamp(0.0, 1.0)
}

/// Of a chi-square.
pub(crate) fn chi_square(value: f64, freedom: f64) -> f64 {
    upper_gamma(freedom / 2.0, value / 2.0)
}

/// Of the greatest distance of two samples' cumulative distributions (Kolmogorov, with Stephens' correction for
/// small samples); `size` is that of one sample as good as the two.
pub(crate) fn kolmogorov(distance: f64, size: f64) -> f64 {
    let root = size.sqrt();
    let x = (root + 0.12 + 0.11 / root) * distance;
    // The series does not converge near zero, where the answer is 1 to 15 digits.
    if x < 0.2 {
        return 1.0;
    }
    let mut sum = 0.0;
    let mut sign = 1.0;
    for step in 1..=100 {
        let step = f64::from(step);
        let term = (-2.0 * step * step * x * x).exp();
        sum += sign * term;
        sign = -sign;
        if term < ENOUGH {
            break;
        }
    }
    (2.0 * sum).clamp(0.0, 1.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn near(found: f64, expected: f64) {
        assert!(
            (found - expected).abs() <= 1e-10 * expected.max(1e-3),
            "{found} is not {expected}"
        );
    }

    /// Against scipy 1.17: `2 * t.sf`, `chi2.sf`, `kstwobign.sf` of the corrected argument.
    #[test]
    fn as_scipy_has_it() {
        for (t, freedom, expected) in STUDENT {
            near(student(t, freedom), expected);
        }
        for (value, freedom, expected) in CHI_SQUARE {
            near(chi_square(value, freedom), expected);
        }
        for (distance, size, expected) in KOLMOGOROV {
            near(kolmogorov(distance, size), expected);
        }
    }

    const STUDENT: [(f64, f64, f64); 7] = [
        (0.0, 5.0, 1.0),
        (0.5, 1.0, 0.7048327646991335),
        (2.0, 3.7, 0.12181720190523398),
        (1.96, 1000.0, 0.050273184955748736),
        (-2.5, 12.0, 0.02791539957132524),
        (8.0, 40.0, 7.905084110104538e-10),
        (0.001, 300000.0, 0.9992021162370818),
    ];
    const CHI_SQUARE: [(f64, f64, f64); 7] = [
        (0.0, 3.0, 1.0),
        (1.0, 1.0, 0.31731050786291115),
        (9.5, 9.0, 0.39245576033480606),
        (30.0, 9.0, 0.00043872177097947936),
        (100.0, 9.0, 1.5735176303753876e-17),
        (5000.0, 4900.0, 0.1562274137489366),
        (0.01, 2.0, 0.9950124791926823),
    ];
    const KOLMOGOROV: [(f64, f64, f64); 6] = [
        (0.01, 10.0, 1.0),
        (0.2, 50.0, 0.03137665215307253),
        (0.1, 50.0, 0.676620149700246),
        (0.05, 500.0, 0.15955408974378785),
        (0.09, 500.0, 0.0005544089642719514),
        (0.3, 100.0, 1.8948486068759575e-08),
    ];
}
