//! Measures cases: the rows of each program are checked first, then the programs run in turn.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::failure::{Failure, Result};
use crate::programs::python::{Check, Peer};
use crate::programs::{self, Job, Program, Run};
use crate::report::{self, Report};
use crate::settings::{self, Settings};
use crate::statistics::median;

/// One query over one input, as each program takes it.
#[derive(Debug, Clone)]
pub(crate) struct Case {
    /// Names it in the table: `1000 keys`, `q5`.
    pub(crate) name: String,
    /// Rows that are read.
    pub(crate) rows: u64,
    /// Bytes of the input.
    pub(crate) bytes: u64,
    /// Who runs it, and how; the first is what the others are compared with.
    pub(crate) runners: Vec<Runner>,
    /// The right rows, as DuckDB gives them; without it only the counts of rows read are checked.
    pub(crate) answer: Option<Job>,
}

impl Case {
    /// The job of Weir, which stands first.
    pub(crate) fn of_weir(&self) -> Result<&Job> {
        match self.runners.first() {
            Some(runner) if runner.program == "weir" => Ok(&runner.job),
            _ => Err(Failure::new("the case has no job of Weir")),
        }
    }

    /// Has Weir write its rows, and gives their number if they are right.
    pub(crate) fn right_rows(
        &self,
        weir: &mut dyn Program,
        judge: &mut Result<Peer>,
    ) -> Result<u64> {
        let answer = self.answer.as_ref();
        let answer = answer.ok_or_else(|| Failure::new("the case has no answer"))?;
        let files = weir.write(self.of_weir()?, &settings::scratch("check")?)?;
        let check = match judge {
            Ok(judge) => judge.check(answer, &files)?,
            Err(error) => return Err(Failure::new(format!("nothing to compare with: {error}"))),
        };
        if !check.equal {
            return Err(Failure::new(format!(
                "WRONG: {} rows, {} are right",
                check.rows, check.rows_expected
            )));
        }
        Ok(check.rows)
    }
}

/// A program with its job.
#[derive(Debug, Clone)]
pub(crate) struct Runner {
    /// What it is called in the table.
    pub(crate) label: String,
    /// The program: `weir` or one of [`programs::PEERS`].
    pub(crate) program: &'static str,
    /// Its job.
    pub(crate) job: Job,
    /// What it reads when the whole input would take it too long: rates are compared then.
    pub(crate) part: Option<Part>,
}

/// The first rows of an input.
#[derive(Debug, Clone)]
pub(crate) struct Part {
    /// Rows that are read.
    pub(crate) rows: u64,
    /// Bytes of them.
    pub(crate) bytes: u64,
    /// What must come out.
    pub(crate) answer: Job,
}

impl Runner {
    /// A program under its own name.
    pub(crate) fn new(program: &'static str, job: Job) -> Self {
        Self {
            label: program.to_owned(),
            program,
            job,
            part: None,
        }
    }

    /// A program that is too slow for the whole input.
    pub(crate) fn of_part(program: &'static str, job: Job, part: Part) -> Self {
        let part = Some(part);
        Self {
            part,
            ..Self::new(program, job)
        }
    }
}

/// What one runner showed.
#[derive(Debug)]
pub(crate) struct Outcome {
    /// The comparison of its rows with the answer.
    pub(crate) check: Option<Result<Check>>,
    /// Its runs, of the faster way.
    pub(crate) runs: Result<Vec<Run>>,
}

/// What runs of a case took, by the runner's label.
pub(crate) type Times = BTreeMap<String, Spent>;

/// What the runs of a runner took: medians.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Spent {
    /// The time of the job.
    pub(crate) job: Duration,
    /// Processor time of the process, where the system tells.
    pub(crate) cpu: Option<Duration>,
}

impl Spent {
    /// Takes the medians.
    fn of(runs: &[Run]) -> Self {
        let cpu: Vec<_> = runs.iter().filter_map(|run| run.cpu).collect();
        Self {
            job: middle(runs),
            cpu: (!cpu.is_empty()).then(|| median(&cpu)),
        }
    }
}

/// The programs that were asked for, started when they are first needed.
#[derive(Debug)]
pub(crate) struct Bench<'a> {
    settings: &'a Settings,
    programs: BTreeMap<&'static str, Result<Box<dyn Program>>>,
    judge: Result<Peer>,
}

impl<'a> Bench<'a> {
    /// Starts the judge, which is a DuckDB of its own.
    pub(crate) fn start(settings: &'a Settings) -> Self {
        Self {
            settings,
            programs: BTreeMap::new(),
            judge: Peer::start("duckdb", settings),
        }
    }

    /// Measures all cases, prints them as they come and writes the results; false when one is
    /// wrong or failed.
    pub(crate) fn run(self, mut report: Report, cases: &[Case]) -> Result<bool> {
        self.run_each(&mut report, cases);
        report.finish()
    }

    /// Measures all cases into a report that goes on, and gives the median times of each case and
    /// runner that has some.
    pub(crate) fn run_each(mut self, report: &mut Report, cases: &[Case]) -> Vec<Times> {
        let mut all = Vec::new();
        report.print_head();
        for case in cases {
            let outcomes = self.measure(case);
            report.add(case, &outcomes);
            let times = outcomes.iter().filter_map(|(runner, outcome)| {
                let runs = outcome.runs.as_ref().ok().filter(|runs| !runs.is_empty())?;
                Some((runner.label.clone(), Spent::of(runs)))
            });
            all.push(times.collect());
        }
        for (name, program) in &self.programs {
            report.name_program(name, program.as_ref().map(|program| program.version()));
        }
        all
    }

    /// Measures a case; a failure is part of the outcome, so that the others are still measured.
    fn measure<'c>(&mut self, case: &'c Case) -> Vec<(&'c Runner, Outcome)> {
        let runners: Vec<_> = case
            .runners
            .iter()
            .filter(|runner| self.settings.wants(runner.program))
            .collect();
        for runner in &runners {
            let settings = self.settings;
            self.programs
                .entry(runner.program)
                .or_insert_with(|| programs::start(runner.program, settings));
        }
        let mut outcomes: Vec<_> = runners
            .iter()
            .map(|runner| self.checked(case, runner))
            .collect();
        for _ in 0..self.settings.runs {
            for (runner, outcome) in runners.iter().zip(&mut outcomes) {
                outcome.run_once(&mut self.programs, runner);
            }
        }
        let outcomes = outcomes.into_iter().map(Attempts::outcome);
        runners.into_iter().zip(outcomes).collect()
    }

    /// Compares the rows of a runner with the answer.
    fn checked(&mut self, case: &Case, runner: &Runner) -> Attempts {
        let program = match self.programs.get_mut(runner.program) {
            Some(Ok(program)) => program,
            Some(Err(error)) => return Attempts::none(Failure::new(error.to_string())),
            None => return Attempts::none(Failure::new("not started")),
        };
        let ways = program.ways(&runner.job);
        let part = runner.part.as_ref().map(|part| &part.answer);
        let check = part.or(case.answer.as_ref()).map(|answer| {
            let folder = settings::scratch("check")?;
            let files = program.write(&runner.job, &folder)?;
            match &mut self.judge {
                Ok(judge) => judge.check(answer, &files),
                Err(error) => Err(Failure::new(format!("nothing to compare with: {error}"))),
            }
        });
        let verdict = match &check {
            Some(Ok(check)) if check.equal => "right",
            Some(_) => "wrong or failed",
            None => "not compared",
        };
        report::note(&format!("  {}: {}: {verdict}", case.name, runner.label));
        Attempts::new(check, ways)
    }
}

/// The runs of a runner, by the way in which it forgets rows.
#[derive(Debug)]
struct Attempts {
    check: Option<Result<Check>>,
    ways: Vec<(String, Result<Vec<Run>>)>,
}

impl Attempts {
    fn new(check: Option<Result<Check>>, ways: Vec<String>) -> Self {
        Self {
            check,
            ways: ways.into_iter().map(|way| (way, Ok(Vec::new()))).collect(),
        }
    }

    fn none(error: Failure) -> Self {
        Self {
            check: None,
            ways: vec![(String::new(), Err(error))],
        }
    }

    /// A time of a wrong answer does not count.
    fn is_wrong(&self) -> bool {
        match &self.check {
            Some(Ok(check)) => !check.equal,
            Some(Err(_)) => true,
            None => false,
        }
    }

    fn run_once(
        &mut self,
        programs: &mut BTreeMap<&'static str, Result<Box<dyn Program>>>,
        runner: &Runner,
    ) {
        let Some(Ok(program)) = programs.get_mut(runner.program) else {
            return;
        };
        if self.is_wrong() {
            return;
        }
        for (way, runs) in &mut self.ways {
            if let Ok(kept) = runs {
                match program.run(&runner.job, way) {
                    Ok(run) => kept.push(run),
                    Err(error) => *runs = Err(error),
                }
            }
        }
    }

    fn outcome(self) -> Outcome {
        let runs = self.ways.into_iter().map(|(_, runs)| runs);
        Outcome {
            check: self.check,
            runs: runs.reduce(faster).unwrap_or_else(|| Ok(Vec::new())),
        }
    }
}

/// Picks the way with the better median.
fn faster(a: Result<Vec<Run>>, b: Result<Vec<Run>>) -> Result<Vec<Run>> {
    match (a, b) {
        (Ok(a), Ok(b)) => Ok(if middle(&a) <= middle(&b) { a } else { b }),
        (Err(_), Ok(b)) => Ok(b),
        (a, _) => a,
    }
}

/// The median time of jobs.
pub(crate) fn middle(runs: &[Run]) -> Duration {
    median(&runs.iter().map(|run| run.job).collect::<Vec<_>>())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn runs(millis: &[u64]) -> Vec<Run> {
        let run = |ms: &u64| Run {
            job: Duration::from_millis(*ms),
            said: None,
            process: None,
            cpu: None,
            peak_bytes: None,
        };
        millis.iter().map(run).collect()
    }

    #[test]
    fn the_faster_way_counts_and_a_failed_one_does_not() {
        let best = faster(Ok(runs(&[5, 5])), Ok(runs(&[1, 2]))).unwrap();
        assert_eq!(best.len(), 2);
        assert_eq!(middle(&best), Duration::from_micros(1_500));
        assert!(faster(Err(Failure::new("x")), Ok(runs(&[1]))).is_ok());
        assert!(faster(Err(Failure::new("x")), Err(Failure::new("y"))).is_err());
    }
}
