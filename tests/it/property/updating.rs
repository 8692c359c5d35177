//! Results that change: random nested queries over random tables give, as a materialized view, as
//! what a subscription adds up to, and (where rows only come) in files, the rows of batch SQL.
//!
//! Each case prints its seed. `SEED=123 cargo test --test it updating` runs that case alone in every
//! combination; `CASES=500` runs more of them.

use std::time::Instant;

use rand::rngs::StdRng;
use rand::seq::IndexedRandom as _;
use rand::{Rng as _, SeedableRng as _};

use super::input::Input;
use super::oracle::Oracle;
use super::query::Query;
use super::relation::{Relation, Writer};
use super::run::{Runs, Way};
use super::{difference, lines, number};
use crate::program::Place;

/// Cases of an ordinary run: each takes about a second in a debug build.
const CASES: u64 = 8;
/// Queries of one case: one script holds them all.
const QUERIES: usize = 4;
/// The tables; the last has no watermark.
const TABLES: [&str; 4] = ["t", "u", "w", "dim"];

/// A query, its twin for the oracle, and what is known of its result.
pub(super) struct Case {
    pub(super) weir: String,
    pub(super) oracle: String,
    pub(super) appends: bool,
}

impl From<Relation> for Case {
    fn from(relation: Relation) -> Self {
        Self {
            weir: relation.weir,
            oracle: relation.oracle,
            appends: relation.appends,
        }
    }
}

impl From<Query> for Case {
    fn from(query: Query) -> Self {
        Self {
            weir: query.weir,
            oracle: query.oracle,
            appends: true,
        }
    }
}

/// The tables of a case with their rows.
pub(super) struct Tables(Vec<Input>);

impl Tables {
    /// Draws tables; one of them may be empty, and all may hold some rows twice.
    pub(super) fn random(random: &mut StdRng) -> Self {
        let span = *[10, 120, 3_600].choose(random).unwrap();
        let inputs = TABLES.map(|name| {
            let rows = *[0, 1, 20, 60, 60, 120].choose(random).unwrap();
            let mut input = Input::of(name, random, rows, span);
            input.watermark = name != "dim";
            if random.random_bool(0.5) {
                input.repeat_rows(random);
            }
            input
        });
        Self(inputs.into())
    }

    pub(super) fn oracle(&self) -> Oracle {
        Oracle::new(&self.0.iter().collect::<Vec<_>>())
    }

    pub(super) fn sources(&self) -> String {
        self.0.iter().map(Input::source).collect()
    }

    pub(super) fn write(&self, place: &Place) {
        self.0.iter().for_each(|input| input.write(place));
    }

    pub(super) fn inputs(&self) -> &[Input] {
        &self.0
    }
}

/// All ways in which a case can run.
pub(super) fn ways() -> Vec<Way> {
    let mut ways = Vec::new();
    for parallelism in [1, 2, 3] {
        for batch_rows in [1, 7, 8192] {
            ways.push(Way {
                parallelism,
                batch_rows,
            });
        }
    }
    ways
}

#[test]
fn changing_results_are_those_of_batch() {
    for_seeds(0xc4a, CASES, |random, oracle, _| {
        let depth = *[1, 2, 2, 3].choose(random).unwrap();
        Writer::new(random, oracle, &TABLES).relation(depth).into()
    });
}

/// Runs cases whose queries `draw` draws.
pub(super) fn for_seeds(
    salt: u64,
    cases: u64,
    draw: impl Fn(&mut StdRng, &Oracle, &Tables) -> Case,
) {
    if let Some(seed) = number("SEED") {
        return run_case(seed, &ways(), &draw);
    }
    let mut seeds = StdRng::seed_from_u64(number("BASE_SEED").unwrap_or(20_261_121) ^ salt);
    for _ in 0..number("CASES").unwrap_or(cases) {
        let seed = u64::from(seeds.random::<u32>());
        let way = *ways().choose(&mut seeds).unwrap();
        run_case(seed, &[way], &draw);
    }
}

fn run_case(seed: u64, ways: &[Way], draw: &impl Fn(&mut StdRng, &Oracle, &Tables) -> Case) {
    let start = Instant::now();
    let mut random = StdRng::seed_from_u64(seed);
    println!("SEED={seed}");
    let tables = Tables::random(&mut random);
    let oracle = tables.oracle();
    let cases: Vec<Case> = (0..QUERIES)
        .map(|_| draw(&mut random, &oracle, &tables))
        .collect();
    let expected: Vec<Vec<String>> = cases
        .iter()
        .map(|case| lines(&oracle.run(&case.oracle)))
        .collect();
    for (case, expected) in cases.iter().zip(&expected) {
        println!("  {} rows by {}", expected.len(), case.weir);
    }
    for way in ways {
        let place = Place::new();
        tables.write(&place);
        let runs = Runs {
            place: &place,
            way: *way,
        };
        check(&runs, &tables.sources(), &cases, &expected);
    }
    println!("  {} ways in {:.1?}", ways.len(), start.elapsed());
}

/// The statements that keep the result of each query.
pub(super) fn script(sources: &str, cases: &[Case]) -> String {
    let mut script = sources.to_owned();
    for (at, case) in cases.iter().enumerate() {
        script.push_str(&format!(
            "CREATE MATERIALIZED VIEW m{at} AS {};\n",
            case.weir
        ));
        if case.appends {
            script.push_str(&format!(
                "CREATE SINK s{at} WITH (connector = 'file', format = 'parquet', \
                 path = '${{WEIR_TEST_DIR:-.}}/out{at}') AS {};\n",
                case.weir
            ));
        }
    }
    script
}

fn check(runs: &Runs<'_>, sources: &str, cases: &[Case], expected: &[Vec<String>]) {
    let script = script(sources, cases);
    let summary = runs
        .run(&script)
        .unwrap_or_else(|error| panic!("{error}\n{script}"));
    assert!(summary.adds_up, "{summary:?}\n{script}");
    assert!(
        summary.sources.iter().all(|source| source.late == 0),
        "{summary:?}\n{script}"
    );
    for (at, (case, expected)) in cases.iter().zip(expected).enumerate() {
        let same = |found: Vec<String>, place: &str| {
            assert!(
                found == *expected,
                "{place}, {:?}: {} rows, expected {}\n{}\n{}",
                runs.way,
                found.len(),
                expected.len(),
                difference(&found, expected),
                case.weir
            );
        };
        same(runs.read(&format!("SELECT * FROM m{at};")), "the view");
        same(runs.subscribed(sources, &case.weir), "the subscription");
        if case.appends {
            same(runs.written(&format!("out{at}")), "the files");
        }
    }
}
