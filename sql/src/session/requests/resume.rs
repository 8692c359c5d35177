//! RESUME SOURCE: lets sources read on that rules have paused.

use std::sync::Arc;

use weir_engine::error::{Error, Kind, Result, codes};
use weir_engine::options::unknown;
use weir_engine::quarantine::Quarantine;
use weir_engine::rules::Pause;

use crate::ast::{Name, ObjectKind};
use crate::catalog::{Object, word};
use crate::session::{Outcome, Session, show};

impl Session {
    /// Ends the pauses of a source; tells of them. In the script of a pipeline the source may as well not
    /// be paused: the statement stays there.
    pub(in crate::session) async fn resume(&mut self, source: &Name) -> Result<Outcome> {
        if self.runs {
            let kind = match &self.catalog.get(source)?.object {
                Object::Source(_) => None,
                other => Some(other.kind()),
            };
            if let Some(kind) = kind {
                return Err(no_source(source, kind));
            }
        }
        let mut open: Vec<(Arc<dyn Quarantine>, Vec<Pause>)> = Vec::new();
        for store in &self.quarantines {
            let of = Arc::clone(store);
            let paused = self.env.blocking(move || of.paused()).await??;
            open.push((Arc::clone(store), paused));
        }
        let known: Vec<String> = open
            .iter()
            .flat_map(|(_, paused)| paused.iter().map(|pause| pause.source.clone()))
            .collect();
        for (_, paused) in &mut open {
            paused.retain(|pause| pause.source == source.text);
        }
        open.retain(|(_, paused)| !paused.is_empty());
        if let [(first, _), (second, _), ..] = open.as_slice() {
            let message = format!("several pipelines have a paused source \"{}\"", source.text);
            return Err(Error::new(Kind::Invalid, codes::QUARANTINE, message)
                .detail(format!(
                    "among them {} and {}",
                    first.place(),
                    second.place()
                ))
                .hint("name the state of one: weir sql --state FOLDER")
                .at(source.place));
        }
        let Some((store, paused)) = open.pop() else {
            if self.runs {
                return told(source, &[]);
            }
            let known = known.iter().map(String::as_str);
            let error = unknown(codes::UNKNOWN_TABLE, "paused source", &source.text, known);
            return Err(error.at(source.place));
        };
        let ended = paused.clone();
        let resumed = self
            .env
            .blocking(move || ended.iter().try_for_each(|pause| store.resume(pause)));
        resumed.await??;
        told(source, &paused)
    }
}

fn no_source(name: &Name, kind: ObjectKind) -> Error {
    let message = format!(
        "\"{}\" is a {}, and only sources pause",
        name.text,
        word(kind)
    );
    Error::new(Kind::Invalid, codes::UNKNOWN_TABLE, message).at(name.place)
}

fn told(source: &Name, paused: &[Pause]) -> Result<Outcome> {
    let row = |pause: &Pause| {
        let (rule, detail) = (pause.rule.clone(), pause.detail.clone());
        vec!["resume".to_owned(), source.text.clone(), rule, detail]
    };
    let rows: Vec<Vec<String>> = paused.iter().map(row).collect();
    show::texts(&["request", "source", "rule", "paused_because"], &rows)
}
