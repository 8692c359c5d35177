//! A server's process: it ends with the harness, however that ends, and its data with it.

use std::env;
use std::fs;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use crate::clock;
use crate::failure::{During, Failure, Result};

/// Ends the server when its own input is closed, which the end of the harness does as well. Ctrl-C
/// is for the harness: the server ends after it.
const SHELL: &str = r#"trap '' INT; folder=$1; shift; "$@" & pid=$!; read -r _; kill -KILL "$pid"; wait "$pid"; rm -rf "$folder""#;
/// Seconds in which a server must answer.
const START_SECONDS: u32 = 120;

/// A running server.
#[derive(Debug)]
pub(super) struct Process {
    folder: PathBuf,
    /// The shell around it.
    shell: Child,
}

impl Process {
    /// Starts a command, with the folder that it keeps its data in.
    pub(super) fn start(command: &Command, folder: &Path) -> Result<Self> {
        let log = fs::File::create(folder.join("log")).during("making a server's log")?;
        let mut shell = Command::new("bash");
        shell.args(["-c", SHELL, "server"]).arg(folder);
        shell.arg(command.get_program()).args(command.get_args());
        for (name, value) in command.get_envs() {
            if let Some(value) = value {
                shell.env(name, value);
            }
        }
        let shell = shell
            .stdin(Stdio::piped())
            .stdout(log.try_clone().during("sharing a server's log")?)
            .stderr(log)
            .spawn()
            .during("starting a server")?;
        let folder = folder.to_owned();
        Ok(Self { folder, shell })
    }

    /// Waits until it answers; an error ends with what it said.
    pub(super) fn wait(&self, answers: impl FnMut() -> Result<()>) -> Result<()> {
        until(answers).map_err(|error| {
            let said = fs::read_to_string(self.folder.join("log")).unwrap_or_default();
            let last: Vec<_> = said.lines().rev().take(5).collect();
            let last: Vec<_> = last.into_iter().rev().collect();
            Failure::new(format!("{error}: {}", last.join("\n")))
        })
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        drop(self.shell.stdin.take());
        drop(self.shell.wait());
    }
}

/// Tries for some time, with pauses.
pub(super) fn until(mut attempt: impl FnMut() -> Result<()>) -> Result<()> {
    let mut last = attempt();
    for _ in 0..START_SECONDS * 10 {
        if last.is_ok() {
            break;
        }
        clock::pause(Duration::from_millis(100));
        last = attempt();
    }
    last
}

/// Ports that are free now; both are held until both are known.
pub(super) fn free_ports() -> Result<[u16; 2]> {
    let bind = || TcpListener::bind("127.0.0.1:0").during("looking for a free port");
    let held = [bind()?, bind()?];
    let port = |listener: &TcpListener| {
        let address = listener.local_addr().during("looking for a free port")?;
        Ok(address.port())
    };
    Ok([port(&held[0])?, port(&held[1])?])
}

/// Where `bash tests/run` puts the servers.
pub(super) fn cache() -> PathBuf {
    match env::var_os("WEIR_CACHE") {
        Some(cache) => PathBuf::from(cache),
        None => PathBuf::from(env::var_os("HOME").unwrap_or_default()).join(".cache/weir"),
    }
}
