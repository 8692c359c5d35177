//! Feedback: whatever the batches, restarts, subtasks and memory, each model takes what was said of its anomalies once.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, RecordBatch, StringArray, TimestampMicrosecondArray};
use parking_lot::Mutex;
use rand::Rng;
use rand::rngs::StdRng;
use weir_anomaly::{Feedback, Method, Model};

use super::operator::{feed, fleet, said};
use super::series::{Row, batch, column, in_order, random_rows, spec, text};
use crate::anomaly::{
    ANOMALY_ID, AnomalySpec, FEEDBACK, FeedbackLog, SortedJudge, feedback_schema,
};
use crate::error::Result;
use crate::history::History;
use crate::updating::harness::{Stopped, parallelisms, seeds};

/// The table as files in memory.
#[derive(Debug, Default)]
struct Files(Mutex<BTreeMap<String, Vec<RecordBatch>>>);

impl History for Files {
    fn files(&self, table: &str) -> Result<Vec<String>> {
        assert_eq!(table, FEEDBACK);
        Ok(self.0.lock().keys().cloned().collect())
    }

    fn add(&self, _table: &str, file: &str, rows: &[RecordBatch]) -> Result<()> {
        self.0.lock().insert(file.to_owned(), rows.to_vec());
        Ok(())
    }

    fn read(&self, _table: &str, file: &str) -> Result<Vec<RecordBatch>> {
        Ok(self.0.lock().get(file).cloned().unwrap_or_default())
    }
}

fn rows_of(said: &[(String, Feedback)], at: i64) -> RecordBatch {
    let text = |text: &dyn Fn(&(String, Feedback)) -> String| -> ArrayRef {
        Arc::new(StringArray::from_iter_values(said.iter().map(text)))
    };
    let times = TimestampMicrosecondArray::from(vec![at; said.len()]).with_timezone("UTC");
    let columns = vec![
        text(&|(id, _)| id.clone()),
        text(&|_| "m".to_owned()),
        text(&|(_, feedback)| feedback.word().to_owned()),
        Arc::new(times),
    ];
    RecordBatch::try_new(feedback_schema(), columns).unwrap()
}

fn named(log: &Arc<FeedbackLog>) -> AnomalySpec {
    let mut spec = spec(Method::RobustZ, &["a"]);
    spec.config.debounce_rows = 0;
    spec.model = Some(("m".to_owned(), Arc::clone(log)));
    spec
}

/// The ids of anomalies by the numbers of their rows, as sorted rows have them.
fn ids(spec: &AnomalySpec, rows: &[Row]) -> BTreeMap<i64, String> {
    let mut sorted = in_order(spec, rows);
    sorted.sort_by_key(|row| row.key);
    let judged = SortedJudge::try_new(spec.clone())
        .unwrap()
        .judge(&batch(&sorted))
        .unwrap();
    let verdicts = judged.columns().last().unwrap().as_struct();
    let ids = verdicts
        .column_by_name(ANOMALY_ID)
        .unwrap()
        .as_string::<i32>();
    let told = sorted.iter().zip(ids.iter());
    told.filter_map(|(row, id)| Some((row.number, id?.to_owned())))
        .collect()
}

/// What models say that are used directly and are told at once what was said of a row.
fn expected(
    spec: &AnomalySpec,
    rows: &[Row],
    said: &BTreeMap<i64, Feedback>,
) -> BTreeMap<i64, Option<String>> {
    let mut config = spec.config.clone();
    config.remembers = true;
    let config = Arc::new(config);
    let mut models: BTreeMap<Option<&str>, Model> = BTreeMap::new();
    let untimed = rows.iter().filter(|row| row.time.is_none());
    let mut verdicts: BTreeMap<_, _> = untimed.map(|row| (row.number, None)).collect();
    for row in in_order(spec, rows) {
        let new = || Model::new(Arc::clone(&config)).unwrap();
        let model = models.entry(row.key).or_insert_with(new);
        let values = [row.a.unwrap_or(f64::NAN)];
        let verdict = model.observe(row.time.unwrap() * 1_000, &values);
        if let Some(feedback) = said.get(&row.number).filter(|_| verdict.is_anomaly) {
            assert!(model.feedback(verdict.mark, *feedback, 7));
        }
        verdicts.insert(row.number, Some(text(&verdict, &["a".to_owned()])));
    }
    verdicts
}

fn any(rng: &mut StdRng) -> Feedback {
    let all = [
        Feedback::Expected,
        Feedback::FalsePositive,
        Feedback::TruePositive,
    ];
    all[rng.random_range(0..3)]
}

#[test]
fn what_was_said_before_is_known_when_the_anomaly_is_told() {
    let changed = Cell::new(0);
    seeds(|seed, rng| {
        let files = Arc::new(Files::default());
        let log = Arc::new(FeedbackLog::new(Arc::new(Stopped)));
        log.set_stores(vec![Arc::clone(&files) as _]);
        let spec = named(&log);
        let rows = random_rows(rng, 600, 20);
        let ids = ids(&spec, &rows);
        let chosen = ids.keys().filter(|_| rng.random_bool(0.4)).copied();
        let chosen: Vec<i64> = chosen.collect();
        let said_of: BTreeMap<i64, Feedback> = chosen.iter().map(|row| (*row, any(rng))).collect();
        let told: Vec<_> = said_of
            .iter()
            .map(|(row, f)| (ids[row].clone(), *f))
            .collect();
        files.add(FEEDBACK, "1", &[rows_of(&told, 7)]).unwrap();
        // Said twice, of others' anomalies, and of none.
        let other = (
            "0123456789abcdef0123456789abcdef".to_owned(),
            Feedback::Expected,
        );
        let nobody = ("ähm".to_owned(), Feedback::Expected);
        let again = [told, vec![other, nobody]].concat();
        files.add(FEEDBACK, "2", &[rows_of(&again, 7)]).unwrap();
        log.set_stores(vec![Arc::clone(&files) as _]);
        let answer = expected(&spec, &rows, &said_of);
        let without = expected(&spec, &rows, &BTreeMap::new());
        changed.set(changed.get() + usize::from(answer != without));
        let (before, after) = parallelisms(seed);
        let mut fleet = fleet(&spec, before, 7);
        if seed % 3 == 0 {
            fleet = fleet.with_memory(before.max(after) * (20 << 10));
        }
        feed(&mut fleet, rng, &rows, (before, after));
        assert_eq!(said(&fleet.take()), answer, "SEED={seed}");
    });
    assert!(
        changed.get() > 5,
        "nothing that was said has changed a verdict"
    );
}

#[test]
fn a_running_model_takes_it_once_through_restarts() {
    seeds(|seed, rng| {
        let files = Arc::new(Files::default());
        let log = Arc::new(FeedbackLog::new(Arc::new(Stopped)));
        let look = || log.set_stores(vec![Arc::clone(&files) as _]);
        look();
        let mut spec = named(&log);
        spec.partition = vec![column("key")];
        let rows = random_rows(rng, 900, 0);
        let timed: Vec<Row> = rows
            .iter()
            .filter(|row| row.time.is_some())
            .cloned()
            .collect();
        let (first, second) = timed.split_at(timed.len() / 2);
        let ids = ids(&spec, first);
        // One false alarm of one key: the last one that it has told.
        let last = |key| {
            first
                .iter()
                .rev()
                .find(|r| r.key == key && ids.contains_key(&r.number))
        };
        let Some(alarm) = last(Some("a")) else {
            return;
        };
        let (before, after) = parallelisms(seed);
        let mut fleet = fleet(&spec, before, 7);
        fleet.rows(&batch(first));
        fleet.watermark(i64::MAX / 4);
        let id = ids[&alarm.number].clone();
        files
            .add(
                FEEDBACK,
                "1",
                &[rows_of(&[(id, Feedback::FalsePositive)], 7)],
            )
            .unwrap();
        look();
        fleet.tick(1);
        for turn in 0..3 {
            if rng.random() {
                fleet.snapshot(crate::operator::Extent::Changes);
            }
            fleet.restart([after, before][turn % 2]);
            look();
            fleet.tick(2);
        }
        drop(fleet.take());
        // The bound of the risk is told by no column, but a score and its probability have it: score =
        // surprise / (surprise - log10 risk).
        let mut later: Vec<Row> = second.to_vec();
        for row in &mut later {
            row.time = row.time.map(|time| time + (i64::MAX / 4) / 1_000);
        }
        fleet.rows(&batch(&later));
        fleet.end();
        let keys: BTreeMap<i64, Option<&str>> = later.iter().map(|r| (r.number, r.key)).collect();
        let mut seen = 0;
        for rows in fleet.take() {
            for (row, risk) in risks(&rows) {
                let asked = 1.0 - spec.config.sensitivity;
                let factor = if keys[&row] == Some("a") { 0.5 } else { 1.0 };
                // It decays by a 20,000th per row.
                assert!((risk / asked - factor).abs() < 0.02, "SEED={seed}: {risk}");
                seen += 1;
            }
        }
        assert!(seen > 100);
    });
}

/// The risk by which each row was judged.
fn risks(rows: &RecordBatch) -> Vec<(i64, f64)> {
    use arrow::datatypes::{Float64Type, Int64Type};
    let verdicts = rows.columns().last().unwrap().as_struct();
    let column = |name: &str| {
        verdicts
            .column_by_name(name)
            .unwrap()
            .as_primitive::<Float64Type>()
    };
    let (score, p) = (column("score"), column("p_value"));
    let numbers = rows.column(0).as_primitive::<Int64Type>();
    let rows = (0..rows.num_rows()).filter(|row| score.value(*row) > 0.05);
    rows.map(|row| {
        let surprise = -p.value(row).log10();
        (
            numbers.value(row),
            10_f64.powf(surprise - surprise / score.value(row)),
        )
    })
    .collect()
}
