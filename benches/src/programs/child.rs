//! A program that is started for a run and ends with it: what it said, how long it took, what it
//! used.

use std::io::{BufRead, BufReader, Read};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use serde_json::Value;

use super::{Run, usage};
use crate::clock::{now_us, pause, timed};
use crate::failure::{During, Failure, Result};

/// Time between two looks at the memory of a running program.
const LOOK: Duration = Duration::from_millis(20);

/// A program that has ended well.
#[derive(Debug)]
pub(super) struct Ended {
    /// The last line of its output, which is JSON.
    pub(super) summary: Value,
    /// From its start to that line: what it takes to give back its memory is not in it.
    pub(super) said: Duration,
    /// From its start to its end.
    pub(super) process: Duration,
    /// Processor time.
    pub(super) cpu: Option<Duration>,
    /// The most memory that was resident, as the system told it while the program ran.
    pub(super) peak_bytes: Option<u64>,
}

impl Ended {
    /// The run, by the time of the job that the summary tells.
    pub(super) fn run(&self) -> Result<Run> {
        let seconds = self.summary["seconds"].as_f64().unwrap_or(f64::NAN);
        Ok(Run {
            job: Duration::try_from_secs_f64(seconds).during("reading the time of a run")?,
            said: Some(self.said),
            process: Some(self.process),
            cpu: self.cpu,
            peak_bytes: self.peak_bytes,
        })
    }
}

/// Runs a command to its end; after a time, if one is given, it is stopped as Ctrl-C does.
pub(super) fn run(mut command: Command, name: &str, stop_after: Option<Duration>) -> Result<Ended> {
    command.stdin(Stdio::null());
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    let over = AtomicBool::new(false);
    let over = &over;
    let (heard, process, peak_bytes) = thread::scope(|scope| {
        let mut watch = None;
        let (heard, process) = timed(|| {
            let start = now_us();
            let mut child = command.spawn().during(format!("starting {name}"))?;
            let pid = child.id();
            watch = Some(scope.spawn(move || peak(pid, over)));
            hear(&mut child, start, name, stop_after)
        });
        over.store(true, Ordering::Relaxed);
        let peak = watch.and_then(|watch| watch.join().ok()).flatten();
        (heard, process, peak)
    });
    let heard = heard?;
    if !heard.status.success() {
        let complaint = heard.complaint.trim();
        return Err(Failure::new(format!(
            "{name}: {}: {complaint}",
            heard.status
        )));
    }
    let (line, said) = heard.last;
    let summary = serde_json::from_str(&line).during(format!("reading the summary of {name}"))?;
    Ok(Ended {
        summary,
        said,
        process,
        cpu: heard.cpu,
        peak_bytes,
    })
}

/// What a program said until it ended.
struct Heard {
    status: ExitStatus,
    /// Its last line of output, and when it came.
    last: (String, Duration),
    complaint: String,
    cpu: Option<Duration>,
}

fn hear(child: &mut Child, start: u64, name: &str, stop_after: Option<Duration>) -> Result<Heard> {
    if let Some(time) = stop_after {
        pause(time);
        let pid = child.id().to_string();
        let sent = Command::new("kill").args(["-INT", &pid]).status();
        sent.during(format!("stopping {name}"))?;
    }
    let hearing = || format!("hearing {name}");
    let mut last = (String::new(), Duration::ZERO);
    for line in child.stdout.take().into_iter().flat_map(lines) {
        let said = now_us().saturating_sub(start);
        last = (line.during(hearing())?, Duration::from_micros(said));
    }
    // Closed output means that it ends; a process that is not waited for still tells its times.
    let mut complaint = String::new();
    if let Some(mut stderr) = child.stderr.take() {
        stderr.read_to_string(&mut complaint).during(hearing())?;
    }
    let cpu = usage::of_tree(child.id()).map(|usage| usage.cpu);
    let status = child.wait().during(format!("waiting for {name}"))?;
    Ok(Heard {
        status,
        last,
        complaint,
        cpu,
    })
}

fn lines(output: impl Read) -> impl Iterator<Item = std::io::Result<String>> {
    BufReader::new(output).lines()
}

/// The most memory of a process until it is over: the system keeps the highest value, so that
/// only what it takes after the last look is missed.
fn peak(pid: u32, over: &AtomicBool) -> Option<u64> {
    let mut most = None;
    while !over.load(Ordering::Relaxed) {
        let seen = usage::of_tree(pid).map(|usage| usage.peak_bytes);
        most = most.max(seen);
        pause(LOOK);
    }
    most
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_line_is_the_summary_and_memory_is_seen() {
        let mut shell = Command::new("sh");
        shell.args(["-c", "echo first; sleep 0.1; echo '{\"a\": 1}'; sleep 0.1"]);
        let ended = run(shell, "sh", None).unwrap();
        assert_eq!(ended.summary["a"], 1);
        assert!(ended.said >= Duration::from_millis(100));
        assert!(ended.process >= ended.said + Duration::from_millis(100));
        assert!(ended.peak_bytes.unwrap() > 0);
        let mut shell = Command::new("sh");
        shell.args(["-c", "echo no >&2; exit 3"]);
        let error = run(shell, "sh", None).unwrap_err().to_string();
        assert!(
            error.starts_with("sh: ") && error.ends_with(": no"),
            "{error}"
        );
    }
}
