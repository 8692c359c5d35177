//! The independent judge: `check.py` in a process of its own, asked once after each kill.

use std::io::{BufRead as _, BufReader, Write as _};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use serde_json::{Value, json};

use crate::servers::minio::Minio;

/// The judge.
#[derive(Debug)]
pub(crate) struct Checker {
    child: Child,
    requests: Option<ChildStdin>,
    answers: BufReader<ChildStdout>,
}

/// Where the rows are that a reader is told are committed.
#[derive(Debug, Clone)]
pub(crate) struct Output(Value);

impl Output {
    /// Files in a folder on disk.
    pub(crate) fn folder(folder: &Path) -> Self {
        Self(json!({ "folder": folder }))
    }

    /// What the log of a Delta table in a folder on disk names.
    pub(crate) fn delta(folder: &Path) -> Self {
        Self(json!({ "folder": folder, "delta": true }))
    }

    /// What the log of a Delta table in a bucket names.
    pub(crate) fn delta_in(minio: &Minio, bucket: &str, folder: &str) -> Self {
        let Self(mut place) = Self::bucket(minio, bucket, folder);
        place["delta"] = true.into();
        Self(place)
    }

    /// Objects of a bucket below a folder.
    pub(crate) fn bucket(minio: &Minio, bucket: &str, folder: &str) -> Self {
        let host = minio.host();
        Self(json!({
            "endpoint": host, "key": minio.key, "secret": minio.secret,
            "bucket": bucket, "prefix": folder,
        }))
    }
}

/// What the judge has found to be right.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Found {
    /// Rows that are visible.
    pub(crate) rows: u64,
    /// Whether all rows that are due are there.
    pub(crate) complete: bool,
}

impl Checker {
    /// Starts it.
    pub(crate) fn start() -> Self {
        let mut child = script()
            .arg("serve")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("`bash tests/run` makes Python's environment");
        let requests = child.stdin.take();
        let answers = BufReader::new(child.stdout.take().unwrap());
        Self {
            child,
            requests,
            answers,
        }
    }

    /// Asks about the rows of a run; what is wrong fails the test, with the file and the kill.
    pub(crate) fn check(&mut self, output: &Output, kill: u32, last: bool, more: Value) -> Found {
        let mut request = output.0.clone();
        let fields = request.as_object_mut().unwrap();
        fields.insert("run".to_owned(), output.0.to_string().into());
        fields.insert("kill".to_owned(), kill.into());
        fields.insert("last".to_owned(), last.into());
        fields.extend(more.as_object().unwrap().clone());
        let requests = self.requests.as_mut().unwrap();
        writeln!(requests, "{request}").unwrap();
        requests.flush().unwrap();
        let mut line = String::new();
        self.answers.read_line(&mut line).unwrap();
        let answer: Value = serde_json::from_str(&line).unwrap();
        if let Some(wrong) = answer["wrong"].as_str() {
            panic!("after kill {kill}: {wrong}\nasked: {request}");
        }
        Found {
            rows: answer["rows"].as_u64().unwrap(),
            complete: answer["complete"].as_bool().unwrap(),
        }
    }

    /// Fails when files are left that nobody will ever see, after a run that has ended well.
    pub(crate) fn check_clean(&mut self, output: &Output) {
        self.check(output, 0, true, json!({ "check": "clean" }));
    }
}

impl Drop for Checker {
    fn drop(&mut self) {
        drop(self.requests.take());
        self.child.wait().ok();
    }
}

/// The endless rows of a topic, made by the judge's own code: a partition, a tab, JSON.
pub(crate) fn rows(seed: u64, parts: usize) -> (Child, BufReader<ChildStdout>) {
    let mut child = script()
        .args(["rows", &seed.to_string(), &parts.to_string()])
        .stdout(Stdio::piped())
        .spawn()
        .expect("`bash tests/run` makes Python's environment");
    let lines = BufReader::new(child.stdout.take().unwrap());
    (child, lines)
}

fn script() -> Command {
    let mut command = Command::new(crate::checker::python());
    command.arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/chaos/check.py"));
    command
}
