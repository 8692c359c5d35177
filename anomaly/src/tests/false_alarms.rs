//! Sensitivity means the same for all: about so many rows of noise are alarms as were asked for.

use super::{gaussian, heavy, judge, methods, plain, uniform};
use crate::tail::Tail;
use crate::{Config, Method};

/// Rows after the first ones, in which a tail is not known yet.
const LEARNED: usize = 2_000;

#[test]
fn noise_raises_about_as_many_alarms_as_were_asked_for() {
    let count = 30_000;
    for (name, values) in [
        ("gaussian", gaussian(1, count)),
        ("uniform", uniform(2, count)),
        ("heavy", heavy(3, count)),
    ] {
        // A tail of two thousand peaks would be surer than one of a hundred.
        // Scores of tests over windows are far from independent, so that few alarms last long.
        for method in [
            Method::Ewma,
            Method::RobustZ,
            Method::Change,
            Method::Cusum,
            Method::Seasonal,
        ] {
            for sensitivity in [0.99, 0.999] {
                let config = Config {
                    sensitivity,
                    ..plain(method)
                };
                let verdicts = judge(config, &values);
                let alarms = verdicts
                    .iter()
                    .skip(LEARNED)
                    .filter(|verdict| verdict.is_anomaly)
                    .count();
                let rate = alarms as f64 / (count - LEARNED) as f64;
                let asked = 1.0 - sensitivity;
                // Where noise ends, as uniform noise does, the far tail is thought longer than it is.
                assert!(
                    (asked * 0.1..asked * 3.5).contains(&rate),
                    "{name} {method:?}: {rate} and not {asked}"
                );
            }
        }
    }
}

#[test]
fn slow_detectors_keep_to_it_as_well() {
    let count = 6_000;
    for (seed, values) in [(1, gaussian(1, count)), (3, heavy(3, count))] {
        for method in [
            Method::Auto,
            Method::Forest,
            Method::Neighbours,
            Method::HalfSpace,
        ] {
            let verdicts = judge(plain(method), &values);
            let alarms = verdicts
                .iter()
                .skip(LEARNED)
                .filter(|verdict| verdict.is_anomaly)
                .count();
            let rate = alarms as f64 / (count - LEARNED) as f64;
            assert!(
                (0.002..0.03).contains(&rate),
                "{seed} {method:?}: {rate} and not 0.01"
            );
        }
    }
}

#[test]
fn no_detector_floods_noise_with_alarms() {
    let count = 6_000;
    for values in [gaussian(4, count), uniform(5, count), heavy(6, count)] {
        for method in methods() {
            let verdicts = judge(plain(method), &values);
            let alarms = verdicts
                .iter()
                .skip(LEARNED)
                .filter(|verdict| verdict.is_anomaly)
                .count();
            assert!(alarms as f64 <= 0.05 * count as f64, "{method:?}: {alarms}");
        }
    }
}

#[test]
fn tail_probabilities_are_those_of_the_distribution() {
    // Beyond the scores that were seen, too: of an exponential distribution and of a heavy tail.
    let (mut exponential, mut pareto) = (Tail::new(1_000_000, 0.0), Tail::new(1_000_000, 0.0));
    for share in uniform(7, 20_000) {
        let share = (1.0 - share).max(1e-12);
        exponential.add(-share.ln());
        pareto.add(share.powf(-0.25));
    }
    for p in [1e-2, 1e-3, 1e-4] {
        let (one, other) = (exponential.p(-f64::ln(p)), pareto.p(p.powf(-0.25)));
        assert!((p / 10.0..p * 10.0).contains(&one), "{one} and not {p}");
        assert!((p / 10.0..p * 10.0).contains(&other), "{other} and not {p}");
        let back = exponential.score(p).unwrap();
        assert!(
            (exponential.p(back) / p - 1.0).abs() < 1e-6 || p >= 3e-3,
            "{back}"
        );
    }
}

#[test]
fn a_tail_follows_drift() {
    let mut tail = Tail::new(4_000, 0.0);
    for value in uniform(8, 10_000) {
        tail.add(value);
    }
    assert!(tail.p(5.0) < 1e-3);
    for value in uniform(9, 6_000) {
        tail.add(value * 10.0);
    }
    let p = tail.p(5.0);
    assert!(p > 0.1, "{p}");
}

#[test]
fn constants_and_ties_are_no_tail() {
    let mut tail = Tail::new(1_000, 0.0);
    for _ in 0..5_000 {
        tail.add(0.0);
    }
    assert!(tail.p(0.0) > 0.4, "{}", tail.p(0.0));
    assert!(tail.p(1.0) < 1e-6);
    assert!(tail.p(f64::NAN) == 1.0 && tail.p(f64::INFINITY) < 1e-6);
}
