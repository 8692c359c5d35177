//! State: bounded, restorable, and not ruined by what comes.

use std::sync::Arc;

use proptest::prelude::*;

use super::{gaussian, methods, model, plain};
use crate::{Config, Error, Method, Model, Verdicts};

/// Verdicts as text: NaN is then equal to itself, and every bit of a float counts.
fn bits(verdicts: &Verdicts) -> String {
    format!("{verdicts:?}")
}

/// Values of every kind that a series may bring.
fn values() -> impl Strategy<Value = Vec<f64>> {
    let value = prop_oneof![
        10 => -10.0..10.0_f64,
        3 => Just(1.0),
        1 => -1e9..1e9_f64,
        1 => proptest::num::f64::ANY,
    ];
    proptest::collection::vec(value, 0..700)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(8))]

    #[test]
    fn a_restored_model_goes_on_as_the_saved_one(values in values(), cut in 0.0..1.0_f64) {
        let cut = (values.len() as f64 * cut) as usize;
        for method in Method::all() {
            let config = Arc::new(Config { allowed: (-5.0, 5.0), debounce_rows: 7, ..Config::new(method) });
            let times: Vec<i64> = (0..values.len() as i64).map(|row| row * 60).collect();
            let mut whole = Model::new(Arc::clone(&config)).unwrap();
            let mut expected = Verdicts::default();
            whole.observe_batch(&times, &[&values], &mut expected);

            let mut found = Verdicts::default();
            let mut first = Model::new(Arc::clone(&config)).unwrap();
            first.observe_batch(&times[..cut], &[&values[..cut]], &mut found);
            let mut second = Model::restore(Arc::clone(&config), &first.snapshot()).unwrap();
            second.observe_batch(&times[cut..], &[&values[cut..]], &mut found);
            prop_assert!(bits(&found) == bits(&expected), "{:?}", method);
            prop_assert!(second.snapshot() == whole.snapshot(), "{:?}", method);
        }
    }

    #[test]
    fn the_size_of_batches_does_not_matter(values in values(), batch in 1_usize..100) {
        for method in Method::all() {
            let config = Arc::new(Config { columns: 2, ..Config::new(method) });
            let times: Vec<i64> = (0..values.len() as i64).collect();
            let other: Vec<f64> = values.iter().rev().copied().collect();
            let (mut one, mut many) = (Verdicts::default(), Verdicts::default());
            let mut model = Model::new(Arc::clone(&config)).unwrap();
            model.observe_batch(&times, &[&values, &other], &mut one);
            let mut model = Model::new(config).unwrap();
            for start in (0..values.len()).step_by(batch) {
                let end = (start + batch).min(values.len());
                let rows = start..end;
                model.observe_batch(&times[rows.clone()], &[&values[rows.clone()], &other[rows]], &mut many);
            }
            prop_assert!(bits(&one) == bits(&many), "{:?}", method);
        }
    }

    #[test]
    fn damaged_bytes_are_an_error_and_never_a_panic(
        values in values(), place in 0.0..1.0_f64, byte in any::<u8>(), cut in 0.0..1.0_f64
    ) {
        for method in Method::all() {
            let config = Arc::new(Config::new(method));
            let mut model = Model::new(Arc::clone(&config)).unwrap();
            for (row, value) in values.iter().enumerate() {
                model.observe(row as i64, &[*value]);
            }
            let mut bytes = model.snapshot();
            let short = &bytes[..(bytes.len() as f64 * cut) as usize];
            prop_assert!(Model::restore(Arc::clone(&config), short).is_err());
            let place = (bytes.len() as f64 * place) as usize;
            bytes[place] = byte;
            if let Ok(mut model) = Model::restore(config, &bytes) {
                for row in 0..50 {
                    model.observe(10_000 + row, &[1.0]);
                }
            }
        }
    }
}

#[test]
fn state_comes_to_a_rest() {
    // What a detector keeps for a season is made when one is found.
    let season = |row: usize| (row as f64 / 50.0 * std::f64::consts::TAU).sin();
    for method in Method::all() {
        let rows = match method {
            Method::Auto | Method::Forest | Method::HalfSpace | Method::Neighbours => 60_000,
            Method::Stl | Method::Esd | Method::MatrixProfile => 30_000,
            Method::ChangePoint | Method::Spectral | Method::Adwin | Method::Kswin => 100_000,
            Method::Autoregressive | Method::Ecod | Method::Copod | Method::Mahalanobis => 100_000,
            _ => 1_000_000,
        };
        let mut model = model(plain(method));
        let mut most = 0;
        let mut at_a_tenth = 0;
        for (row, noise) in gaussian(1, rows).into_iter().enumerate() {
            model.observe(row as i64 * 60, &[noise + season(row)]);
            most = most.max(model.state_bytes() * usize::from(row % 1_000 == 0));
            if row == rows / 10 {
                at_a_tenth = most.max(model.state_bytes());
            }
        }
        assert!(
            most as f64 <= at_a_tenth as f64 * 1.25,
            "{method:?}: {at_a_tenth} then {most}"
        );
        assert!(model.snapshot().len() <= model.state_bytes(), "{method:?}");
    }
}

#[test]
fn a_million_keys_of_a_cheap_detector_fit_in_a_gigabyte() {
    let cheap = [
        Method::Ewma,
        Method::Change,
        Method::Rate,
        Method::Cusum,
        Method::PageHinkley,
        Method::Extreme,
        Method::Fixed,
    ];
    for method in cheap {
        let mut model = model(plain(method));
        for (row, value) in gaussian(2, 50_000).into_iter().enumerate() {
            model.observe(row as i64, &[value]);
        }
        assert!(
            model.state_bytes() < 1_000,
            "{method:?}: {}",
            model.state_bytes()
        );
    }
}

#[test]
fn wild_values_ruin_no_model() {
    for method in methods() {
        let mut model = model(plain(method));
        let wild = [
            f64::NAN,
            f64::INFINITY,
            f64::NEG_INFINITY,
            1e300,
            -1e300,
            f64::MIN_POSITIVE,
            -0.0,
        ];
        let mut time = 0;
        for (row, value) in gaussian(3, 12_000).into_iter().enumerate() {
            time += 60;
            if row == 1_000 {
                for value in wild {
                    model.observe(time, &[value]);
                }
            }
            let verdict = model.observe(time, &[value]);
            assert!(
                (0.0..=1.0).contains(&verdict.p_value),
                "{method:?} {verdict:?}"
            );
            assert!(
                (0.0..=1.0).contains(&verdict.score),
                "{method:?} {verdict:?}"
            );
        }
        // It still sees what it is for; those of windows see a lasting change.
        let alarms = (0..100)
            .filter(|row| model.observe(time + row, &[1e4]).is_anomaly)
            .count();
        assert!(alarms > 0 || method == Method::Extreme, "{method:?}");
    }
}

#[test]
fn a_constant_is_normal_and_its_end_is_not() {
    for method in methods() {
        let mut model = model(Config {
            sensitivity: 0.999,
            ..plain(method)
        });
        let mut alarms = 0;
        for row in 0..1_500 {
            alarms += usize::from(model.observe(row, &[42.0]).is_anomaly);
        }
        assert_eq!(alarms, 0, "{method:?}");
        let ended = (1_500..1_600).any(|row| model.observe(row, &[43.0]).is_anomaly);
        // The spectrum of a step has its peak before the end of the window.
        assert!(ended || method == Method::Spectral, "{method:?}");
    }
}

#[test]
fn no_rows_and_missing_rows_are_no_trouble() {
    for method in Method::all() {
        let mut model = model(plain(method));
        let mut out = Verdicts::default();
        model.observe_batch(&[], &[&[]], &mut out);
        assert!(out.is_empty());
        model.observe_batch(&[1, 2, 3], &[&[f64::NAN; 3]], &mut out);
        assert_eq!(out.len(), 3);
        assert!(out.p_value.iter().all(|p| *p == 1.0));
        let config = Arc::new(plain(method));
        assert!(Model::restore(config, &model.snapshot()).is_ok());
    }
}

#[test]
fn a_state_is_restored_into_its_own_configuration_only() {
    let bytes = model(plain(Method::Ewma)).snapshot();
    let other = |config: Config| Model::restore(Arc::new(config), &bytes).map(|_| ());
    assert_eq!(
        other(Config {
            sensitivity: 0.9,
            ..plain(Method::Ewma)
        }),
        Ok(())
    );
    assert_eq!(other(plain(Method::Iqr)), Err(Error::OtherConfiguration));
    assert_eq!(
        other(Config {
            columns: 2,
            ..plain(Method::Ewma)
        }),
        Err(Error::OtherConfiguration)
    );
    let mut newer = bytes.clone();
    newer[0] = 9;
    let restored = Model::restore(Arc::new(plain(Method::Ewma)), &newer);
    assert_eq!(restored.map(|_| ()), Err(Error::Version(9)));
    assert_eq!(
        Model::restore(Arc::new(plain(Method::Ewma)), &[]).map(|_| ()),
        Err(Error::Truncated)
    );
}

#[test]
fn chance_follows_from_the_seed() {
    for method in [
        Method::Forest,
        Method::Neighbours,
        Method::HalfSpace,
        Method::Auto,
    ] {
        let run = |seed: u64| {
            let mut model = model(Config {
                seed,
                samples: 64,
                ..plain(method)
            });
            let rows = gaussian(4, 1_000).into_iter().enumerate();
            rows.map(|(row, value)| model.observe(row as i64, &[value]).p_value)
                .collect::<Vec<_>>()
        };
        assert_eq!(run(1), run(1));
        assert_ne!(run(1), run(2), "{method:?}");
    }
}
