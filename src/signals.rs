//! SIGINT (Ctrl-C) and SIGTERM: the first asks a job to drain, the second stops it, the third ends
//! the process, for the case that something does not listen.

use std::io::Write as _;

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::watch;
use weir_engine::env::{TaskHandle, Work};
use weir_engine::error::{Error, Kind, Result, codes};
use weir_engine::job::Stop;

use crate::host::Host;

/// The exit code of a process that is ended by SIGINT, as shells give it.
const KILLED: i32 = 130;

/// Turns signals into stop requests until it is dropped.
#[derive(Debug)]
pub struct Listener {
    task: TaskHandle,
}

impl Listener {
    /// Starts to listen. `terminate` takes SIGTERM too: a shell leaves that to the system.
    pub fn start(host: &Host, stop: watch::Sender<Stop>, terminate: bool) -> Result<Self> {
        let env = host.env();
        // Signals are registered with the runtime that is entered here.
        host.block_on(async {
            let interrupts = open(SignalKind::interrupt())?;
            let terminates = if terminate {
                Some(open(SignalKind::terminate())?)
            } else {
                None
            };
            Ok(Self {
                task: env.spawn(Work::Io, listen(interrupts, terminates, stop)),
            })
        })?
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        self.task.abort();
    }
}

fn open(kind: SignalKind) -> Result<Signal> {
    signal(kind).map_err(|error| {
        Error::new(Kind::Limit, codes::LIMIT, "cannot listen to signals").caused_by(error)
    })
}

async fn listen(mut interrupts: Signal, mut terminates: Option<Signal>, stop: watch::Sender<Stop>) {
    loop {
        let seen = match &mut terminates {
            None => interrupts.recv().await,
            Some(terminates) => tokio::select! {
                seen = interrupts.recv() => seen,
                seen = terminates.recv() => seen,
            },
        };
        if seen.is_none() {
            return;
        }
        let next = after(*stop.borrow());
        let Some((next, words)) = next else {
            std::process::exit(KILLED);
        };
        // Telling may fail when standard error is closed: the stop must happen all the same.
        drop(writeln!(std::io::stderr().lock(), "\n{words}"));
        stop.send_replace(next);
    }
}

/// What a signal means after what was asked before; `None` ends the process.
fn after(stop: Stop) -> Option<(Stop, &'static str)> {
    match stop {
        Stop::Run => Some((
            Stop::Drain,
            "draining: finishing and committing what was read (once more stops at once)",
        )),
        Stop::Drain => Some((Stop::Now, "stopping: what is not committed is thrown away")),
        Stop::Now => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signals_ask_for_more_each_time() {
        let asked: Vec<_> = [Stop::Run, Stop::Drain, Stop::Now]
            .map(|stop| after(stop).map(|(next, _)| next))
            .into();
        assert_eq!(asked, [Some(Stop::Drain), Some(Stop::Now), None]);
    }
}
