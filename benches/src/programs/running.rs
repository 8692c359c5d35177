//! A process with a job that has no end: it is told to end as Ctrl-C does.

use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use super::usage::{self, Usage};
use crate::clock::pause;
use crate::failure::{During, Failure, Result};

/// Tells the program to end when its own input is closed, which the end of the harness does as well.
const SHELL: &str = r#"trap '' INT; exec 3<&0; "$@" </dev/null & pid=$!; read -r _ <&3; kill -INT "$pid"; wait "$pid""#;
/// Tenths of a second in which it may end by itself.
const PATIENCE_TENTHS: u32 = 300;

/// The process, which ends with this at the latest.
#[derive(Debug)]
pub(super) struct Running {
    child: Child,
    log: PathBuf,
}

impl Running {
    /// Starts it; what it says of errors goes into a file of the folder.
    pub(super) fn spawn(command: &Command, folder: &Path) -> Result<Self> {
        let log = folder.join("log");
        let file = fs::File::create(&log).during(format!("making {}", log.display()))?;
        let mut shell = Command::new("bash");
        shell.args(["-c", SHELL, "running"]);
        shell.arg(command.get_program()).args(command.get_args());
        if let Some(folder) = command.get_current_dir() {
            shell.current_dir(folder);
        }
        let child = shell
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(file)
            .spawn()
            .during("starting a process")?;
        Ok(Self { child, log })
    }

    /// Gives its output, once.
    pub(super) fn output(&mut self) -> Option<Box<dyn Read + Send>> {
        let output = self.child.stdout.take()?;
        Some(Box::new(output))
    }

    /// What it has used so far.
    pub(super) fn usage(&self) -> Option<Usage> {
        usage::of_tree(self.child.id())
    }

    /// Ends it; an error is what it said when it did not end well.
    pub(super) fn stop(mut self) -> Result<()> {
        drop(self.child.stdin.take());
        for _ in 0..PATIENCE_TENTHS {
            if let Some(status) = self.child.try_wait().during("waiting for a process")? {
                if status.success() {
                    return Ok(());
                }
                return Err(Failure::new(format!("{status}: {}", self.said())));
            }
            pause(Duration::from_millis(100));
        }
        Err(Failure::new(format!("does not end: {}", self.said())))
    }

    fn said(&self) -> String {
        let text = fs::read_to_string(&self.log).unwrap_or_default();
        text.trim().to_owned()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // Of a process that has not ended by itself, the shell has told it.
        drop(self.child.stdin.take());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(script: &str) -> Running {
        let folder = std::env::temp_dir();
        let mut command = Command::new("bash");
        command.args(["-c", script]);
        Running::spawn(&command, &folder).unwrap()
    }

    #[test]
    fn it_is_told_to_end_and_its_end_is_heard() {
        let python = "import signal, sys, time\nsignal.signal(signal.SIGINT, lambda *_: sys.exit(CODE))\n\
                      print('up', flush=True)\ntime.sleep(60)";
        for (code, is_well) in [("0", true), ("3", false)] {
            let script = python.replace("CODE", code);
            let mut running = shell(&format!("exec python3 -c \"{script}\""));
            let mut up = [0; 3];
            running.output().unwrap().read_exact(&mut up).unwrap();
            assert_eq!(running.stop().is_ok(), is_well);
        }
    }
}
