//! A stand-in for a schema registry: a small server that speaks the part of Confluent's REST
//! interface that readers of Avro use. A real registry needs far more than these tests can bring.

use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

use serde_json::{Value, json};

/// Schemas of subjects, by their numbers from 1 on.
type Schemas = Arc<Mutex<Vec<(String, String)>>>;

/// A running registry.
#[derive(Debug)]
pub(crate) struct Registry {
    /// Where it is.
    pub(crate) url: String,
    schemas: Schemas,
}

impl Registry {
    /// Starts it; it ends with the process.
    pub(crate) fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let schemas = Schemas::default();
        let known = Arc::clone(&schemas);
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                // A client that goes away in the middle is its own business.
                serve(stream, &known).ok();
            }
        });
        Self { url, schemas }
    }

    /// Registers an Avro schema; gives its number.
    pub(crate) fn add(&self, subject: &str, schema: &str) -> u32 {
        let mut schemas = self.schemas.lock().unwrap();
        schemas.push((subject.to_owned(), schema.to_owned()));
        u32::try_from(schemas.len()).unwrap()
    }
}

fn serve(mut stream: TcpStream, schemas: &Schemas) -> std::io::Result<()> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        if stream.read(&mut byte)? == 0 {
            return Ok(());
        }
        head.extend_from_slice(&byte);
    }
    let head = String::from_utf8_lossy(&head).into_owned();
    let path = head.split(' ').nth(1).unwrap_or_default();
    let answer = answer(path, &schemas.lock().unwrap());
    let (status, body) = match answer {
        Some(body) => ("200 OK", body.to_string()),
        None => (
            "404 Not Found",
            json!({"error_code": 40403, "message": "not found"}).to_string(),
        ),
    };
    let length = body.len();
    write!(
        stream,
        "HTTP/1.1 {status}\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{body}"
    )
}

fn answer(path: &str, schemas: &[(String, String)]) -> Option<Value> {
    let parts: Vec<&str> = path.trim_matches('/').split('/').collect();
    match parts.as_slice() {
        ["schemas", "ids", number] => {
            let number: usize = number.parse().ok()?;
            let (_, schema) = schemas.get(number.checked_sub(1)?)?;
            Some(json!({"schema": schema}))
        }
        ["subjects", subject, "versions", "latest"] => {
            let found = schemas.iter().rposition(|(of, _)| of == subject)?;
            Some(json!({"schema": schemas[found].1, "id": found + 1, "version": 1}))
        }
        _ => None,
    }
}
