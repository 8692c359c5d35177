//! A process with a job that has no end: it is told to end as Ctrl-C does.

use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use super::usage::{self, Usage};
use crate::clock::pause;
use crate::failure::{During, Failure, Result};

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
    pub(super) fn spawn(command: &mut Command, folder: &Path) -> Result<Self> {
        let log = folder.join("log");
        let file = fs::File::create(&log).during(format!("making {}", log.display()))?;
        let child = command
            .stdin(Stdio::null())
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
        let pid = self.child.id().to_string();
        let sent = Command::new("kill").args(["-INT", &pid]).output();
        drop(sent.during("stopping a process")?);
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
        // Fails when the process has ended, which is what is wanted.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}
