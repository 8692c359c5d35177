//! The line to a store, below its client: tells people why a job waits, and lets the client repeat
//! what it would give up although repeating it does no harm.
//!
//! The client repeats calls without a word. It gives up when an answer breaks off in its middle, and
//! when a connection breaks under a call that is neither reading nor marked as repeatable, such as
//! the removal of objects. A conditional write is never repeated here: who makes it has to find out
//! whether it was carried out.

use std::sync::Arc;

use async_trait::async_trait;
use object_store::ClientOptions;
use object_store::client::{
    HttpClient, HttpConnector, HttpError, HttpErrorKind, HttpRequest, HttpResponse, HttpService,
    ReqwestConnector,
};
use parking_lot::Mutex;
use weir_engine::env::{Clock as _, SystemClock};

use super::health::{Health, News};

/// Longest part of a server's own word for an error that is shown.
const CODE_BYTES_MAX: usize = 64;

/// Makes the line of one store.
#[derive(Debug)]
pub(super) struct Connector {
    line: Arc<Line>,
}

impl Connector {
    /// Takes how people call the store.
    pub(super) fn new(place: String) -> Self {
        Self {
            line: Arc::new(Line {
                place,
                clock: SystemClock::default(),
                health: Mutex::default(),
            }),
        }
    }
}

impl HttpConnector for Connector {
    fn connect(&self, options: &ClientOptions) -> object_store::Result<HttpClient> {
        Ok(HttpClient::new(Service {
            inner: ReqwestConnector::default().connect(options)?,
            line: Arc::clone(&self.line),
        }))
    }
}

#[derive(Debug)]
struct Line {
    place: String,
    clock: SystemClock,
    health: Mutex<Health>,
}

impl Line {
    fn heard(&self, works: bool, why: impl FnOnce() -> String) {
        let now = self.clock.monotonic();
        let news = self.health.lock().heard(now, works);
        let place = &self.place;
        match news {
            None => {}
            Some(News::Away { failed, span }) => tracing::warn!(
                "{place} has not answered for {} s: {failed} calls failed and are repeated, the last \
                 with: {}",
                span.as_secs(),
                why()
            ),
            Some(News::Back(span)) => {
                tracing::warn!("{place} answers again, after {} s", span.as_secs());
            }
            Some(News::Shaky {
                failed,
                calls,
                span,
            }) => tracing::warn!(
                "{failed} of {calls} calls to {place} failed within {} s and were repeated, the last \
                 with: {}",
                span.as_secs(),
                why()
            ),
        }
    }
}

#[derive(Debug)]
struct Service {
    inner: HttpClient,
    line: Arc<Line>,
}

#[async_trait]
impl HttpService for Service {
    async fn call(&self, request: HttpRequest) -> Result<HttpResponse, HttpError> {
        let (harmless, streams) = (is_harmless(&request), is_streamed(&request));
        let answer = match self.inner.execute(request).await {
            Ok(answer) if !streams || !answer.status().is_success() => whole(answer).await,
            Ok(answer) => Ok((answer, None)),
            Err(failure) => Err(failure),
        };
        match answer {
            Ok((answer, code)) => {
                let status = answer.status();
                let works = !is_transient(status.as_u16());
                self.line
                    .heard(works, || format!("{status} {}", code.unwrap_or_default()));
                Ok(answer)
            }
            Err(failure) => {
                self.line.heard(false, || root_cause(&failure));
                Err(if harmless { again(failure) } else { failure })
            }
        }
    }
}

/// Reads an answer to its end, so that one that breaks off is a failed call; gives the server's
/// own word for an error.
async fn whole(answer: HttpResponse) -> Result<(HttpResponse, Option<String>), HttpError> {
    let failed = !answer.status().is_success();
    let (head, body) = answer.into_parts();
    let body = body.bytes().await?;
    let code = failed.then(|| code(&body)).flatten();
    Ok((HttpResponse::from_parts(head, body.into()), code))
}

/// The code in an error of S3, GCS or Azure: `<Code>SlowDown</Code>`.
fn code(body: &[u8]) -> Option<String> {
    let text = String::from_utf8_lossy(body);
    let (_, rest) = text.split_once("<Code>")?;
    let (code, _) = rest.split_once("</Code>")?;
    (code.len() <= CODE_BYTES_MAX).then(|| code.to_owned())
}

/// Whether the answer is an object's content, which has retries of its own.
fn is_streamed(request: &HttpRequest) -> bool {
    let lists = |query: &str| query.contains("list");
    request.method() == "GET" && !request.uri().query().is_some_and(lists)
}

/// Whether a call may be carried out twice: all but conditional ones.
fn is_harmless(request: &HttpRequest) -> bool {
    let conditional = |name: &str| name.contains("if-") && name != "if-modified-since";
    !request
        .headers()
        .keys()
        .any(|name| conditional(name.as_str()))
}

/// The answers that the client repeats a call after.
fn is_transient(status: u16) -> bool {
    status >= 500 || [408, 429].contains(&status)
}

/// Lets the client repeat a call that has failed on its way.
fn again(failure: HttpError) -> HttpError {
    match failure.kind() {
        HttpErrorKind::Connect | HttpErrorKind::Request => failure,
        _ => HttpError::new(HttpErrorKind::Request, failure),
    }
}

fn root_cause(failure: &HttpError) -> String {
    let mut cause: &dyn std::error::Error = failure;
    while let Some(deeper) = cause.source() {
        cause = deeper;
    }
    cause.to_string()
}
