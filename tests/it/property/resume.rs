//! Stop and go on: a pipeline that is stopped in the middle of its input, as often as it takes, and goes
//! on with another parallelism each time and with a script that has changed, ends with the rows of one
//! run, in its views and in its files.

use std::time::{Duration, Instant};

use rand::rngs::StdRng;
use rand::seq::IndexedRandom as _;
use rand::{Rng as _, SeedableRng as _};
use tokio::sync::watch;
use weir::embed::Program;
use weir::failure::Failure;
use weir::summary::{Ending, Summary};
use weir_engine::job::Stop;

use super::oracle::Oracle;
use super::relation::Writer;
use super::run::{Runs, Way};
use super::timed::{Draw, random_case};
use super::updating::{Case, Tables, script};
use super::{difference, lines, number};
use crate::program::Place;

/// Cases of an ordinary run.
const CASES: u64 = 6;
/// Queries of one case, besides the one that the script has only at first.
const QUERIES: usize = 3;
/// How often a pipeline is stopped at most.
const STOPS_MAX: usize = 3;

#[test]
fn stopped_pipelines_go_on() {
    let mut stops = 0;
    if let Some(seed) = number("SEED") {
        stops += run_case(seed);
    } else {
        let mut seeds = StdRng::seed_from_u64(number("BASE_SEED").unwrap_or(20_261_121) ^ 0x5709);
        for _ in 0..number("CASES").unwrap_or(CASES) {
            stops += run_case(u64::from(seeds.random::<u32>()));
        }
    }
    assert!(
        number("SEED").is_some() || stops > 0,
        "no pipeline was stopped before its end"
    );
}

/// A query over the tables, or over a window of one.
fn any_case(random: &mut StdRng, oracle: &Oracle, span: i64) -> Case {
    if random.random_bool(0.5) {
        let depth = random.random_range(1..=2);
        let mut writer = Writer::new(random, oracle, &["t", "u", "w", "dim"]);
        return writer.relation(depth).into();
    }
    random_case(&mut Draw { random, span })
}

/// Gives how often the pipeline was stopped before its end.
fn run_case(seed: u64) -> usize {
    let start = Instant::now();
    println!("SEED={seed}");
    let mut random = StdRng::seed_from_u64(seed);
    let tables = Tables::random(&mut random);
    let oracle = tables.oracle();
    let span = tables.inputs()[0].span;
    let mut cases: Vec<Case> = (0..=QUERIES)
        .map(|_| any_case(&mut random, &oracle, span))
        .collect();
    let place = Place::new();
    tables.write(&place);
    let rows: usize = tables.inputs().iter().map(|input| input.rows()).sum();
    let sources = format!(
        "SET pipeline.checkpoint_interval = '{}ms';\n{}",
        [20, 100_000].choose(&mut random).unwrap(),
        tables.sources()
    );
    let first = script(&sources, &cases);
    cases.pop();
    let changed = script(&sources, &cases);
    let (mut stops, mut is_there) = (0, true);
    let summary = loop {
        let way = Way {
            parallelism: random.random_range(1..=3),
            // Small batches, so that there is a middle.
            batch_rows: 1,
        };
        let runs = Runs { place: &place, way };
        let text = if stops == 0 { &first } else { &changed };
        let target = match stops < STOPS_MAX {
            true => random.random_range(0..=rows as u64),
            false => u64::MAX,
        };
        let summary = runs.run_until(text, target);
        println!("  {way:?} {:?} {}", summary.ending, summary.rows_in);
        let said = &summary.checkpoints.as_ref().unwrap().notes;
        let told = said.iter().any(|note| {
            note.contains(&format!("view/m{QUERIES}")) && note.contains("the script has it no more")
        });
        // Who is stopped before anything is kept has nothing to drop, and leaves it to the next run.
        if told {
            assert!(is_there && stops > 0, "{said:?}");
        } else {
            assert!(stops != 1 || said.is_empty(), "{said:?}");
        }
        is_there = stops == 0 || is_there && summary.rows_in == 0;
        if summary.ending != Ending::Stopped {
            break summary;
        }
        stops += 1;
    };
    assert!(summary.adds_up, "{summary:?}\n{changed}");
    let runs = Runs {
        place: &place,
        way: Way {
            parallelism: 1,
            batch_rows: 8192,
        },
    };
    compare(
        &runs,
        &cases,
        &oracle,
        &format!("SEED={seed} after {stops} stops"),
    );
    println!("  {stops} stops in {:.1?}", start.elapsed());
    stops
}

/// Holds what the pipelines kept and wrote against the right rows.
fn compare(runs: &Runs<'_>, cases: &[Case], oracle: &Oracle, of: &str) {
    for (at, case) in cases.iter().enumerate() {
        let expected = lines(&oracle.run(&case.oracle));
        let same = |found: Vec<String>, what: &str| {
            assert!(
                found == expected,
                "{of}: {what}: {} rows, expected {}\n{}\n{}",
                found.len(),
                expected.len(),
                difference(&found, &expected),
                case.weir
            );
        };
        same(runs.read(&format!("SELECT * FROM m{at};")), "the view");
        if case.appends {
            same(runs.written(&format!("out{at}")), "the files");
        }
    }
}

impl Runs<'_> {
    /// Runs a script until so many rows are read, or to its end.
    pub(super) fn run_until(&self, script: &str, rows: u64) -> Summary {
        let failed = |failure: Failure| -> Summary {
            panic!("{}\n{script}", failure.error().unwrap().report(None))
        };
        self.try_run_until(script, rows).unwrap_or_else(failed)
    }

    fn try_run_until(&self, script: &str, rows: u64) -> Result<Summary, Failure> {
        let (mut program, statements) = Program::load(script, &self.options())?;
        let (stop, _) = watch::channel(Stop::Run);
        for statement in &statements {
            program.execute(statement, &mut Vec::new(), &stop)?;
        }
        let pipeline = program.pipeline(&stop)?.unwrap();
        let job = program.start(pipeline, stop.clone())?;
        if rows != u64::MAX {
            // Not all tables need be read by a query: what does not go on has been read.
            let mut last = (0, Instant::now());
            while last.0 < rows && last.1.elapsed() < Duration::from_millis(500) {
                let read = job.snapshot().rows;
                if read != last.0 {
                    last = (read, Instant::now());
                }
                std::thread::yield_now();
            }
            stop.send_replace(Stop::Drain);
        }
        program.host().block_on(job.finish(|_| ())).unwrap()
    }
}
