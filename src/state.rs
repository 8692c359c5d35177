//! Where a pipeline keeps its checkpoints and its dead letters.

use std::path::{Path, PathBuf};

use object_store::path::Path as StorePath;
use weir_connectors::state;
use weir_engine::checkpoint::Store;
use weir_engine::env::Env;
use weir_engine::error::Result;
use weir_engine::graph::{Graph, NodeKind};
use weir_engine::runtime::CheckpointOptions;
use weir_engine::source::Boundedness;
use weir_sql::settings::Settings;

/// The place of one pipeline's state.
#[derive(Debug, Clone)]
pub struct StatePlace {
    place: String,
    /// Whether it was asked for, rather than the default.
    given: bool,
    default: PathBuf,
}

impl StatePlace {
    /// The place that the settings name; else a folder of the pipeline's name below `.weir`.
    pub fn of(settings: &Settings, pipeline: &str) -> Result<Self> {
        let default = default_state(pipeline);
        let place = match settings.state() {
            Some(given) => given.to_owned(),
            None => default.display().to_string(),
        };
        // A place that cannot be is told before anything is read.
        state::open(&place)?;
        Ok(Self {
            place,
            given: settings.state().is_some(),
            default,
        })
    }

    /// The place as people write it.
    pub fn shown(&self) -> String {
        self.place.clone()
    }

    /// The folder of what is always on the local disk: dead letters.
    pub fn folder(&self) -> PathBuf {
        match state::open(&self.place) {
            Ok(location) => location.local_root.unwrap_or_else(|| self.default.clone()),
            Err(_) => self.default.clone(),
        }
    }

    /// Opens the store of the checkpoints.
    pub fn store(&self, env: &Env) -> Result<Store> {
        open_store(&self.place, env)
    }

    /// Whether a graph is run with checkpoints, and how: when a place was given, when an input has
    /// no end, when the script keeps a view, and when the run takes requests about rows in quarantine
    /// `alone`.
    pub fn checkpoints(
        &self,
        settings: &Settings,
        graph: &Graph,
        env: &Env,
        alone: bool,
    ) -> Result<Option<CheckpointOptions>> {
        let needs = graph.nodes().any(|(_, node)| match &node.kind {
            NodeKind::Scan(scan) => scan.source.boundedness() != Boundedness::Bounded,
            NodeKind::Operator(factory) => factory.view().is_some(),
            NodeKind::Sink(sink) => sink.needs_checkpoints().is_some() && self.given,
            NodeKind::Island(_) | NodeKind::Lookup(_) => false,
        });
        if !self.given && !needs && !alone {
            return Ok(None);
        }
        Ok(Some(CheckpointOptions {
            alone,
            store: self.store(env)?,
            interval: settings.checkpoint_interval(),
            retained: settings.checkpoints_retained(),
        }))
    }
}

/// Opens the checkpoints at a place.
pub fn open_store(place: &str, env: &Env) -> Result<Store> {
    let location = state::open(place)?;
    let prefix = location.path.clone().join("checkpoints");
    // The store of local files has its root at `/`.
    let root = location.local_root.map(|_| PathBuf::from("/"));
    let prefix = StorePath::from_iter(prefix.parts());
    Ok(Store::new(location.store, prefix, root, env.clone()))
}

/// Where state is kept when nothing is said: a name becomes one folder, whatever is in it.
pub fn default_state(name: &str) -> PathBuf {
    let safe = |c: char| {
        if c.is_alphanumeric() || "-_".contains(c) {
            c
        } else {
            '_'
        }
    };
    let folder: String = name.chars().map(safe).collect();
    Path::new(".weir").join(folder)
}

#[cfg(test)]
mod tests {
    use super::*;
    use weir_engine::error::codes;

    #[test]
    fn state_has_a_place() {
        let place = |given: Option<&str>| {
            let mut settings = Settings::default();
            given
                .into_iter()
                .for_each(|given| settings.set("pipeline.state", given).unwrap());
            StatePlace::of(&settings, "a b/../c")
        };
        assert_eq!(place(None).unwrap().shown(), ".weir/a_b____c");
        assert_eq!(place(Some("x/y")).unwrap().shown(), "x/y");
        let folder = place(Some("file:///x")).unwrap().folder();
        assert_eq!(folder, Path::new("/x"));
        let error = place(Some("ftp://bucket/x")).unwrap_err();
        assert_eq!(error.code(), codes::UNSUPPORTED);
    }
}
