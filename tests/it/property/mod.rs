//! The property that everything stands on: for random rows in the watermark's bound and random
//! queries, the same rows come out whatever the mode, the parallelism, the size of the batches and
//! the place of the sink, and they are the rows that DataFusion's own batch SQL gives.
//!
//! Each case prints its seed. `SEED=123 cargo test --test it property` runs that case alone, in
//! every combination; `CASES=500` runs more of them.

mod each_rule;
mod expression;
mod input;
mod lateness;
mod odd;
mod oracle;
mod pairs;
mod query;
mod relation;
mod resume;
mod run;
mod streams;
mod timed;
mod updating;

use std::time::Instant;

use arrow::array::RecordBatch;
use arrow::util::display::{ArrayFormatter, FormatOptions};
use futures::TryStreamExt as _;
use object_store::local::LocalFileSystem;
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt as _};
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use rand::rngs::StdRng;
use rand::seq::IndexedRandom as _;
use rand::{Rng as _, SeedableRng as _};

use crate::program::{Place, block_on};
use crate::servers::minio::Minio;
use input::Input;
use oracle::Oracle;
use query::Query;

/// Cases of an ordinary run, chosen so that both tests end within some minutes on two cores.
const CASES: u64 = 60;
/// Combinations that one case runs in, drawn at random, unless a seed is given.
const COMBINATIONS: usize = 4;

/// One way to run a script.
#[derive(Debug, Clone, Copy)]
struct Way {
    mode: &'static str,
    parallelism: u32,
    batch_rows: usize,
}

/// Where the sink is.
enum Target<'a> {
    Local,
    S3 { minio: &'a Minio, bucket: &'a str },
}

fn ways() -> Vec<Way> {
    let mut ways = Vec::new();
    for mode in ["batch", "streaming"] {
        for parallelism in [1, 2, 5] {
            for batch_rows in [1, 7, 8192] {
                ways.push(Way {
                    mode,
                    parallelism,
                    batch_rows,
                });
            }
        }
    }
    ways
}

#[test]
fn same_rows_on_the_local_disk() {
    check(0x10ca1, &|_| Target::Local);
}

#[test]
fn same_rows_on_s3() {
    let minio = Minio::shared();
    let bucket = minio.bucket();
    check(0x53, &|_| Target::S3 {
        minio: &minio,
        bucket: &bucket,
    });
}

fn check<'a>(salt: u64, target: &dyn Fn(u64) -> Target<'a>) {
    if let Some(seed) = number("SEED") {
        run_case(seed, &ways(), target);
        return;
    }
    let mut seeds = StdRng::seed_from_u64(number("BASE_SEED").unwrap_or(20_261_121) ^ salt);
    for _ in 0..number("CASES").unwrap_or(CASES) {
        let seed = u64::from(seeds.random::<u32>());
        let drawn: Vec<Way> = ways()
            .choose_multiple(&mut seeds, COMBINATIONS)
            .copied()
            .collect();
        run_case(seed, &drawn, target);
    }
}

/// A number from the environment.
fn number(name: &str) -> Option<u64> {
    let text = std::env::var(name).ok()?;
    Some(text.parse().unwrap())
}

fn run_case<'a>(seed: u64, ways: &[Way], target: &dyn Fn(u64) -> Target<'a>) {
    let start = Instant::now();
    let mut random = StdRng::seed_from_u64(seed);
    let input = Input::random(&mut random);
    // Several sinks read the same source, each by a query of its own.
    let sinks = *[1, 1, 1, 2, 3].choose(&mut random).unwrap();
    let queries: Vec<Query> = (0..sinks)
        .map(|_| Query::random(&mut random, &input))
        .collect();
    println!("SEED={seed} rows={} {}", input.rows(), input.format);
    let oracle = Oracle::new(&[&input]);
    let expected: Vec<_> = queries
        .iter()
        .map(|query| lines(&oracle.run(&query.oracle)))
        .collect();
    for (query, expected) in queries.iter().zip(&expected) {
        println!("  {} rows by {}", expected.len(), query.weir);
    }
    for (number, way) in ways.iter().enumerate() {
        let place = Place::new();
        input.write(&place);
        let run = Run {
            seed,
            number,
            way: *way,
            target: &target(seed),
        };
        for (found, expected) in run.run(&place, &input, &queries).iter().zip(&expected) {
            let found = lines(found);
            assert!(
                found == *expected,
                "SEED={seed} {way:?}: {} rows, expected {}\n{}\nscript:\n{}",
                found.len(),
                expected.len(),
                difference(&found, expected),
                std::fs::read_to_string(place.path().join("script.sql")).unwrap(),
            );
        }
    }
    println!("  {} ways in {:.1?}", ways.len(), start.elapsed());
}

/// One run of a case.
struct Run<'a> {
    seed: u64,
    number: usize,
    way: Way,
    target: &'a Target<'a>,
}

impl Run<'_> {
    /// The folder of a sink, within the bucket or the place.
    fn folder(&self, sink: usize) -> String {
        format!("out-{}-{}/{sink}", self.seed, self.number)
    }

    fn script(&self, input: &Input, queries: &[Query]) -> String {
        let mut script = input.source();
        for (sink, query) in queries.iter().enumerate() {
            let folder = self.folder(sink);
            let place = match self.target {
                Target::Local => format!("connector = 'file', path = '{folder}'"),
                Target::S3 { minio, bucket } => {
                    let options = minio.options();
                    format!("connector = 's3', path = 's3://{bucket}/{folder}', {options}")
                }
            };
            script.push_str(&format!(
                "\nCREATE SINK s{sink} WITH ({place}, format = 'parquet'{}) AS\n{};",
                query.sink_options, query.weir
            ));
        }
        script
    }

    /// Runs the queries and reads back what each sink holds.
    fn run(&self, place: &Place, input: &Input, queries: &[Query]) -> Vec<Vec<RecordBatch>> {
        let (seed, way) = (self.seed, self.way);
        let script = self.script(input, queries);
        let (parallelism, batch_rows) = (way.parallelism.to_string(), way.batch_rows.to_string());
        let mut flags = vec!["--mode", way.mode, "--summary", "json"];
        flags.extend(["--parallelism", &parallelism, "--batch-rows", &batch_rows]);
        let ended = place.run(&script, &flags);
        assert_eq!(
            ended.code, 0,
            "SEED={seed} {way:?}\n{script}\n{}",
            ended.err
        );
        let summary = ended.summary();
        let context = format!("SEED={seed} {way:?}\n{script}\n{summary}");
        assert_eq!(summary["adds_up"], true, "{context}");
        assert_eq!(summary["sources"][0]["late"].as_u64(), Some(0), "{context}");
        let mut all = Vec::new();
        for sink in 0..queries.len() {
            let folder = self.folder(sink);
            let batches = match self.target {
                Target::Local => {
                    let local = LocalFileSystem::new_with_prefix(place.path()).unwrap();
                    read_back(&local, &folder)
                }
                Target::S3 { minio, bucket } => read_back(&minio.store(bucket), &folder),
            };
            let rows: usize = batches.iter().map(RecordBatch::num_rows).sum();
            let name = format!("s{sink}");
            let told = summary["sinks"]
                .as_array()
                .unwrap()
                .iter()
                .find(|s| s["name"] == *name);
            assert_eq!(
                told.unwrap()["rows"].as_u64(),
                Some(rows as u64),
                "{context}"
            );
            all.push(batches);
        }
        all
    }
}

/// Reads all Parquet files below a folder; a file that is no Parquet is a half file.
pub(crate) fn read_back(store: &dyn ObjectStore, folder: &str) -> Vec<RecordBatch> {
    block_on(async {
        let prefix = Path::from(folder);
        let objects: Vec<_> = store.list(Some(&prefix)).try_collect().await.unwrap();
        let mut batches = Vec::new();
        for object in objects {
            let name = object.location.to_string();
            assert!(name.ends_with(".parquet"), "{name} was left behind");
            let bytes = store
                .get(&object.location)
                .await
                .unwrap()
                .bytes()
                .await
                .unwrap();
            let reader = ParquetRecordBatchReaderBuilder::try_new(bytes)
                .unwrap()
                .build()
                .unwrap();
            batches.extend(reader.map(|batch| batch.unwrap()));
        }
        batches
    })
}

/// Turns rows into sorted text: a multiset that does not care about representation.
fn lines(batches: &[RecordBatch]) -> Vec<String> {
    let options = FormatOptions::default().with_null("NULL");
    let mut lines = Vec::new();
    for batch in batches {
        let columns: Vec<_> = batch
            .columns()
            .iter()
            .map(|c| ArrayFormatter::try_new(c, &options).unwrap())
            .collect();
        for row in 0..batch.num_rows() {
            let values: Vec<_> = columns.iter().map(|c| c.value(row).to_string()).collect();
            lines.push(values.join(" | "));
        }
    }
    lines.sort();
    lines
}

/// Shows the first rows that are only in one of two sorted lists.
fn difference(found: &[String], expected: &[String]) -> String {
    let count = |lines: &[String]| {
        let mut counts = std::collections::BTreeMap::<String, i64>::new();
        for line in lines {
            *counts.entry(line.clone()).or_default() += 1;
        }
        counts
    };
    let mut counts = count(found);
    for (line, times) in count(expected) {
        *counts.entry(line).or_default() -= times;
    }
    let mut text = String::new();
    for (line, times) in counts.iter().filter(|(_, times)| **times != 0).take(12) {
        let what = if *times > 0 { "too many" } else { "missing" };
        text.push_str(&format!("  {what} ({}): {line}\n", times.abs()));
    }
    text
}
