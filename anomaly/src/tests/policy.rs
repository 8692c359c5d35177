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

/// A model whose anomalies can be named, with the marks of those that it has told of a series.
fn told(config: Config, values: &[f64]) -> (Model, Vec<u64>) {
    let mut model = model(Config {
        remembers: true,
        ..config
    });
    let verdicts = values.iter().enumerate();
    let verdicts = verdicts.map(|(row, value)| model.observe(row as i64 * 60, &[*value]));
    let marks = verdicts
        .filter(|verdict| verdict.is_anomaly)
        .map(|verdict| verdict.mark);
    let marks = marks.collect();
    (model, marks)
}

fn alarms(model: &mut Model, from: usize, values: &[f64]) -> usize {
    let rows = values.iter().enumerate();
    let verdicts = rows.map(|(row, value)| model.observe((from + row) as i64 * 60, &[*value]));
    verdicts.filter(|verdict| verdict.is_anomaly).count()
}

#[test]
fn false_alarms_make_alarms_rarer_for_a_while() {
    let values = gaussian(6, 50_000);
    let after = |told_of: &dyn Fn(&mut Model, &[u64]), rows: std::ops::Range<usize>| {
        let config = Config {
            memory_rows: 5_000,
            ..plain(Method::Ewma)
        };
        let (mut model, marks) = told(config, &values[..10_000]);
        told_of(&mut model, &marks);
        alarms(&mut model, 10_000, &values[10_000..rows.start]);
        alarms(&mut model, rows.start, &values[rows])
    };
    let false_alarms = |model: &mut Model, marks: &[u64]| {
        let last = marks.iter().rev().take(3);
        let taken = last
            .filter(|mark| model.feedback(**mark, Feedback::FalsePositive, 1))
            .count();
        assert_eq!(taken, 3);
    };
    let asked = after(&|_, _| (), 10_000..12_000);
    let fewer = after(&false_alarms, 10_000..12_000);
    assert!(fewer * 2 < asked, "{fewer} of {asked}");
    let later = |told_of| after(told_of, 45_000..50_000);
    assert_eq!(later(&false_alarms), later(&|_, _| ()), "it decays");
    // Right ones bring alarms back at once.
    let back = after(
        &|model, marks| {
            false_alarms(model, marks);
            for mark in marks.iter().rev().skip(3).take(10) {
                assert!(model.feedback(*mark, Feedback::TruePositive, 2));
            }
        },
        10_000..12_000,
    );
    assert!(back * 2 > asked, "{back} of {asked}");
    // Ever so many false alarms don't switch the model off.
    let (mut model, marks) = told(plain(Method::Ewma), &values[..10_000]);
    for at in 1..1_000 {
        let mut taken = marks
            .iter()
            .map(|mark| model.feedback(*mark, Feedback::FalsePositive, at));
        assert!(taken.any(|taken| taken));
    }
    assert!(model.observe(10_000 * 60, &[1e6]).is_anomaly);
}

#[test]
fn feedback_is_taken_once_also_by_a_restored_model() {
    let mut values = gaussian(7, 2_000);
    values[1_500] = 40.0;
    let config = Config {
        remembers: true,
        sensitivity: 0.9999,
        ..plain(Method::Ewma)
    };
    let (mut model, marks) = told(config.clone(), &values);
    let mark = *marks.last().unwrap();
    assert!(
        !model.feedback(mark ^ 1, Feedback::FalsePositive, 5),
        "another one"
    );
    assert!(model.feedback(mark, Feedback::FalsePositive, 5));
    let once = model.snapshot();
    assert!(!model.feedback(mark, Feedback::FalsePositive, 5), "again");
    assert!(!model.feedback(mark, Feedback::TruePositive, 4), "older");
    let mut restored = Model::restore(Arc::new(config), &once).unwrap();
    assert!(!restored.feedback(mark, Feedback::FalsePositive, 5));
    assert_eq!(restored.snapshot(), once);
    assert!(
        restored.feedback(mark, Feedback::TruePositive, 6),
        "a later word"
    );
}

#[test]
fn what_is_expected_is_told_no_more_and_what_is_wrong_is_not_learned() {
    let mut values = gaussian(8, 3_000);
    let config = Config {
        remembers: true,
        sensitivity: 0.9999,
        ..plain(Method::RobustZ)
    };
    values[2_000] = 40.0;
    let (model, marks) = told(config, &values[..2_001]);
    let mark = *marks.last().unwrap();
    let said = |feedback: Feedback| {
        let mut model = model.clone();
        assert!(model.feedback(mark, feedback, 1));
        model
    };
    let told_of = |model: &mut Model, value: f64| model.observe(2_001 * 60, &[value]).is_anomaly;
    assert!(told_of(&mut model.clone(), 41.0));
    assert!(!told_of(&mut said(Feedback::Expected), 41.0), "one like it");
    assert!(told_of(&mut said(Feedback::Expected), 60.0), "another one");
    assert!(
        told_of(&mut said(Feedback::Expected), -41.0),
        "on the other side"
    );
    assert!(told_of(&mut said(Feedback::TruePositive), 41.0));
    // An incident that goes on is learned, unless one like it is known.
    let learned = |mut model: Model| {
        let row = |row: i64| (2_001 + row) * 60;
        (0..60).for_each(|at| drop(model.observe(row(at), &[40.0])));
        model.observe(row(60), &[0.0]).expected
    };
    assert!(learned(model.clone()) > 30.0);
    assert!(learned(said(Feedback::TruePositive)) < 5.0);
    // What lasts longer is the new normal all the same.
    let mut lasts = said(Feedback::TruePositive);
    (0..400).for_each(|at| drop(lasts.observe((2_001 + at) * 60, &[40.0])));
    assert!(!lasts.observe(2_401 * 60, &[40.0]).is_anomaly);
}

#[test]
fn remembered_anomalies_are_few_and_answered_ones_stay() {
    let mut model = model(Config {
        remembers: true,
        allowed: (0.0, 1.0),
        warmup_rows: 0,
        ..plain(Method::Fixed)
    });
    let first = model.observe(0, &[5.0]).mark;
    assert!(model.feedback(first, Feedback::Expected, 1));
    let second = model.observe(1, &[100.0]).mark;
    let bytes = model.state_bytes();
    for row in 2..10_000 {
        model.observe(row, &[1_000.0 + row as f64]);
    }
    assert!(model.state_bytes() < bytes + 4_000);
    assert!(
        !model.feedback(second, Feedback::Expected, 2),
        "it is forgotten"
    );
    assert!(!model.observe(10_000, &[5.1]).is_anomaly);
    assert!(model.feedback(first, Feedback::TruePositive, 2));
    assert!(model.observe(10_001, &[5.1]).is_anomaly);
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
