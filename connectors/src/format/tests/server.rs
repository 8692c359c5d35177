//! A small HTTP server that speaks as a schema registry does.

use std::collections::BTreeMap;
use std::sync::Arc;

use parking_lot::Mutex;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use weir_engine::env::{TaskHandle, Work};

use super::env;

/// What the server knows and saw.
#[derive(Debug, Default)]
pub(super) struct State {
    /// Subject to the numbers of its schemas, the first version first.
    pub(super) subjects: BTreeMap<String, Vec<u32>>,
    /// Number to the schema as it is answered.
    pub(super) schemas: BTreeMap<u32, Value>,
    /// Requests as they came: method, path, authorization.
    pub(super) seen: Vec<String>,
    /// Answers to give first: status and body; 0 closes the connection.
    pub(super) troubles: Vec<(u16, String)>,
}

/// A running server.
pub(super) struct Server {
    pub(super) url: String,
    pub(super) state: Arc<Mutex<State>>,
    task: TaskHandle,
}

impl Drop for Server {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Server {
    pub(super) async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let state = Arc::new(Mutex::new(State::default()));
        let shared = Arc::clone(&state);
        let task = env().spawn(Work::Io, async move {
            while let Ok((stream, _)) = listener.accept().await {
                drop(serve(stream, &shared).await);
            }
        });
        Self { url, state, task }
    }

    /// Adds a schema to a subject.
    pub(super) fn add(
        &self,
        subject: &str,
        id: u32,
        kind: &str,
        text: &str,
        references: &[(&str, &str, i64)],
    ) {
        let references: Vec<Value> = references
            .iter()
            .map(|(name, subject, version)| json!({"name": name, "subject": subject, "version": version}))
            .collect();
        let mut schema = json!({"schema": text, "references": references});
        if kind != "AVRO" {
            schema["schemaType"] = json!(kind);
        }
        let mut state = self.state.lock();
        state.schemas.insert(id, schema);
        state
            .subjects
            .entry(subject.to_owned())
            .or_default()
            .push(id);
    }

    pub(super) fn task_abort(&self) {
        self.task.abort();
    }

    pub(super) fn seen(&self) -> Vec<String> {
        std::mem::take(&mut self.state.lock().seen)
    }
}

async fn serve(mut stream: TcpStream, state: &Mutex<State>) -> std::io::Result<()> {
    let mut bytes = Vec::new();
    let (head, mut body) = loop {
        let mut chunk = [0; 4096];
        let count = stream.read(&mut chunk).await?;
        bytes.extend_from_slice(&chunk[..count]);
        if let Some(end) = bytes.windows(4).position(|window| window == b"\r\n\r\n") {
            let head = String::from_utf8_lossy(&bytes[..end]).into_owned();
            break (head, bytes[end + 4..].to_vec());
        }
        if count == 0 {
            return Ok(());
        }
    };
    let header = |name: &str| {
        head.lines()
            .filter_map(|line| line.split_once(": "))
            .find(|(key, _)| key.eq_ignore_ascii_case(name))
            .map(|(_, value)| value.to_owned())
    };
    let length: usize = header("content-length").map_or(0, |text| text.parse().unwrap());
    while body.len() < length {
        let mut chunk = [0; 4096];
        let count = stream.read(&mut chunk).await?;
        body.extend_from_slice(&chunk[..count]);
    }
    let request: Vec<&str> = head.split(' ').collect();
    let (status, text) = {
        let mut state = state.lock();
        let login = header("authorization").unwrap_or_default();
        state.seen.push(
            format!("{} {} {login}", request[0], request[1])
                .trim()
                .to_owned(),
        );
        if state.troubles.is_empty() {
            state.answer(request[0], request[1], &body)
        } else {
            state.troubles.remove(0)
        }
    };
    if status == 0 {
        return Ok(());
    }
    let answer = format!(
        "HTTP/1.1 {status} X\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{text}",
        text.len()
    );
    stream.write_all(answer.as_bytes()).await?;
    stream.shutdown().await
}

impl State {
    fn answer(&mut self, method: &str, path: &str, body: &[u8]) -> (u16, String) {
        let parts: Vec<&str> = path.trim_matches('/').split('/').collect();
        let missing = |code: u32| {
            (
                404,
                json!({"error_code": code, "message": "not found"}).to_string(),
            )
        };
        match (method, parts.as_slice()) {
            ("GET", ["schemas", "ids", id]) => match self.schemas.get(&id.parse().unwrap()) {
                Some(schema) => (200, schema.to_string()),
                None => missing(40403),
            },
            ("GET", ["subjects", subject, "versions", version]) => {
                let Some(ids) = self.subjects.get(*subject) else {
                    return missing(40401);
                };
                let id = match *version {
                    "latest" => ids.last(),
                    number => ids.get(number.parse::<usize>().unwrap() - 1),
                };
                let Some(id) = id else {
                    return missing(40402);
                };
                let mut schema = self.schemas[id].clone();
                schema["id"] = json!(id);
                (200, schema.to_string())
            }
            ("POST", ["subjects", subject, "versions"]) => {
                let asked: Value = serde_json::from_slice(body).unwrap();
                let id = u32::try_from(self.schemas.len()).unwrap() + 1;
                self.schemas.insert(id, json!({"schema": asked["schema"]}));
                self.subjects
                    .entry((*subject).to_owned())
                    .or_default()
                    .push(id);
                (200, json!({"id": id}).to_string())
            }
            _ => (404, "<html>nothing here</html>".to_owned()),
        }
    }
}
