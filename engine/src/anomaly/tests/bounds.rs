//! What is forgotten, what is refused, and texts.

use std::sync::Arc;
use std::time::Duration;

use arrow::array::AsArray;
use weir_anomaly::{Config, Method};

use super::series::{Row, batch, column, spec};
use crate::anomaly::{AnomalyFactory, AnomalySpec};
use crate::error::codes;
use crate::operator::OperatorFactory;
use crate::updating::harness::Fleet;

fn row(number: i64, key: &'static str) -> Row {
    Row {
        number,
        key: Some(key),
        time: Some(number),
        a: Some((number % 3) as f64),
        b: None,
    }
}

/// Whether each row that came out was of a warm-up.
fn warmups(fleet: &mut Fleet) -> Vec<bool> {
    let mut flags = Vec::new();
    for batch in fleet.take() {
        let verdicts = batch.columns().last().unwrap().as_struct();
        let flag = verdicts.column_by_name("warmup").unwrap();
        flags.extend(flag.as_boolean().iter().flatten());
    }
    flags
}

#[test]
fn a_model_that_no_row_touches_is_forgotten() {
    let spec = spec(Method::Ewma, &["a"]);
    let ttl = Some(Duration::from_secs(10));
    let factory = AnomalyFactory::try_new(spec.clone(), 1, ttl, "rows".into()).unwrap();
    let mut fleet = Fleet::new(Arc::new(factory), spec.partition, 1, 100);
    let mut number = 0;
    let mut feed = |fleet: &mut Fleet, key| {
        let rows: Vec<Row> = (number..number + 15)
            .map(|number| row(number, key))
            .collect();
        number += 15;
        fleet.rows(&batch(&rows));
        fleet.watermark(number * 1_000);
        warmups(fleet).contains(&false)
    };
    assert!(!feed(&mut fleet, "a"), "the warm-up is of 20 rows");
    assert!(!feed(&mut fleet, "b"));
    fleet.tick(9_000_000);
    assert!(feed(&mut fleet, "a"));
    fleet.tick(12_000_000);
    fleet.tick(18_000_000);
    assert!(feed(&mut fleet, "a"), "it was touched in between");
    assert!(!feed(&mut fleet, "b"), "nothing is known of it");
}

#[test]
fn a_forgotten_model_stays_so_after_a_restart() {
    let spec = spec(Method::Ewma, &["a"]);
    let ttl = Some(Duration::from_secs(10));
    let factory = AnomalyFactory::try_new(spec.clone(), 1, ttl, "rows".into()).unwrap();
    let mut fleet = Fleet::new(Arc::new(factory), spec.partition, 1, 100);
    let rows: Vec<Row> = (0..30).map(|number| row(number, "a")).collect();
    fleet.rows(&batch(&rows));
    fleet.watermark(30_000);
    fleet.snapshot(crate::operator::Extent::All);
    assert!(warmups(&mut fleet).contains(&false));
    fleet.tick(20_000_000);
    fleet.restart(1);
    fleet.rows(&batch(&[row(40, "a")]));
    fleet.end();
    assert_eq!(warmups(&mut fleet), [true]);
}

#[test]
fn a_text_that_is_new_is_an_anomaly() {
    let mut spec = spec(Method::Rare, &["a"]);
    spec.values = vec![("key".to_owned(), column("key"))];
    spec.partition = Vec::new();
    let factory = AnomalyFactory::try_new(spec, 1, None, "rows".into()).unwrap();
    let mut fleet = Fleet::new(Arc::new(factory), Vec::new(), 1, 100);
    let name = |number| {
        if number == 300 {
            "new"
        } else {
            ["x", "y", "z"][number as usize % 3]
        }
    };
    let rows: Vec<Row> = (0..320).map(|number| row(number, name(number))).collect();
    fleet.rows(&batch(&rows));
    fleet.end();
    let mut found = Vec::new();
    for batch in fleet.take() {
        let verdicts = batch.columns().last().unwrap().as_struct();
        let flags = verdicts.column_by_name("is_anomaly").unwrap().as_boolean();
        let texts = batch.column(1).as_string::<i32>();
        let hits = (0..batch.num_rows()).filter(|row| flags.value(*row));
        found.extend(hits.map(|row| texts.value(row).to_owned()));
    }
    assert_eq!(found, ["new"]);
}

#[test]
fn what_makes_no_sense_is_refused() {
    let refused = |change: &dyn Fn(&mut AnomalySpec)| {
        let mut spec = spec(Method::Ewma, &["a"]);
        change(&mut spec);
        let error = AnomalyFactory::try_new(spec, 1, None, "rows".into()).unwrap_err();
        assert_eq!(error.code(), codes::ANOMALY, "{error}");
    };
    refused(&|spec| spec.config.sensitivity = 1.0);
    refused(&|spec| spec.values.clear());
    refused(&|spec| spec.values = vec![("key".to_owned(), column("key"))]);
    refused(&|spec| spec.time = column("a"));
}

#[test]
fn the_state_is_of_what_is_judged_and_not_of_when_it_is_told() {
    let print = |change: &dyn Fn(&mut AnomalySpec)| {
        let mut spec = spec(Method::Ewma, &["a"]);
        change(&mut spec);
        let factory = AnomalyFactory::try_new(spec, 1, None, "rows".into()).unwrap();
        factory.fingerprint().unwrap()
    };
    let own = print(&|_| ());
    assert_eq!(own, print(&|spec| spec.config.sensitivity = 0.999));
    assert_eq!(own, print(&|spec| spec.config.debounce_rows = 0));
    assert_ne!(own, print(&|spec| spec.config = Config::new(Method::Iqr)));
    assert_ne!(own, print(&|spec| spec.partition = Vec::new()));
    assert_ne!(
        own,
        print(&|spec| spec.values = vec![("b".to_owned(), column("b"))])
    );
    assert_ne!(own, print(&|spec| spec.config.memory_rows = 500));
}
