//! Weir as a user runs it: the program `weir`, a script, a process per run.

use std::env;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use serde_json::Value;

use crate::clock::{timed, wait};
use crate::failure::{During, Failure, Result};
use crate::settings::{self, Settings};
use crate::suites::Case;

/// What stands in every script of `queries`, so that the harness can put a file sink there.
const BLACKHOLE: &str = "connector = 'blackhole'";

/// The program.
#[derive(Debug)]
pub(crate) struct Weir {
    binary: PathBuf,
    cores: u32,
    memory: String,
}

/// One run.
#[derive(Debug, Clone)]
pub(crate) struct Run {
    /// From the start of the job to its end, as the program says.
    pub(crate) job: Duration,
    /// From the start of the process to its end.
    pub(crate) process: Duration,
    /// Rows read.
    pub(crate) rows_in: u64,
    /// The most memory that was resident.
    pub(crate) peak_bytes: Option<u64>,
}

impl Weir {
    /// Finds the program, and builds it first when the harness itself runs under cargo.
    pub(crate) fn find(settings: &Settings) -> Result<Self> {
        let binary = match env::var_os("WEIR_BIN") {
            Some(path) => PathBuf::from(path),
            None => built_beside_this()?,
        };
        if !binary.is_file() {
            return Err(Failure::new(format!(
                "{} is not there: run `cargo build --release` first, or set WEIR_BIN",
                binary.display()
            )));
        }
        Ok(Self {
            binary,
            cores: settings.cores(),
            memory: settings.memory.clone(),
        })
    }

    /// What the program says of its version.
    pub(crate) fn version(&self) -> Result<String> {
        let output = Command::new(&self.binary)
            .arg("--version")
            .output()
            .during("asking weir")?;
        let text = String::from_utf8_lossy(&output.stdout);
        Ok(text.lines().next().unwrap_or("weir").trim().to_owned())
    }

    /// Whether the program was built without optimisation.
    pub(crate) fn is_debug(&self) -> bool {
        self.binary
            .parent()
            .is_some_and(|folder| folder.ends_with("debug"))
    }

    /// Runs a case whose rows go nowhere.
    pub(crate) fn run(&self, case: &Case) -> Result<Run> {
        let script = settings::home().join("queries").join(case.script);
        let folder = settings::scratch(&format!("{}-run", file_name(&case.name)))?;
        self.run_script(case, &script, &folder)
    }

    /// Runs a case whose rows go into Parquet files, and gives the pattern of their paths.
    pub(crate) fn run_to_files(&self, case: &Case) -> Result<String> {
        let folder = settings::scratch(&format!("{}-check", file_name(&case.name)))?;
        let rows = folder.join("rows");
        let script = settings::home().join("queries").join(case.script);
        let text =
            std::fs::read_to_string(&script).during(format!("reading {}", script.display()))?;
        let sink = format!(
            "connector = 'file', path = '{}/', format = 'parquet'",
            rows.display()
        );
        let changed = text.replace(BLACKHOLE, &sink);
        if changed == text {
            return Err(Failure::new(format!(
                "{} has no blackhole sink",
                script.display()
            )));
        }
        let script = folder.join(case.script);
        std::fs::write(&script, changed).during(format!("writing {}", script.display()))?;
        self.run_script(case, &script, &folder)?;
        Ok(format!("{}/**/*.parquet", rows.display()))
    }

    /// Runs a script that makes its own rows, with checkpoints if a folder for them is given.
    pub(crate) fn run_alone(&self, script: &Path, state: Option<&Path>) -> Result<(Run, Value)> {
        let mut command = pinned(&self.binary, self.cores);
        command.arg("run").arg(script).args(["--summary", "json"]);
        let cores = self.cores.to_string();
        command.args(["--parallelism", &cores, "--memory", &self.memory]);
        if let Some(state) = state {
            command.arg("--state").arg(state);
        }
        let (output, process) = timed(|| command.output());
        let output = output.during(format!("starting {}", self.binary.display()))?;
        if !output.status.success() {
            let text = String::from_utf8_lossy(&output.stderr);
            let text = text.trim();
            return Err(Failure::new(format!("weir: {}: {text}", output.status)));
        }
        let text = String::from_utf8_lossy(&output.stdout);
        let line = text.lines().last().unwrap_or_default();
        let summary = serde_json::from_str(line).during("reading weir's summary")?;
        Ok((parse(&text, process)?, summary))
    }

    /// Runs a script with checkpoints for a time, then stops it as Ctrl-C does. Gives its summary.
    pub(crate) fn run_for(
        &self,
        script: &Path,
        state: &Path,
        time: Duration,
    ) -> Result<(Run, Value)> {
        let mut command = pinned(&self.binary, self.cores);
        command.arg("run").arg(script).args(["--summary", "json"]);
        let cores = self.cores.to_string();
        command.args(["--parallelism", &cores, "--memory", &self.memory]);
        command.arg("--state").arg(state);
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        let (output, process) = timed(|| {
            let child = command.spawn()?;
            wait(time);
            let pid = child.id().to_string();
            Command::new("kill").args(["-INT", &pid]).status()?;
            child.wait_with_output()
        });
        let output = output.during(format!("running {}", self.binary.display()))?;
        let text = String::from_utf8_lossy(&output.stdout);
        let Some(line) = text.lines().last() else {
            let text = String::from_utf8_lossy(&output.stderr);
            return Err(Failure::new(format!("weir: {}: {text}", output.status)));
        };
        let summary = serde_json::from_str(line).during("reading weir's summary")?;
        Ok((parse(&text, process)?, summary))
    }

    fn run_script(&self, case: &Case, script: &Path, folder: &Path) -> Result<Run> {
        let mut command = pinned(&self.binary, self.cores);
        command.arg("run").arg(script).args(["--summary", "json"]);
        command.args([
            "--parallelism",
            &self.cores.to_string(),
            "--memory",
            &self.memory,
        ]);
        command.current_dir(folder);
        for (name, value) in &case.variables {
            command.args(["--set", &format!("{name}={value}")]);
        }
        let (output, process) = timed(|| command.output());
        let output = output.during(format!("starting {}", self.binary.display()))?;
        if !output.status.success() {
            let text = String::from_utf8_lossy(&output.stderr);
            let text = text.trim();
            return Err(Failure::new(format!("weir: {}: {text}", output.status)));
        }
        let run = parse(&String::from_utf8_lossy(&output.stdout), process)?;
        if run.rows_in < case.rows {
            let (read, rows) = (run.rows_in, case.rows);
            return Err(Failure::new(format!("weir read {read} rows of {rows}")));
        }
        Ok(run)
    }
}

/// Reads the summary: the last line of the output.
fn parse(output: &str, process: Duration) -> Result<Run> {
    let line = output.lines().last().unwrap_or_default();
    let summary: Value = serde_json::from_str(line).during("reading weir's summary")?;
    let number = |name: &str| {
        summary[name]
            .as_f64()
            .ok_or_else(|| Failure::new(format!("weir's summary has no {name}")))
    };
    Ok(Run {
        job: Duration::try_from_secs_f64(number("seconds")?).during("reading weir's summary")?,
        process,
        rows_in: number("rows_in")? as u64,
        peak_bytes: summary["memory"]["peak"].as_u64(),
    })
}

/// A command that is held to the first cores, where the system has `taskset`: a program that is
/// asked for fewer threads than there are cores would use the others for its helpers.
pub(crate) fn pinned(binary: &Path, cores: u32) -> Command {
    if !can_pin() {
        return Command::new(binary);
    }
    let mut command = Command::new("taskset");
    command
        .arg("--cpu-list")
        .arg(format!("0-{}", cores.saturating_sub(1)))
        .arg(binary);
    command
}

/// Whether [`pinned`] holds programs to their cores.
pub(crate) fn can_pin() -> bool {
    Command::new("taskset")
        .arg("--version")
        .output()
        .is_ok_and(|output| output.status.success())
}

/// Gives the `weir` beside this program, brought up to date by the cargo that runs us.
fn built_beside_this() -> Result<PathBuf> {
    let this = env::current_exe().during("finding this program")?;
    let folder = this
        .parent()
        .ok_or_else(|| Failure::new("this program is in no folder"))?;
    if let Some(cargo) = env::var_os("CARGO") {
        let profile = match folder.file_name().and_then(|name| name.to_str()) {
            Some("debug") | None => "dev",
            Some(profile) => profile,
        };
        let status = Command::new(cargo)
            .args([
                "build",
                "--package",
                "weir",
                "--bin",
                "weir",
                "--profile",
                profile,
            ])
            .current_dir(settings::home())
            .status()
            .during("starting cargo")?;
        if !status.success() {
            return Err(Failure::new("weir does not build"));
        }
    }
    Ok(folder.join(format!("weir{}", env::consts::EXE_SUFFIX)))
}

fn file_name(case: &str) -> String {
    case.chars()
        .map(|c| if c.is_ascii_alphanumeric() { c } else { '-' })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_script_has_a_sink_to_replace_and_its_data() {
        let folder = settings::home().join("queries");
        let mut scripts = 0;
        for entry in std::fs::read_dir(folder).unwrap() {
            let text = std::fs::read_to_string(entry.unwrap().path()).unwrap();
            assert_eq!(text.matches(BLACKHOLE).count(), 1);
            assert!(text.contains("${DATA}"));
            scripts += 1;
        }
        assert!(scripts >= 6);
    }

    #[test]
    fn the_summary_is_the_last_line() {
        let text = "a row\n{\"seconds\":0.5,\"rows_in\":10,\"memory\":{\"peak\":7}}\n";
        let run = parse(text, Duration::from_secs(1)).unwrap();
        assert_eq!(
            (run.job, run.rows_in, run.peak_bytes),
            (Duration::from_millis(500), 10, Some(7))
        );
        assert!(parse("", Duration::ZERO).is_err());
        assert!(parse("{}", Duration::ZERO).is_err());
    }
}
