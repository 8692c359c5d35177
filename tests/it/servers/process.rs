//! The process of a server, with a folder of its own: a test may stop it and start it again, and it
//! does not outlive the tests, however they end.

use std::fs;
use std::io::Write as _;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Mutex, PoisonError};

/// Ends the server, frozen or not, and then removes its folder, when its input is closed; the folder
/// stays when that says so.
const SHELL: &str = r#"signal=$1; folder=$2; shift 2; "$@" & pid=$!; read -r word
kill -CONT "$pid"; kill "-$signal" "$pid"; wait "$pid"; [ "$word" = keep ] || rm -rf "$folder""#;

/// A server of this process, which has only one of it at a time.
#[derive(Debug)]
pub(crate) struct Process {
    folder: tempfile::TempDir,
    /// The signal that ends it as a crash does.
    signal: &'static str,
    shell: Mutex<Option<Child>>,
}

impl Process {
    /// Makes a folder; nothing runs yet.
    pub(crate) fn new(signal: &'static str) -> Self {
        Self {
            folder: tempfile::tempdir().unwrap(),
            signal,
            shell: Mutex::new(None),
        }
    }

    /// The folder.
    pub(crate) fn folder(&self) -> &Path {
        self.folder.path()
    }

    fn log(&self) -> PathBuf {
        self.folder().join("log")
    }

    /// Starts the server under a shell, in no folder that its user may not see.
    pub(crate) fn start(&self, server: &Command) {
        let mut log = fs::OpenOptions::new();
        let log = log.create(true).append(true).open(self.log()).unwrap();
        let variables = server.get_envs();
        let shell = Command::new("bash")
            .args(["-c", SHELL, "server", self.signal])
            .arg(self.folder())
            .arg(server.get_program())
            .args(server.get_args())
            .envs(variables.filter_map(|(name, value)| Some((name, value?))))
            .current_dir("/")
            .stdin(Stdio::piped())
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn()
            .expect("bash can be run");
        *self.shell.lock().unwrap_or_else(PoisonError::into_inner) = Some(shell);
    }

    /// Ends the server as a crash does, if it runs. Its folder stays.
    pub(crate) fn stop(&self) {
        let mut shell = self.shell.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(mut shell) = shell.take() {
            let mut input = shell.stdin.take().unwrap();
            input.write_all(b"keep\n").ok();
            drop(input);
            shell.wait().ok();
        }
    }

    /// Sends the server a signal by name, such as `STOP`.
    pub(crate) fn signal(&self, name: &str) {
        let shell = self.shell.lock().unwrap().as_ref().unwrap().id();
        // The shell's only child is the server.
        run(Command::new("pkill").args([&format!("-{name}"), "-P", &shell.to_string()]));
    }

    /// The last lines of what the server has said.
    pub(crate) fn said(&self) -> String {
        let log = fs::read_to_string(self.log()).unwrap_or_default();
        let lines: Vec<_> = log.lines().rev().take(40).collect();
        lines.into_iter().rev().collect::<Vec<_>>().join("\n")
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.stop();
    }
}

/// Runs a command to its end, which must be a good one.
pub(crate) fn run(command: &mut Command) {
    let output = command.output().unwrap();
    let [out, err] = [&output.stdout, &output.stderr].map(|said| String::from_utf8_lossy(said));
    assert!(output.status.success(), "{command:?}: {out}{err}");
}

/// Ports that are free now; all are held until the last is known, so that none comes twice.
pub(crate) fn free_ports<const COUNT: usize>() -> [u16; COUNT] {
    let held = [(); COUNT].map(|()| TcpListener::bind("127.0.0.1:0").unwrap());
    held.map(|listener| listener.local_addr().unwrap().port())
}

/// The folder in which `bash tests/run` installs what tests run.
pub(crate) fn cache() -> PathBuf {
    std::env::var_os("WEIR_CACHE").map_or_else(
        || PathBuf::from(std::env::var_os("HOME").unwrap_or_default()).join(".cache/weir"),
        PathBuf::from,
    )
}
