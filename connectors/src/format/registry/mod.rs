//! The client of a schema registry with Confluent's REST interface: schemas by number or subject,
//! and the registering of a sink's schema.
//!
//! A question is asked again, with growing waits, while the registry does not answer, up to
//! `schema_registry_timeout`. Schemas never change under their number, so they are kept, up to a
//! bound. Nothing prints the login.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use reqwest::header::{ACCEPT, CONTENT_TYPE};
use reqwest::redirect;
use serde::Deserialize;
use serde_json::json;
use url::Url;
use weir_engine::env::{Env, Work};
use weir_engine::error::{Error, Kind, Result, codes};

use self::verdict::{Verdict, judge};
use super::SchemaId;
use super::options::{Login, RegistryOptions};

mod verdict;

/// The media type of the interface.
const MEDIA_TYPE: &str = "application/vnd.schemaregistry.v1+json";
/// Longest time for one request and its answer; retries come on top.
const REQUEST_TIME_MAX: Duration = Duration::from_secs(10);
/// The first wait before a question is asked again; it doubles.
const WAIT_FIRST: Duration = Duration::from_millis(200);
/// The longest wait.
const WAIT_MAX: Duration = Duration::from_secs(5);
/// Attempts of one question at most; the time is up before, unless it is set very long.
const ATTEMPTS_MAX: usize = 1_000;
/// Bytes of an answer: the largest schemas known are far smaller.
const ANSWER_BYTES_MAX: usize = 4 << 20;
/// Redirects of a registry behind a proxy.
const REDIRECTS_MAX: usize = 3;
/// Schemas that one schema refers to, theirs included.
const REFERENCES_MAX: usize = 64;
/// Schemas that are kept: a topic has a few.
const SCHEMAS_KEPT_MAX: usize = 1_024;

/// The language of a schema.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Language {
    /// Avro, in JSON.
    Avro,
    /// Protobuf, as a `.proto` file.
    Protobuf,
    /// Another.
    Other,
}

/// A schema of the registry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Registered {
    /// Its number.
    pub(super) id: SchemaId,
    /// Its language.
    pub(super) language: Language,
    /// Its text.
    pub(super) text: String,
    /// The schemas it refers to, theirs included: the name by which, and the text.
    pub(super) references: Vec<(String, String)>,
}

/// A client of one registry.
#[derive(Debug)]
pub(super) struct Registry {
    client: reqwest::Client,
    options: RegistryOptions,
    env: Env,
    kept: Mutex<HashMap<SchemaId, Arc<Registered>>>,
}

#[derive(Debug, Deserialize)]
struct Answer {
    id: Option<SchemaId>,
    #[serde(default)]
    schema: String,
    #[serde(rename = "schemaType")]
    schema_type: Option<String>,
    #[serde(default)]
    references: Vec<Reference>,
}

#[derive(Debug, Clone, Deserialize)]
struct Reference {
    name: String,
    subject: String,
    version: i64,
}

impl Registry {
    /// Makes a client; nothing is asked yet.
    pub(super) fn new(options: &RegistryOptions, env: &Env) -> Result<Arc<Self>> {
        let client = reqwest::Client::builder()
            .timeout(REQUEST_TIME_MAX)
            .connect_timeout(REQUEST_TIME_MAX)
            .redirect(redirect::Policy::limited(REDIRECTS_MAX))
            .build()
            .map_err(|error| Error::internal("no HTTP client can be made").caused_by(error))?;
        Ok(Arc::new(Self {
            client,
            options: options.clone(),
            env: env.clone(),
            kept: Mutex::default(),
        }))
    }

    /// The subject of the values.
    pub(super) fn subject(&self) -> &str {
        &self.options.subject
    }

    /// The place, for people.
    pub(super) fn place(&self) -> &str {
        self.options.url.as_str()
    }

    /// Gives the schema of a number; `None` when the registry has none.
    pub(super) async fn by_id(&self, id: SchemaId) -> Result<Option<Arc<Registered>>> {
        if let Some(known) = self.kept.lock().get(&id) {
            return Ok(Some(Arc::clone(known)));
        }
        match self.ask(&["schemas", "ids", &id.to_string()], None).await? {
            Some(answer) => self.complete(id, answer).await.map(Some),
            None => Ok(None),
        }
    }

    /// Gives the latest schema of the subject; `None` when there is none.
    pub(super) async fn latest(&self) -> Result<Option<Arc<Registered>>> {
        let path = ["subjects", self.subject(), "versions", "latest"];
        match self.ask(&path, None).await? {
            Some(answer) => {
                let id = answer
                    .id
                    .ok_or_else(|| self.odd("a schema without a number"))?;
                self.complete(id, answer).await.map(Some)
            }
            None => Ok(None),
        }
    }

    /// Registers an Avro schema under the subject, or finds it there; gives its number.
    pub(super) async fn register(&self, schema: &str) -> Result<SchemaId> {
        let body = json!({ "schema": schema, "schemaType": "AVRO" }).to_string();
        let path = ["subjects", self.subject(), "versions"];
        let answer = self.ask(&path, Some(body)).await?;
        let id = answer.and_then(|answer| answer.id);
        id.ok_or_else(|| self.odd("no number for a schema that was registered"))
    }

    /// Looks up what the schema refers to, and keeps it.
    async fn complete(&self, id: SchemaId, answer: Answer) -> Result<Arc<Registered>> {
        let mut references: Vec<(String, String)> = Vec::new();
        let mut open = answer.references;
        while let Some(reference) = open.pop() {
            if references.iter().any(|(name, _)| *name == reference.name) {
                continue;
            }
            if references.len() >= REFERENCES_MAX {
                let message = format!("schema {id} refers to more than {REFERENCES_MAX} others");
                return Err(Error::new(Kind::Limit, codes::LIMIT, message));
            }
            let version = reference.version.to_string();
            let path = ["subjects", &reference.subject, "versions", &version];
            let Some(found) = self.ask(&path, None).await? else {
                let message = format!("schema {id} refers to one that the registry does not have");
                return Err(
                    Error::new(Kind::Invalid, codes::SCHEMA, message).detail(format!(
                        "{}: subject {}, version {version}",
                        reference.name, reference.subject
                    )),
                );
            };
            references.push((reference.name, found.schema));
            open.extend(found.references);
        }
        let schema = Arc::new(Registered {
            id,
            language: match answer.schema_type.as_deref() {
                None | Some("AVRO") => Language::Avro,
                Some("PROTOBUF") => Language::Protobuf,
                Some(_) => Language::Other,
            },
            text: answer.schema,
            references,
        });
        let mut kept = self.kept.lock();
        if kept.len() >= SCHEMAS_KEPT_MAX {
            kept.clear();
        }
        kept.insert(id, Arc::clone(&schema));
        Ok(schema)
    }

    /// Asks until there is an answer or the time is up; `None` when the registry has it not.
    async fn ask(&self, path: &[&str], body: Option<String>) -> Result<Option<Answer>> {
        let mut url = self.options.url.clone();
        match url.path_segments_mut() {
            Ok(mut segments) => drop(segments.pop_if_empty().extend(path)),
            Err(()) => return Err(Error::internal("the registry's URL has no path")),
        }
        let clock = self.env.clock_arc();
        let start = clock.monotonic();
        let mut wait = WAIT_FIRST;
        for _ in 0..ATTEMPTS_MAX {
            let (verdict, text) = match self.once(url.clone(), body.clone()).await? {
                Ok((status, text)) => (judge(status, &text), text),
                Err(why) => (Verdict::Again(why), Vec::new()),
            };
            let why = match verdict {
                Verdict::Answer => {
                    let answer = serde_json::from_slice(&text);
                    return answer.map(Some).map_err(|error| {
                        self.odd("an answer that is not its own")
                            .detail(error.to_string())
                    });
                }
                Verdict::Missing => return Ok(None),
                Verdict::Refused(refusal) => return Err(refusal.error(self.place(), &url)),
                Verdict::Again(why) => why,
            };
            if clock.monotonic().saturating_sub(start) + wait > self.options.retry_time {
                return Err(self.silent(&why));
            }
            clock.sleep(wait).await;
            wait = (wait * 2).min(WAIT_MAX);
        }
        Err(self.silent("it was asked too often"))
    }

    /// Asks once, on the runtime that waits for peers; gives the status and the body.
    async fn once(
        &self,
        url: Url,
        body: Option<String>,
    ) -> Result<std::result::Result<(u16, Vec<u8>), String>> {
        let request = match body {
            Some(body) => self
                .client
                .post(url)
                .header(CONTENT_TYPE, MEDIA_TYPE)
                .body(body),
            None => self.client.get(url),
        };
        let request = request.header(ACCEPT, MEDIA_TYPE);
        let request = match &self.options.login {
            Login::None => request,
            Login::Basic(user, password) => request.basic_auth(user, Some(password)),
            Login::Bearer(token) => request.bearer_auth(token),
        };
        let (give, take) = tokio::sync::oneshot::channel();
        drop(self.env.spawn(Work::Io, async move {
            drop(give.send(exchange(request).await));
        }));
        take.await
            .map_err(|_| Error::internal("a question to the schema registry gave no answer"))
    }

    fn silent(&self, why: &str) -> Error {
        let message = format!("the schema registry {} does not answer", self.place());
        Error::new(Kind::Unavailable, codes::UNAVAILABLE, message)
            .detail(why)
            .hint("check schema_registry and that the registry runs; questions are repeated for schema_registry_timeout")
    }

    fn odd(&self, what: &str) -> Error {
        let message = format!("the schema registry {} gave {what}", self.place());
        Error::new(Kind::Data, codes::SCHEMA, message)
            .hint("check that schema_registry is the URL of a registry with Confluent's interface")
    }
}

/// Sends a request and reads the answer, up to a bound; an error text says what went wrong.
async fn exchange(request: reqwest::RequestBuilder) -> std::result::Result<(u16, Vec<u8>), String> {
    // The URL is left out: who reads the error knows it.
    let said = |error: reqwest::Error| {
        let error = error.without_url();
        match std::error::Error::source(&error) {
            Some(cause) => format!("{error}: {cause}"),
            None => error.to_string(),
        }
    };
    let mut response = request.send().await.map_err(said)?;
    let status = response.status().as_u16();
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(said)? {
        if body.len() + chunk.len() > ANSWER_BYTES_MAX {
            return Err(format!(
                "the answer is longer than {ANSWER_BYTES_MAX} bytes"
            ));
        }
        body.extend_from_slice(&chunk);
    }
    Ok((status, body))
}
