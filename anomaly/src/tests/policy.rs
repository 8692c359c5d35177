//! Warm-up, debounce, learning, exclusion and feedback.

use super::{gaussian, judge, model, plain};
use crate::{Config, Exclusions, Feedback, Learn, Method, Model};
use std::sync::Arc;

#[test]
fn nothing_is_told_in_the_warmup() {
    let mut values = gaussian(1, 600);
    values[300] = 50.0;
    values[500] = 80.0;
    for config in [
        Config {
            warmup_rows: 400,
            ..plain(Method::Ewma)
        },
        Config {
            warmup_rows: 0,
            warmup_time: 400 * 60,
            ..plain(Method::Ewma)
        },
    ] {
        let verdicts = judge(config, &values);
        assert!(
            verdicts[..400]
                .iter()
                .all(|v| v.is_warmup && !v.is_anomaly && !v.is_suppressed)
        );
        assert!(!verdicts[400].is_warmup && verdicts[500].is_anomaly);
    }
}

#[test]
fn an_incident_is_told_once() {
    let mut values = gaussian(2, 1_000);
    values[800..820].iter_mut().for_each(|value| *value += 60.0);
    for config in [
        Config {
            debounce_rows: 50,
            sensitivity: 0.9999,
            ..plain(Method::Ewma)
        },
        Config {
            debounce_time: 50 * 60,
            sensitivity: 0.9999,
            ..plain(Method::Ewma)
        },
    ] {
        let verdicts = judge(config, &values);
        let told: Vec<usize> = (0..1_000).filter(|row| verdicts[*row].is_anomaly).collect();
        assert_eq!(told, [800]);
        assert!(verdicts[801].is_suppressed);
        assert!(!verdicts[800].is_suppressed);
    }
}

#[test]
fn an_incident_does_not_train_the_next_one_away() {
    let mut values = gaussian(3, 2_000);
    for start in [1_000, 1_200] {
        values[start..start + 60]
            .iter_mut()
            .for_each(|value| *value += 30.0);
    }
    let told = |learn: Learn| {
        let config = Config {
            learn,
            sensitivity: 0.9999,
            ..plain(Method::Ewma)
        };
        let verdicts = judge(config, &values);
        verdicts[1_200..1_260]
            .iter()
            .filter(|verdict| verdict.is_anomaly)
            .count()
    };
    assert!(told(Learn::Always) < 10, "{}", told(Learn::Always));
    assert_eq!(told(Learn::ExceptAnomalies), 60);
    assert_eq!(told(Learn::Frozen), 60);
}

#[test]
fn what_lasts_becomes_normal_unless_frozen() {
    let mut values = gaussian(4, 4_000);
    values[1_000..].iter_mut().for_each(|value| *value += 30.0);
    let last = |learn: Learn| {
        let config = Config {
            learn,
            rebaseline_rows: 50,
            sensitivity: 0.9999,
            ..plain(Method::RobustZ)
        };
        judge(config, &values)[3_000..]
            .iter()
            .filter(|verdict| verdict.is_anomaly)
            .count()
    };
    assert!(
        last(Learn::ExceptAnomalies) < 10,
        "{}",
        last(Learn::ExceptAnomalies)
    );
    assert_eq!(last(Learn::Frozen), 1_000);
}

#[test]
fn excluded_times_are_neither_told_nor_learned() {
    let mut values = gaussian(5, 2_000);
    values[1_000..1_100]
        .iter_mut()
        .for_each(|value| *value = 500.0);
    let exclude = Exclusions::new([(1_000 * 60, 1_099 * 60)]).unwrap();
    let verdicts = judge(
        Config {
            exclude,
            sensitivity: 0.999,
            ..plain(Method::Ewma)
        },
        &values,
    );
    assert!(
        verdicts[1_000..1_100]
            .iter()
            .all(|v| !v.is_anomaly && v.p_value == 1.0)
    );
    // The mean and the deviation are those of before.
    assert!(verdicts[1_100].expected.abs() < 0.5 && verdicts[1_100].upper < 10.0);
}

#[test]
fn false_alarms_make_alarms_rarer_and_right_ones_bring_them_back() {
    let values = gaussian(6, 20_000);
    let alarms = |told: &[Feedback]| {
        let mut model = model(plain(Method::Ewma));
        told.iter().for_each(|feedback| model.feedback(*feedback));
        let verdicts = values
            .iter()
            .enumerate()
            .map(|(row, value)| model.observe(row as i64, &[*value]));
        verdicts.filter(|verdict| verdict.is_anomaly).count()
    };
    let asked = alarms(&[]);
    let fewer = alarms(&[Feedback::FalsePositive; 2]);
    assert!(fewer * 2 < asked, "{fewer} of {asked}");
    assert_eq!(alarms(&[Feedback::Expected; 2]), fewer);
    let back = [
        &[Feedback::FalsePositive; 2][..],
        &[Feedback::TruePositive; 20],
    ]
    .concat();
    assert_eq!(alarms(&back), asked);
    // Ever so many false alarms don't switch the model off.
    let mut model = model(plain(Method::Ewma));
    (0..1_000).for_each(|_| model.feedback(Feedback::FalsePositive));
    for (row, value) in values.iter().enumerate() {
        model.observe(row as i64, &[*value]);
    }
    assert!(model.observe(20_000, &[1e6]).is_anomaly);
}

#[test]
fn a_configuration_out_of_bounds_is_refused_by_name() {
    let wrong = [
        (
            Config {
                columns: 0,
                ..plain(Method::Ewma)
            },
            "columns",
        ),
        (
            Config {
                sensitivity: 1.0,
                ..plain(Method::Ewma)
            },
            "sensitivity",
        ),
        (
            Config {
                sensitivity: f64::NAN,
                ..plain(Method::Ewma)
            },
            "sensitivity",
        ),
        (
            Config {
                samples: 5_000,
                ..plain(Method::Forest)
            },
            "samples",
        ),
        (
            Config {
                range: Some((1.0, 1.0)),
                ..plain(Method::Context)
            },
            "the range of values",
        ),
        (
            Config {
                allowed: (2.0, 1.0),
                ..plain(Method::Fixed)
            },
            "the allowed values",
        ),
        (
            Config {
                season: crate::Season::Rows(1),
                ..plain(Method::Seasonal)
            },
            "season",
        ),
    ];
    for (config, name) in wrong {
        let error = Model::new(Arc::new(config)).unwrap_err();
        assert!(error.to_string().starts_with(name), "{error}");
    }
    for method in Method::all() {
        assert_eq!(Method::from_name(&method.name().to_uppercase()), Ok(method));
    }
    assert!(Method::from_name("guess").is_err());
}
