//! Random series of several keys, and what models say of them that are used directly.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, Float64Array, Int64Array, RecordBatch, StringArray,
    TimestampMillisecondArray,
};
use arrow::compute::SortOptions;
use arrow::datatypes::{DataType, Field, Float64Type, Int64Type, Schema, SchemaRef, TimeUnit};
use arrow::util::display::{ArrayFormatter, FormatOptions};
use datafusion_physical_expr::PhysicalExpr;
use datafusion_physical_expr::expressions::col;
use rand::Rng;
use rand::rngs::StdRng;
use weir_anomaly::{Config, Learn, Method, Model, Verdict};

use crate::anomaly::AnomalySpec;

/// One row: its number tells it apart.
#[derive(Debug, Clone)]
pub(super) struct Row {
    pub(super) number: i64,
    pub(super) key: Option<&'static str>,
    /// Milliseconds.
    pub(super) time: Option<i64>,
    pub(super) a: Option<f64>,
    pub(super) b: Option<f64>,
}

pub(super) fn input() -> SchemaRef {
    Arc::new(Schema::new(vec![
        Field::new("number", DataType::Int64, false),
        Field::new("key", DataType::Utf8, true),
        Field::new(
            "time",
            DataType::Timestamp(TimeUnit::Millisecond, None),
            true,
        ),
        Field::new("a", DataType::Float64, true),
        Field::new("b", DataType::Float64, true),
    ]))
}

pub(super) fn column(name: &str) -> Arc<dyn PhysicalExpr> {
    col(name, &input()).unwrap()
}

pub(super) fn batch(rows: &[Row]) -> RecordBatch {
    let columns: Vec<ArrayRef> = vec![
        Arc::new(rows.iter().map(|r| Some(r.number)).collect::<Int64Array>()),
        Arc::new(rows.iter().map(|r| r.key).collect::<StringArray>()),
        Arc::new(
            rows.iter()
                .map(|r| r.time)
                .collect::<TimestampMillisecondArray>(),
        ),
        Arc::new(rows.iter().map(|r| r.a).collect::<Float64Array>()),
        Arc::new(rows.iter().map(|r| r.b).collect::<Float64Array>()),
    ];
    RecordBatch::try_new(input(), columns).unwrap()
}

/// By key, of one or two values, with ties broken by the number or by arrival.
pub(super) fn spec(method: Method, values: &[&str]) -> AnomalySpec {
    let mut config = Config::new(method);
    (config.warmup_rows, config.debounce_rows) = (20, 3);
    config.sensitivity = 0.95;
    AnomalySpec {
        input: input(),
        partition: vec![column("key")],
        time: column("time"),
        ties: Vec::new(),
        values: values
            .iter()
            .map(|name| ((*name).to_owned(), column(name)))
            .collect(),
        config,
        model: None,
        column: "verdict".to_owned(),
    }
}

pub(super) fn random_spec(rng: &mut StdRng) -> AnomalySpec {
    let methods = [
        Method::Ewma,
        Method::Auto,
        Method::Forest,
        Method::RobustZ,
        Method::Seasonal,
    ];
    let values: &[&str] = [&["a"][..], &["a", "b"]][rng.random_range(0..2)];
    let mut spec = spec(methods[rng.random_range(0..methods.len())], values);
    if rng.random() {
        spec.ties = vec![(column("number"), SortOptions::new(rng.random(), false))];
    }
    if rng.random_bool(0.3) {
        spec.config.learn = Learn::ExceptAnomalies;
    }
    spec
}

/// Rows whose times are at most `disorder` milliseconds behind those before.
pub(super) fn random_rows(rng: &mut StdRng, rows: usize, disorder: i64) -> Vec<Row> {
    let mut now = 1_000_000;
    let row = |number| {
        now += rng.random_range(0..3);
        let key =
            [Some("a"), Some("b"), Some("ccccccccccccccccccccc"), None][rng.random_range(0..4)];
        let wild = if rng.random_bool(0.02) { 50.0 } else { 0.0 };
        let time = now - rng.random_range(0..=disorder);
        Row {
            number,
            key,
            time: rng.random_bool(0.98).then_some(time),
            a: rng
                .random_bool(0.95)
                .then(|| rng.random_range(-1.0..1.0) + wild),
            b: rng
                .random_bool(0.95)
                .then(|| (time % 7) as f64 + rng.random_range(0.0..0.5)),
        }
    };
    (0..rows as i64).map(row).collect()
}

/// What a verdict says, in full.
pub(super) fn text(verdict: &Verdict, names: &[String]) -> String {
    let number = |number: f64| match number.is_finite() {
        true => format!("{number:?}"),
        false => "-".to_owned(),
    };
    let shares: Vec<String> = names
        .iter()
        .zip(&verdict.contribution)
        .map(|(name, share)| format!("{name}: {share:?}"))
        .collect();
    let numbers = [
        verdict.score,
        verdict.p_value,
        verdict.expected,
        verdict.lower,
        verdict.upper,
    ];
    format!(
        "{} {} {:?} {{{}}} {} {}",
        verdict.is_anomaly,
        numbers.map(number).join(" "),
        verdict.direction.signum(),
        shares.join(", "),
        verdict.is_warmup,
        verdict.is_suppressed,
    )
}

/// The same of a row that came out; `None` where there is no verdict.
pub(super) fn texts(batch: &RecordBatch) -> Vec<(i64, Option<String>)> {
    let numbers = batch.column(0).as_primitive::<Int64Type>();
    let verdicts = batch.columns().last().unwrap().as_struct();
    let flag = |name: &str, row| {
        verdicts
            .column_by_name(name)
            .unwrap()
            .as_boolean()
            .value(row)
    };
    let number = |name: &str, row: usize| {
        let column = verdicts
            .column_by_name(name)
            .unwrap()
            .as_primitive::<Float64Type>();
        match column.is_valid(row) {
            true => format!("{:?}", column.value(row)),
            false => "-".to_owned(),
        }
    };
    let direction = |row: usize| {
        let column = verdicts
            .column_by_name("direction")
            .unwrap()
            .as_string::<i32>();
        match column.is_valid(row).then(|| column.value(row)) {
            Some("up") => 1,
            Some("down") => -1,
            other => other.map_or(0, |_| panic!("{other:?}")),
        }
    };
    let shares = |row: usize| {
        let map = verdicts.column_by_name("contribution").unwrap();
        let options = FormatOptions::default();
        let entries = map.as_map();
        if entries.is_null(row) {
            return "{}".to_owned();
        }
        let of = entries.value(row);
        let (names, values) = (of.column(0).as_string::<i32>(), of.column(1));
        let values = values.as_primitive::<Float64Type>();
        drop(ArrayFormatter::try_new(map, &options).unwrap());
        let pairs = names.iter().zip(values.values());
        let pairs: Vec<_> = pairs
            .map(|(n, v)| format!("{}: {v:?}", n.unwrap()))
            .collect();
        format!("{{{}}}", pairs.join(", "))
    };
    let names = ["score", "p_value", "expected", "lower", "upper"];
    (0..batch.num_rows())
        .map(|row| {
            let said = verdicts.is_valid(row).then(|| {
                format!(
                    "{} {} {:?} {} {} {}",
                    flag("is_anomaly", row),
                    names.map(|name| number(name, row)).join(" "),
                    direction(row),
                    shares(row),
                    flag("warmup", row),
                    flag("suppressed", row),
                )
            });
            (numbers.value(row), said)
        })
        .collect()
}

/// The rows with a time in the order in which they are to be judged: of rows of one time, those that came first, or
/// those that the spec says.
pub(super) fn in_order(spec: &AnomalySpec, rows: &[Row]) -> Vec<Row> {
    let mut rows: Vec<Row> = rows
        .iter()
        .filter(|row| row.time.is_some())
        .cloned()
        .collect();
    let sign = match spec.ties.first() {
        None => 0,
        Some((_, options)) if options.descending => -1,
        Some(_) => 1,
    };
    rows.sort_by_key(|row| (row.time, row.number * sign));
    rows
}

/// What models say that are used directly.
pub(super) fn expected(spec: &AnomalySpec, rows: &[Row]) -> BTreeMap<i64, Option<String>> {
    let mut config = spec.config.clone();
    config.columns = spec.values.len();
    let config = Arc::new(config);
    let names: Vec<String> = spec.values.iter().map(|(name, _)| name.clone()).collect();
    let mut models: BTreeMap<Option<&str>, Model> = BTreeMap::new();
    let untimed = rows.iter().filter(|row| row.time.is_none());
    let mut said: BTreeMap<_, _> = untimed.map(|row| (row.number, None)).collect();
    for row in in_order(spec, rows) {
        let model = models
            .entry(row.key)
            .or_insert_with(|| Model::new(Arc::clone(&config)).unwrap());
        let values: Vec<f64> = names
            .iter()
            .map(|name| if name == "a" { row.a } else { row.b })
            .map(|value| value.unwrap_or(f64::NAN))
            .collect();
        let verdict = model.observe(row.time.unwrap() * 1_000, &values);
        said.insert(row.number, Some(text(&verdict, &names)));
    }
    said
}
