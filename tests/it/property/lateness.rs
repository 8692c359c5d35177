//! Late rows: rows that are further behind than the watermark allows are taken in by windows with
//! `allowed_lateness`, or are kept aside, each once, and the results are those of all other rows.

use std::collections::{BTreeMap, BTreeSet};

use arrow::array::{Array as _, AsArray as _};
use object_store::local::LocalFileSystem;
use rand::rngs::StdRng;
use rand::seq::IndexedRandom as _;
use rand::{Rng as _, SeedableRng as _};
use weir::summary::Summary;

use super::input::Input;
use super::oracle::Oracle;
use super::query::Window;
use super::run::{Runs, Way};
use super::streams::sessions;
use super::{difference, lines, number, read_back};
use crate::program::Place;

/// Cases of an ordinary run.
const CASES: u64 = 8;

fn for_seeds(salt: u64, check: impl Fn(u64, &mut StdRng)) {
    let run = |seed| {
        println!("SEED={seed}");
        check(seed, &mut StdRng::seed_from_u64(seed));
    };
    if let Some(seed) = number("SEED") {
        return run(seed);
    }
    let mut seeds = StdRng::seed_from_u64(number("BASE_SEED").unwrap_or(20_261_121) ^ salt);
    for _ in 0..number("CASES").unwrap_or(CASES) {
        run(u64::from(seeds.random::<u32>()));
    }
}

/// Rows that are late by up to a minute, since the watermark follows the latest of them at once.
fn late_input(name: &'static str, random: &mut StdRng, rows: usize) -> Input {
    let span = *[120, 600].choose(random).unwrap();
    loop {
        let mut input = Input::of(name, random, rows, span);
        if input.delay() >= 60 {
            input.declared_delay = 0;
            return input;
        }
    }
}

/// Of batches that are large, hardly a row is late: those of one batch are judged together.
fn random_way(random: &mut StdRng) -> Way {
    Way {
        parallelism: random.random_range(1..=3),
        batch_rows: *[1, 1, 7].choose(random).unwrap(),
    }
}

/// Puts inputs into a place; gives how the pipeline is run there.
fn begin<'a>(place: &'a Place, inputs: &[&Input], random: &mut StdRng) -> Runs<'a> {
    inputs.iter().for_each(|input| input.write(place));
    Runs {
        place,
        way: random_way(random),
    }
}

/// Runs a pipeline that keeps a query's rows as `m`; gives its script and its summary.
fn keep(runs: &Runs<'_>, input: &Input, query: &str) -> (String, Summary) {
    let source = input.source();
    let script = format!("{source}CREATE MATERIALIZED VIEW m AS {query};");
    let summary = runs
        .run(&script)
        .unwrap_or_else(|e| panic!("{e}\n{script}"));
    (script, summary)
}

/// Compares what `m` has with the answer.
fn is_kept(runs: &Runs<'_>, expected: &[String], seed: u64, script: &str) {
    let found = runs.read("SELECT * FROM m;");
    assert!(
        found == expected,
        "SEED={seed} {:?}\n{}\n{script}",
        runs.way,
        difference(&found, expected)
    );
}

const QUERY: &str = "SELECT window_start, window_end, k1, count(*) AS n, sum(v) AS s, max(id) AS last FROM # \
                     GROUP BY window_start, window_end, k1";

#[test]
fn windows_take_late_rows_in() {
    for_seeds(0x1a7e, |seed, random| {
        let input = late_input("t", random, 300);
        let window = Window::random(random, input.span);
        let most = input.delay();
        let emit = *["", " EMIT ON UPDATE", " EMIT EVERY INTERVAL '5ms'"]
            .choose(random)
            .unwrap();
        let place = Place::new();
        let runs = begin(&place, &[&input], random);
        let mut from = format!(
            "{} WITH (allowed_lateness = '{most} seconds')",
            window.weir("t")
        );
        if random.random_bool(0.3) {
            // Rows get their windows before they are aggregated.
            from = format!("(SELECT * FROM {from} WHERE window_end > window_start)");
        }
        let (script, summary) = keep(
            &runs,
            &input,
            &format!("{}{emit}", QUERY.replace('#', &from)),
        );
        assert!(summary.adds_up, "{summary:?}");
        assert_eq!(summary.dead_letters, [], "SEED={seed}\n{script}");
        let oracle = Oracle::new(&[&input]);
        let expected = lines(&oracle.run(&QUERY.replace('#', &window.oracle())));
        is_kept(&runs, &expected, seed, &script);
    });
}

#[test]
fn rows_that_are_too_late_are_kept_aside() {
    for_seeds(0x1a7f, |seed, random| {
        let input = late_input("t", random, 300);
        let size = random.random_range(1..=input.span / 4);
        let lateness = random.random_range(0..=input.delay());
        let emit = *["", "", " EMIT ON UPDATE"].choose(random).unwrap();
        let place = Place::new();
        let runs = begin(&place, &[&input], random);
        let from = format!(
            "TUMBLE(t, ts, INTERVAL '{size} seconds') WITH (allowed_lateness = '{lateness} seconds')"
        );
        let (script, summary) = keep(
            &runs,
            &input,
            &format!("{}{emit}", QUERY.replace('#', &from)),
        );
        let late = letters(&runs, &summary);
        let late = late.get("t").cloned().unwrap_or_default();
        println!("  {} of {} rows are late", late.len(), input.rows());
        let oracle = Oracle::new(&[&input]);
        let from = format!(
            "(SELECT *, date_bin(INTERVAL '{size} seconds', ts) AS window_start,
              date_bin(INTERVAL '{size} seconds', ts) + INTERVAL '{size} seconds' AS window_end
              FROM t WHERE id NOT IN ({}))",
            listed(&late)
        );
        let expected = lines(&oracle.run(&QUERY.replace('#', &from)));
        is_kept(&runs, &expected, seed, &script);
    });
}

/// Sessions that late rows lengthen, join and reopen are those of all rows.
#[test]
fn sessions_take_late_rows_in() {
    for_seeds(0x1a81, |seed, random| {
        let input = late_input("t", random, 300);
        let gap = format!("INTERVAL '{} seconds'", random.random_range(1..=60));
        let most = input.delay();
        let emit = *["", " EMIT ON UPDATE", " EMIT EVERY INTERVAL '5ms'"]
            .choose(random)
            .unwrap();
        let place = Place::new();
        let runs = begin(&place, &[&input], random);
        let from = format!("SESSION(t, ts, {gap}, k1) WITH (allowed_lateness = '{most} seconds')");
        let (script, summary) = keep(
            &runs,
            &input,
            &format!("{}{emit}", QUERY.replace('#', &from)),
        );
        assert!(summary.adds_up, "{summary:?}");
        assert_eq!(summary.dead_letters, [], "SEED={seed}\n{script}");
        let oracle = Oracle::new(&[&input]);
        let expected = lines(&oracle.run(&QUERY.replace('#', &sessions("t", "k1", &gap))));
        is_kept(&runs, &expected, seed, &script);
    });
}

/// Each row is in one session or is late, and sessions of one key are apart.
#[test]
fn sessions_lose_no_row() {
    for_seeds(0x1a82, |seed, random| {
        let input = late_input("t", random, 300);
        let gap = random.random_range(1..=60);
        let lateness = random.random_range(0..=input.delay() / 2);
        let emit = *["", " EMIT ON UPDATE"].choose(random).unwrap();
        let place = Place::new();
        let runs = begin(&place, &[&input], random);
        let from = format!(
            "SESSION(t, ts, INTERVAL '{gap} seconds', k1)
             WITH (allowed_lateness = '{lateness} seconds')"
        );
        let (script, summary) = keep(
            &runs,
            &input,
            &format!("{}{emit}", QUERY.replace('#', &from)),
        );
        let late = letters(&runs, &summary);
        let late = late.get("t").map_or(0, BTreeSet::len);
        println!("  {late} of {} rows are late", input.rows());
        let context = format!("SEED={seed} {:?}\n{script}\n{summary:?}", runs.way);
        let sum = runs.read("SELECT sum(n) FROM m;").concat();
        let sum: usize = sum.parse().unwrap_or_else(|_| panic!("{sum}: {context}"));
        assert_eq!(sum + late, input.rows(), "{context}");
        let same = runs
            .read("SELECT k1, window_start FROM m GROUP BY k1, window_start HAVING count(*) > 1;");
        assert_eq!(same, [""; 0], "{context}");
    });
}

/// Each row of the left side comes out, with matches or without, or is late.
#[test]
fn joins_lose_no_row() {
    for_seeds(0x1a80, |seed, random| {
        let inputs = ["t", "u"].map(|name| late_input(name, random, 150));
        let near = random.random_range(1..=30);
        let window = format!("INTERVAL '{} seconds'", random.random_range(5..60));
        let place = Place::new();
        let runs = begin(&place, &inputs.each_ref(), random);
        let interval = format!(
            "b.ts BETWEEN a.ts - INTERVAL '{near} seconds' AND a.ts + INTERVAL '{near} seconds'"
        );
        let windows = "a.window_start = b.window_start AND a.window_end = b.window_end";
        let query = |a: &str, b: &str, on: &str| {
            format!(
                "SELECT a.id AS i, b.id AS j FROM {a} a LEFT JOIN {b} b ON a.k2 = b.k2 AND {on}"
            )
        };
        let tumble = |table: &str| format!("(SELECT * FROM TUMBLE({table}, ts, {window}))");
        let binned = |table: &str| {
            format!(
                "(SELECT *, date_bin({window}, ts) AS window_start,
                  date_bin({window}, ts) + {window} AS window_end FROM {table})"
            )
        };
        let (weir, twin) = match random.random_bool(0.5) {
            true => (query("t", "u", &interval), query("t", "u", &interval)),
            false => (
                query(&tumble("t"), &tumble("u"), windows),
                query(&binned("t"), &binned("u"), windows),
            ),
        };
        let sources: String = inputs.iter().map(Input::source).collect();
        let script = format!("{sources}CREATE MATERIALIZED VIEW m AS {weir};");
        let summary = runs
            .run(&script)
            .unwrap_or_else(|e| panic!("{e}\n{script}"));
        let late = letters(&runs, &summary);
        let late = late.get("t").cloned().unwrap_or_default();
        println!("  {} rows of the left side are late", late.len());
        let context = format!("SEED={seed} {:?}\n{script}\n{summary:?}", runs.way);
        let given = runs.read("SELECT DISTINCT i FROM m;");
        let missing = runs.read(&format!(
            "SELECT i FROM m WHERE i IN ({}) LIMIT 1;",
            listed(&late)
        ));
        assert_eq!(missing, [""; 0], "late and there: {context}");
        assert_eq!(given.len() + late.len(), inputs[0].rows(), "{context}");
        let pairs: BTreeSet<String> = lines(&Oracle::new(&inputs.each_ref()).run(&twin))
            .into_iter()
            .collect();
        let found = runs.read("SELECT i, j FROM m WHERE j IS NOT NULL;");
        let wrong: Vec<_> = found.iter().filter(|pair| !pairs.contains(*pair)).collect();
        assert!(wrong.is_empty(), "{wrong:?} are no pairs: {context}");
    });
}

fn listed(ids: &BTreeSet<i64>) -> String {
    let ids = ids.iter().map(i64::to_string);
    let all: Vec<String> = ids.chain(["-1".to_owned()]).collect();
    all.join(", ")
}

/// The ids of the late rows of each source; the summary says the same of them.
fn letters(runs: &Runs<'_>, summary: &Summary) -> BTreeMap<String, BTreeSet<i64>> {
    let local = LocalFileSystem::new_with_prefix(runs.place.path()).unwrap();
    let mut late = BTreeMap::<String, BTreeSet<i64>>::new();
    let mut count = 0;
    for batch in read_back(&local, "state/dead_letters") {
        let text = |name: &str| {
            batch
                .column_by_name(name)
                .unwrap()
                .as_string::<i32>()
                .clone()
        };
        let (sources, reasons) = (text("source"), text("reason"));
        let raw = batch.column_by_name("raw").unwrap().as_binary::<i32>();
        for row in 0..batch.num_rows() {
            assert_eq!(reasons.value(row), "late");
            assert!(raw.is_valid(row));
            let row_of: serde_json::Value = serde_json::from_slice(raw.value(row)).unwrap();
            let id = row_of["id"].as_i64();
            let id = id.unwrap_or_else(|| panic!("no id in {row_of}"));
            let ids = late.entry(sources.value(row).to_owned()).or_default();
            assert!(
                ids.insert(id),
                "row {row_of} of {} is late twice: {summary:?}",
                sources.value(row)
            );
            count += 1;
        }
    }
    assert!(summary.adds_up, "{summary:?}");
    let told: u64 = summary.sources.iter().map(|source| source.late).sum();
    let counted: u64 = summary
        .dead_letters
        .iter()
        .map(|letters| letters.rows)
        .sum();
    assert_eq!((told, counted), (count, count), "{late:?} {summary:?}");
    late
}
