//! Runs the built `weir` in a folder of its own, with a time limit: a hang is a failed test.

use std::future::Future;
use std::io::{BufRead as _, BufReader, Read as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

/// Longest time of one run of the program, in a debug build on a busy machine.
pub(crate) const RUN_TIME_MAX: Duration = Duration::from_secs(240);

/// Runs a future to its end.
pub(crate) fn block_on<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .unwrap()
        .block_on(future)
}

/// A folder in which the program runs and which holds its input and output.
#[derive(Debug)]
pub(crate) struct Place {
    folder: tempfile::TempDir,
}

/// How a run ended.
#[derive(Debug)]
pub(crate) struct Ended {
    /// The exit code.
    pub(crate) code: i32,
    /// Standard output.
    pub(crate) out: String,
    /// Standard error.
    pub(crate) err: String,
}

impl Place {
    /// Makes an empty folder, which goes with the value unless `WEIR_KEEP` is set.
    pub(crate) fn new() -> Self {
        let keep = std::env::var_os("WEIR_KEEP").is_some();
        let folder = tempfile::Builder::new().disable_cleanup(keep).tempdir();
        Self {
            folder: folder.unwrap(),
        }
    }

    /// The folder.
    pub(crate) fn path(&self) -> &Path {
        self.folder.path()
    }

    /// Writes a file, with the folders above it.
    pub(crate) fn write(&self, name: &str, content: impl AsRef<[u8]>) -> PathBuf {
        let path = self.path().join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, content).unwrap();
        path
    }

    /// Puts a file in place as a whole, the way a careful producer does: written aside, renamed.
    pub(crate) fn put(&self, name: &str, content: impl AsRef<[u8]>) -> PathBuf {
        let aside = self.write(&format!("aside/{}", name.replace('/', "_")), content);
        let path = self.path().join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::rename(aside, &path).unwrap();
        path
    }

    /// All files below a folder, by relative path, in order.
    pub(crate) fn files(&self, below: &str) -> Vec<String> {
        let root = self.path().join(below);
        let mut found = Vec::new();
        let mut folders = vec![root.clone()];
        while let Some(folder) = folders.pop() {
            let Ok(entries) = std::fs::read_dir(&folder) else {
                continue;
            };
            for entry in entries.flatten() {
                if entry.path().is_dir() {
                    folders.push(entry.path());
                } else {
                    let path = entry.path();
                    found.push(
                        path.strip_prefix(&root)
                            .unwrap()
                            .to_string_lossy()
                            .into_owned(),
                    );
                }
            }
        }
        found.sort();
        found
    }

    /// Writes a script and runs it: `weir run script.sql FLAGS`.
    pub(crate) fn run(&self, script: &str, flags: &[&str]) -> Ended {
        self.start(script, flags).wait()
    }

    /// Writes a script and starts it.
    pub(crate) fn start(&self, script: &str, flags: &[&str]) -> Running {
        self.start_with(script, flags, &[])
    }

    /// The same with variables of the environment.
    pub(crate) fn start_with(
        &self,
        script: &str,
        flags: &[&str],
        variables: &[(&str, &str)],
    ) -> Running {
        self.write("script.sql", script);
        let mut words = vec!["run", "script.sql", "--progress", "never"];
        words.extend(flags);
        self.command(&words, variables)
    }

    /// Runs any command line of the program.
    pub(crate) fn weir(&self, words: &[&str]) -> Ended {
        self.command(words, &[]).wait()
    }

    fn command(&self, words: &[&str], variables: &[(&str, &str)]) -> Running {
        let mut command = Command::new(env!("CARGO_BIN_EXE_weir"));
        command.args(words);
        self.spawn_with(command, variables)
    }

    /// Starts a command in the folder.
    pub(crate) fn spawn(&self, command: Command) -> Running {
        self.spawn_with(command, &[])
    }

    fn spawn_with(&self, mut command: Command, variables: &[(&str, &str)]) -> Running {
        command
            .current_dir(self.path())
            // Nothing of the developer's own set-up may decide a test.
            .env_remove("AWS_ACCESS_KEY_ID")
            .env_remove("AWS_SECRET_ACCESS_KEY")
            .env("RUST_BACKTRACE", "0")
            .envs(variables.iter().copied())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let out = Collector::start(child.stdout.take().unwrap());
        let err = Collector::start(child.stderr.take().unwrap());
        Running { child, out, err }
    }
}

/// A run that goes on.
#[derive(Debug)]
pub(crate) struct Running {
    child: Child,
    out: Collector,
    err: Collector,
}

impl Running {
    /// Waits for the end.
    pub(crate) fn wait(self) -> Ended {
        self.wait_for(RUN_TIME_MAX)
    }

    /// The same for a run that may take longer than others.
    pub(crate) fn wait_for(mut self, limit: Duration) -> Ended {
        let deadline = Instant::now() + limit;
        let status = loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                break status;
            }
            if Instant::now() > deadline {
                self.child.kill().ok();
                panic!(
                    "the program hangs; it said:\n{}\n{}",
                    self.out.text(),
                    self.err.text()
                );
            }
            std::thread::sleep(Duration::from_millis(5));
        };
        let ended = Ended {
            code: status.code().unwrap_or(-1),
            out: self.out.finish(),
            err: self.err.finish(),
        };
        assert!(
            !ended.err.contains("panicked at"),
            "the program panicked:\n{}",
            ended.err
        );
        ended
    }

    /// Kills it as a crash does, unless it has ended by itself; then its code is not -1.
    pub(crate) fn kill(mut self) -> Ended {
        self.child.kill().ok();
        self.wait()
    }

    /// Sends a signal by name, such as `INT`.
    pub(crate) fn signal(&self, name: &str) {
        let status = Command::new("kill")
            .args([&format!("-{name}"), &self.child.id().to_string()])
            .status()
            .unwrap();
        assert!(status.success());
    }

    /// The bytes of its memory that are resident now; 0 when it has ended.
    pub(crate) fn resident(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id()));
        let status = status.unwrap_or_default();
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        let kilobytes = line.and_then(|line| line.trim().split(' ').next()?.parse::<u64>().ok());
        kilobytes.unwrap_or(0) << 10
    }

    /// Whether it still runs.
    pub(crate) fn is_running(&mut self) -> bool {
        self.child.try_wait().unwrap().is_none()
    }

    /// What it has said so far on both streams.
    pub(crate) fn said(&self) -> String {
        format!("{}\n{}", self.out.text(), self.err.text())
    }

    /// Waits until a condition holds while the program runs; fails after `limit`.
    pub(crate) fn until(
        &mut self,
        limit: Duration,
        what: &str,
        holds: impl Fn() -> bool,
    ) -> Duration {
        let took = self.until_or_end(limit, what, holds);
        took.unwrap_or_else(|| panic!("the program ended before {what}:\n{}", self.said()))
    }

    /// Waits until a condition holds or the program has ended, which gives `None`; fails after
    /// `limit`.
    pub(crate) fn until_or_end(
        &mut self,
        limit: Duration,
        what: &str,
        holds: impl Fn() -> bool,
    ) -> Option<Duration> {
        let start = Instant::now();
        while !holds() {
            if !self.is_running() {
                return None;
            }
            assert!(
                start.elapsed() < limit,
                "no {what} within {limit:?}:\n{}",
                self.said()
            );
            std::thread::sleep(Duration::from_millis(5));
        }
        Some(start.elapsed())
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // A failed test must not leave the program behind.
        if self.child.try_wait().ok().flatten().is_none() {
            self.child.kill().ok();
            self.child.wait().ok();
        }
    }
}

/// Reads a stream to its end on a thread, so that the program never blocks on a full pipe.
#[derive(Debug)]
struct Collector {
    text: Arc<Mutex<String>>,
    thread: Option<std::thread::JoinHandle<()>>,
}

impl Collector {
    fn start(stream: impl std::io::Read + Send + 'static) -> Self {
        let text = Arc::new(Mutex::new(String::new()));
        let kept = Arc::clone(&text);
        let thread = std::thread::spawn(move || {
            let mut reader = BufReader::new(stream);
            let mut line = Vec::new();
            while matches!(reader.read_until(b'\n', &mut line), Ok(count) if count > 0) {
                kept.lock()
                    .unwrap()
                    .push_str(&String::from_utf8_lossy(&line));
                line.clear();
            }
            drop(reader.read(&mut [0]));
        });
        Self {
            text,
            thread: Some(thread),
        }
    }

    fn text(&self) -> String {
        self.text.lock().unwrap().clone()
    }

    fn finish(&mut self) -> String {
        if let Some(thread) = self.thread.take() {
            thread.join().unwrap();
        }
        self.text()
    }
}

impl Ended {
    /// Asserts success.
    pub(crate) fn ok(self) -> Self {
        assert_eq!(self.code, 0, "the run failed:\n{}\n{}", self.out, self.err);
        self
    }

    /// Asserts an error: exit code, error code, and that all of these words are in what is said.
    pub(crate) fn fails(self, code: i32, error: &str, words: &[&str]) -> Self {
        let said = format!("{}\n{}", self.out, self.err);
        assert_eq!(self.code, code, "wrong exit code; it said:\n{said}");
        assert!(
            self.err.contains(&format!("error[{error}]")),
            "no {error} in:\n{said}"
        );
        for word in words {
            assert!(self.err.contains(word), "no {word:?} in:\n{said}");
        }
        self
    }

    /// Asserts an error whether it was found before the run or in it.
    pub(crate) fn fails_with(self, error: &str, words: &[&str]) -> Self {
        let code = if self.code == 2 { 2 } else { 1 };
        self.fails(code, error, words)
    }

    /// The summary of a run with `--summary json`.
    pub(crate) fn summary(&self) -> serde_json::Value {
        let line = self.out.lines().rev().find(|line| line.starts_with('{'));
        let line = line.unwrap_or_else(|| panic!("no summary in:\n{}\n{}", self.out, self.err));
        serde_json::from_str(line).unwrap()
    }
}
