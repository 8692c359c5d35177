//! Anomalies: every detector on the labelled series of the Numenta Anomaly Benchmark, and what it costs.

use std::path::PathBuf;
use std::sync::Arc;

use clap::Args;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use weir_anomaly::{Config, Method, Model, Verdicts};

use super::Suite;
use crate::clock;
use crate::failure::{During, Result};
use crate::nab::choice::{self, Validated};
use crate::nab::score::{PROFILES, Scored};
use crate::nab::series::{self, Series};
use crate::report::Report;
use crate::settings::Settings;
use crate::statistics::median;

/// What the benchmark publishes for the reference detector on the shipped files, per profile.
const REFERENCE: [f64; 3] = [49.40, 36.63, 56.24];
/// How far the scorer may be from it.
const REFERENCE_TOLERANCE: f64 = 0.01;
/// What the default reaches at least on the shipped files, standard profile, without and with the file's range.
const GOAL: f64 = 60.0;
const GOAL_WITH_RANGE: f64 = 70.0;
/// Million values per second and core of cheap detectors, and bytes of state of their keys.
const CHEAP_SPEED: f64 = 5.0;
const CHEAP_BYTES: usize = 1_000;
/// Where a score begins to be an anomaly.
const ALARM: f64 = 0.5;
/// Cheap detectors.
const CHEAP: [Method; 7] = [
    Method::Ewma,
    Method::Fixed,
    Method::Change,
    Method::Rate,
    Method::Cusum,
    Method::PageHinkley,
    Method::Extreme,
];

/// The suite `anomaly`.
#[derive(Debug, Args)]
pub(crate) struct Anomaly {
    /// A folder of series laid out as NAB's, with a windows.json, instead of the shipped ones
    #[arg(long)]
    folder: Option<PathBuf>,

    /// Values of the generated series that speed is measured on; slow detectors take a share of them
    #[arg(long, default_value_t = 2_000_000, value_parser = clap::value_parser!(u64).range(10_000..=100_000_000))]
    values: u64,
}

impl Suite for Anomaly {
    const NAME: &'static str = "anomaly";
    const ABOUT: &'static str =
        "Detectors of anomalies on the labelled series of the Numenta Anomaly Benchmark";

    fn run(&self, settings: &Settings) -> Result<bool> {
        let all = match &self.folder {
            Some(folder) => series::folder(folder)?,
            None => series::shipped()?,
        };
        let windows: usize = all.iter().map(|series| series.windows.len()).sum();
        let about = format!(
            "{} series of the Numenta Anomaly Benchmark with {windows} windows; one configuration for all files, \
             rows in order and no look-ahead",
            all.len()
        );
        let mut report = Report::new(Self::NAME, about, settings);
        if self.folder.is_none() {
            prove_scorer(&mut report, &all);
        }
        let methods: Vec<Method> = Method::all()
            .filter(|method| settings.wants_case(method.name()))
            // Bounds are given by someone who knows the series, and texts have none here.
            .filter(|method| !matches!(method, Method::Fixed | Method::Rare))
            .collect();
        self.score(&mut report, &all, &methods)?;
        let speeds = Method::all().filter(|method| settings.wants_case(method.name()));
        self.measure(&mut report, &speeds.collect::<Vec<_>>(), settings.runs)?;
        report.finish()
    }
}

impl Anomaly {
    fn score(&self, report: &mut Report, all: &[Series], methods: &[Method]) -> Result<()> {
        let mut rows = Vec::new();
        let mut validated = Vec::new();
        for method in methods {
            for with_range in [false, true] {
                if with_range && !matches!(method, Method::Auto | Method::Context) {
                    continue;
                }
                let found = Scores::of(all, *method, with_range)?;
                let standard = found.best[0];
                if *method == Method::Auto && self.folder.is_none() {
                    let goal = if with_range { GOAL_WITH_RANGE } else { GOAL };
                    if standard < goal {
                        let text = format!(
                            "auto reaches {standard:.2} on the standard profile, not {goal}"
                        );
                        report.fault(text, true);
                    }
                }
                let name = name(*method, with_range);
                validated.push(validation_row(&name, &found.validated));
                rows.push(found.row(&name));
            }
        }
        let columns = [
            "detector",
            "standard",
            "low FP",
            "low FN",
            "standard, at its own threshold",
            "detections",
        ];
        let title = "Scores with the defaults of each detector, at the one best threshold for all files, \
                     which a stream would not know, and at the detector's own";
        report.table(title, &columns, rows);
        let columns = [
            "detector",
            "best sensitivity",
            "debounce",
            "score",
            "cross-validated",
            "from",
            "to",
            "± of folds",
        ];
        let title = "Sensitivity and debounce chosen by cross-validation over files, standard profile: \
                     5 folds, shuffled 20 times, each scored with what is best on the others";
        report.table(title, &columns, validated);
        Ok(())
    }

    fn measure(&self, report: &mut Report, methods: &[Method], runs: u32) -> Result<()> {
        let mut rows = Vec::new();
        for method in methods {
            let speed = Speed::of(*method, self.values, runs)?;
            let is_cheap = CHEAP.contains(method);
            if is_cheap && speed.millions < CHEAP_SPEED {
                // Other work on the machine slows a run: it is told, and is no wrong answer.
                report.fault(
                    format!("{}: {:.1} M values/s", method.name(), speed.millions),
                    false,
                );
            }
            if is_cheap && speed.bytes > CHEAP_BYTES {
                report.fault(
                    format!("{}: {} bytes per key", method.name(), speed.bytes),
                    true,
                );
            }
            rows.push(vec![
                method.name().to_owned(),
                format!("{:.3}", speed.millions),
                speed.bytes.to_string(),
                speed.snapshot.to_string(),
            ]);
        }
        let columns = [
            "detector",
            "M values/s/core",
            "bytes of state per key",
            "bytes in a checkpoint",
        ];
        report.table(
            "Speed on one core, in batches of 8,192 values, and state after all of them",
            &columns,
            rows,
        );
        Ok(())
    }
}

/// Says when the reference detector does not get its published score: then no score here is to be trusted.
fn prove_scorer(report: &mut Report, all: &[Series]) {
    let mut scored = Scored::default();
    for series in all {
        scored.add(&series.reference, &series.windows);
    }
    let found = PROFILES.map(|profile| scored.best(&profile).0);
    for ((profile, found), published) in PROFILES.iter().zip(found).zip(REFERENCE) {
        if (found - published).abs() >= REFERENCE_TOLERANCE {
            let text = format!(
                "the scorer is wrong: {found:.2} for the reference, {}: {published}",
                profile.name
            );
            report.fault(text, true);
        }
    }
    let row = std::iter::once("AWS Random Cut Forest".to_owned());
    let row = row
        .chain(found.map(|score| format!("{score:.2}")))
        .collect();
    let columns = ["reference", "standard", "low FP", "low FN"];
    report.table(
        "The scorer's proof: scores that NAB publishes, scored here",
        &columns,
        vec![row],
    );
}

fn name(method: Method, with_range: bool) -> String {
    match with_range {
        true => format!("{}, told the file's range", method.name()),
        false => method.name().to_owned(),
    }
}

/// What a detector reaches.
#[derive(Debug)]
struct Scores {
    best: [f64; 3],
    own: f64,
    detections: usize,
    validated: Validated,
}

impl Scores {
    fn of(all: &[Series], method: Method, with_range: bool) -> Result<Self> {
        let mut scored = Scored::default();
        let mut detections = 0;
        let mut probabilities = Vec::new();
        let mut warmup = 0;
        for series in all {
            let mut config = Config::new(method);
            config.range = series.range().filter(|_| with_range);
            warmup = config.warmup_rows as usize;
            let mut model = Model::new(Arc::new(config)).during("making a model")?;
            let mut verdicts = Verdicts::default();
            model.observe_batch(&series.times, &[&series.values], &mut verdicts);
            let told = |(is, score): (&bool, &f64)| if *is { *score } else { 0.0 };
            let scores: Vec<f64> = verdicts
                .is_anomaly
                .iter()
                .zip(&verdicts.score)
                .map(told)
                .collect();
            detections += verdicts.is_anomaly.iter().filter(|is| **is).count();
            scored.add(&scores, &series.windows);
            probabilities.push(verdicts.p_value);
        }
        let standard = &PROFILES[0];
        Ok(Self {
            best: PROFILES.map(|profile| scored.best(&profile).0),
            own: scored.at(standard, ALARM),
            detections,
            validated: choice::validate(all, &probabilities, warmup, standard),
        })
    }

    fn row(&self, name: &str) -> Vec<String> {
        let mut row = vec![name.to_owned()];
        row.extend(self.best.map(|score| format!("{score:.2}")));
        row.push(format!("{:.2}", self.own));
        row.push(self.detections.to_string());
        row
    }
}

fn validation_row(name: &str, found: &Validated) -> Vec<String> {
    let score = |score: f64| format!("{score:.2}");
    vec![
        name.to_owned(),
        found.best.sensitivity.to_string(),
        found.best.debounce.to_string(),
        score(found.best_score),
        score(found.mean),
        score(found.least),
        score(found.most),
        score(found.fold_deviation),
    ]
}

/// What a detector costs.
#[derive(Debug)]
struct Speed {
    millions: f64,
    bytes: usize,
    snapshot: usize,
}

impl Speed {
    fn of(method: Method, values: u64, runs: u32) -> Result<Self> {
        const BATCH: usize = 8_192;
        // Those that look at hundreds of examples per row need no more rows to be measured.
        let share = match method {
            Method::Auto | Method::Neighbours => 50,
            Method::Forest | Method::HalfSpace | Method::ChangePoint | Method::Spectral => 100,
            Method::Stl | Method::Esd | Method::MatrixProfile => 100,
            Method::RobustZ | Method::Iqr | Method::Kswin | Method::Adwin => 10,
            Method::Autoregressive | Method::Ecod | Method::Copod => 10,
            _ => 1,
        };
        let count = (values / share).max(10_000) as usize;
        let mut random = StdRng::seed_from_u64(1);
        // A day of minutes, with noise: a series as metrics are.
        let noisy = |row: usize| (row as f64 / 1440.0 * std::f64::consts::TAU).sin() * 10.0;
        let series: Vec<f64> = (0..count)
            .map(|row| noisy(row) + random.random::<f64>())
            .collect();
        let times: Vec<i64> = (0..count as i64).map(|row| row * 60_000_000).collect();
        let config = Arc::new(Config::new(method));
        let mut taken = Vec::new();
        let mut last = None;
        for _ in 0..runs {
            let mut model = Model::new(Arc::clone(&config)).during("making a model")?;
            let mut verdicts = Verdicts::default();
            let ((), time) = clock::timed(|| {
                for (times, values) in times.chunks(BATCH).zip(series.chunks(BATCH)) {
                    verdicts.clear();
                    model.observe_batch(times, &[values], &mut verdicts);
                }
            });
            taken.push(time);
            last = Some(model);
        }
        Ok(Self {
            millions: count as f64 / median(&taken).as_secs_f64() / 1e6,
            bytes: last.as_ref().map_or(0, Model::state_bytes),
            snapshot: last.map_or(0, |model| model.snapshot().len()),
        })
    }
}
