//! How speed grows with subtasks: each number of them on as many cores, up to all cores and beyond,
//! and what the machine itself allows.

use std::time::Duration;

use clap::Args;

use super::{Suite, nexmark, window};
use crate::compare::{Case, middle};
use crate::failure::{Failure, Result};
use crate::programs::python::Peer;
use crate::programs::weir::Weir;
use crate::programs::{Job, Program, Run};
use crate::report::{self, Report};
use crate::settings::Settings;
use crate::statistics::{median, spread};

/// Keys of the windows.
const KEYS: [u64; 2] = [1_000, 1_000_000];
/// Queries of Nexmark.
const NEXMARK: [&str; 3] = ["q0", "q5", "q8"];
/// Cases whose work has nothing in common: what two of them lose beside each other, the machine takes.
const ALONE: [&str; 2] = ["window, 1000 keys", "nexmark q0"];
/// What parallel work must reach of linear.
const GOAL: f64 = 0.9;

/// The suite `scale`.
#[derive(Debug, Args)]
pub(crate) struct Scale {
    /// Rows of the windows
    #[arg(long, default_value_t = 50_000_000, value_parser = clap::value_parser!(u64).range(1..=1_000_000_000))]
    rows: u64,

    /// Events of Nexmark
    #[arg(long, default_value_t = 10_000_000, value_parser = clap::value_parser!(u64).range(50..=1_000_000_000))]
    events: u64,
}

impl Suite for Scale {
    const NAME: &'static str = "scale";
    const ABOUT: &'static str = "Speed by the number of subtasks, each number on as many cores";

    fn run(&self, settings: &Settings) -> Result<bool> {
        let about = format!(
            "{} rows of the windows and {} events of Nexmark, from Parquet, streaming; so many subtasks \
             on as many cores, and twice as many subtasks as there are cores",
            self.rows, self.events
        );
        let mut report = Report::new(Self::NAME, about, settings);
        let cases = self.cases(settings)?;
        let mut judge = Peer::start("duckdb", settings);
        report.name_program("weir", Ok(Weir::find(settings)?.version()));
        let (mut grown, mut machine) = (Vec::new(), Vec::new());
        for case in &cases {
            let measured = grow(case, &mut judge, settings).map(|steps| {
                grown.extend(rows(case, &steps));
            });
            if let Err(error) = measured {
                report.fault(format!("{}: {error}", case.name), true);
                continue;
            }
            if ALONE.contains(&case.name.as_str()) {
                machine.push(side_by_side(case, settings)?);
            }
        }
        let columns = [
            "case",
            "subtasks",
            "s",
            "±",
            "M rows/s",
            "x one",
            "of linear",
            "goal",
            "cpu s",
            "peak MB",
            "rows",
        ];
        report.table("Speed by subtasks", &columns, grown);
        let columns = [
            "case",
            "one process on one core, s",
            "one process on each core, s",
            "cores",
            "of linear",
        ];
        report.table(
            "The machine: the same work alone, and in processes that know nothing of each other",
            &columns,
            machine,
        );
        report.finish()
    }
}

impl Scale {
    fn cases(&self, settings: &Settings) -> Result<Vec<Case>> {
        let mut cases = Vec::new();
        for keys in KEYS {
            let name = format!("window, {keys} keys");
            if settings.wants_case(&name) {
                let case = window::of(self.rows, keys)?;
                cases.push(Case { name, ..case });
            }
        }
        for query in NEXMARK {
            let name = format!("nexmark {query}");
            if settings.wants_case(&name) {
                let case = nexmark::from_parquet(query, self.events)?;
                cases.push(Case { name, ..case });
            }
        }
        Ok(cases)
    }
}

/// What a number of subtasks has shown.
#[derive(Debug)]
struct Step {
    subtasks: u32,
    /// Cores that they have.
    cores: u32,
    runs: Vec<Run>,
    rows_out: u64,
}

/// Numbers of subtasks: doubled up to the cores, the cores, and twice as many.
fn subtasks(cores: u32) -> Vec<u32> {
    let doubled = std::iter::successors(Some(1), |number: &u32| Some(number * 2));
    let mut numbers: Vec<_> = doubled.take_while(|number| *number < cores).collect();
    numbers.extend([cores, cores * 2]);
    numbers
}

/// Checks the rows of every number of subtasks, and runs them in turn.
fn grow(case: &Case, judge: &mut Result<Peer>, settings: &Settings) -> Result<Vec<Step>> {
    let job = case.of_weir()?;
    let mut steps = Vec::new();
    for number in subtasks(settings.cores()) {
        let mut weir = Weir::find(settings)?.on_cores(number);
        let rows_out = case.right_rows(&mut weir, judge)?;
        report::note(&format!("  {}: {number} subtasks: right", case.name));
        let step = Step {
            subtasks: number,
            cores: number.min(settings.cores()),
            runs: Vec::new(),
            rows_out,
        };
        steps.push((weir, step));
    }
    for _ in 0..settings.runs {
        for (weir, step) in &mut steps {
            step.runs.push(weir.run(job, "")?);
        }
    }
    Ok(steps.into_iter().map(|(_, step)| step).collect())
}

fn rows(case: &Case, steps: &[Step]) -> Vec<Vec<String>> {
    let one = steps
        .first()
        .map_or(0.0, |step| middle(&step.runs).as_secs_f64());
    let row = |step: &Step| {
        let jobs: Vec<_> = step.runs.iter().map(|run| run.job).collect();
        let cpus: Vec<_> = step.runs.iter().filter_map(|run| run.cpu).collect();
        let seconds = median(&jobs).as_secs_f64();
        let times = one / seconds;
        let share = times / f64::from(step.cores);
        let peak = step.runs.iter().filter_map(|run| run.peak_bytes).max();
        vec![
            case.name.clone(),
            step.subtasks.to_string(),
            format!("{seconds:.3}"),
            format!("{:.0} %", spread(&jobs) * 100.0),
            format!("{:.2}", case.rows as f64 / seconds / 1e6),
            format!("{times:.2}"),
            format!("{share:.2}"),
            goal(step, share).to_owned(),
            format!("{:.2}", median(&cpus).as_secs_f64()),
            peak.map_or_else(|| "-".to_owned(), |bytes| (bytes / 1_000_000).to_string()),
            format!("same {} rows", step.rows_out),
        ]
    };
    let rows: Vec<_> = steps.iter().map(row).collect();
    for row in &rows {
        report::note(&format!("  {}", row.join(" | ")));
    }
    rows
}

/// Whether the goal is met, which is for more than one subtask, each with a core.
fn goal(step: &Step, share: f64) -> &'static str {
    match step.subtasks == step.cores && step.cores > 1 {
        true if share >= GOAL => "met",
        true => "missed",
        false => "-",
    }
}

/// The same work in one process on one core, and in as many as there are cores, at once.
fn side_by_side(case: &Case, settings: &Settings) -> Result<Vec<String>> {
    let job = case.of_weir()?;
    let cores = settings.cores();
    let (mut alone, mut beside) = (Vec::new(), Vec::new());
    for _ in 0..settings.runs {
        alone.push(Weir::find(settings)?.on_core(0).run(job, "")?.job);
        let mut programs = Vec::new();
        for core in 0..cores {
            programs.push(Weir::find(settings)?.on_core(core));
        }
        beside.push(slowest(programs, job)?);
    }
    let (alone, beside) = (median(&alone).as_secs_f64(), median(&beside).as_secs_f64());
    let row = vec![
        case.name.clone(),
        format!("{alone:.3}"),
        format!("{beside:.3}"),
        cores.to_string(),
        format!("{:.2}", alone / beside),
    ];
    report::note(&format!("  the machine: {}", row.join(" | ")));
    Ok(row)
}

/// Runs all at once; the time of the slowest.
fn slowest(programs: Vec<Weir>, job: &Job) -> Result<Duration> {
    std::thread::scope(|scope| {
        let start = |mut weir: Weir| scope.spawn(move || weir.run(job, ""));
        let threads: Vec<_> = programs.into_iter().map(start).collect();
        let mut slowest = Duration::ZERO;
        for thread in threads {
            let run = thread
                .join()
                .unwrap_or_else(|_| Err(Failure::new("a run panicked")))?;
            slowest = slowest.max(run.job);
        }
        Ok(slowest)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn subtasks_double_up_to_the_cores_and_beyond() {
        assert_eq!(subtasks(1), [1, 2]);
        assert_eq!(subtasks(2), [1, 2, 4]);
        assert_eq!(subtasks(6), [1, 2, 4, 6, 12]);
        assert_eq!(subtasks(8), [1, 2, 4, 8, 16]);
    }

    #[test]
    fn the_goal_is_for_subtasks_with_a_core_each() {
        let step = |subtasks, cores| Step {
            subtasks,
            cores,
            runs: Vec::new(),
            rows_out: 0,
        };
        assert_eq!(goal(&step(1, 1), 1.0), "-");
        assert_eq!(goal(&step(2, 2), 0.9), "met");
        assert_eq!(goal(&step(2, 2), 0.89), "missed");
        assert_eq!(goal(&step(4, 2), 1.0), "-");
    }
}
