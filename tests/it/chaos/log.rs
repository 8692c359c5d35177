//! What a pipeline's own log says is durable: how far each source is read, by the newest manifest.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use object_store::path::Path as StorePath;
use weir::state::open_store;
use weir_engine::checkpoint::{Manifest, ManifestKind, Store};
use weir_engine::env::{Env, SystemClock, TokioSpawner};
use weir_engine::feed::Ledger;

use crate::servers::minio::Minio;

/// How many checkpoints all of these pipelines keep.
const RETAINED: usize = 20;

/// How far the splits of all sources are read: rows by the split's id, `None` for all of them.
pub(crate) type Read = BTreeMap<String, Option<u64>>;

/// How far all sources of a pipeline are read: splits that are read to their end, rows of the others.
pub(crate) type Progress = (usize, u64);

/// The log of one pipeline, below a folder on disk.
#[derive(Debug)]
pub(crate) struct Log {
    /// The folder of the manifests; `None` in a bucket.
    manifests: Option<PathBuf>,
    store: Store,
    runtime: tokio::runtime::Runtime,
}

/// What the newest manifest says.
#[derive(Debug)]
pub(crate) struct Durable {
    /// All input is read, and all rows are visible.
    pub(crate) over: bool,
    /// What may be visible.
    pub(crate) high: Read,
    /// What must be visible: less than `high` when the epoch's commit may not have been made.
    pub(crate) low: Read,
}

impl Log {
    /// Opens the log of a pipeline whose `--state` is this folder.
    pub(crate) fn open(state: &Path) -> Self {
        let (runtime, env) = runtime();
        Self {
            manifests: Some(state.join("checkpoints/manifests")),
            store: open_store(&state.display().to_string(), &env).unwrap(),
            runtime,
        }
    }

    /// Opens the log of a pipeline whose `--state` is this folder of a bucket.
    pub(crate) fn in_bucket(minio: &Minio, bucket: &str, state: &str) -> Self {
        let (runtime, env) = runtime();
        let prefix = StorePath::from(format!("{state}/checkpoints"));
        Self {
            manifests: None,
            store: Store::new(Arc::new(minio.store(bucket)), prefix, None, env),
            runtime,
        }
    }

    /// The newest epoch that has a file, by its name alone.
    pub(crate) fn newest(&self) -> u64 {
        let Some(folder) = &self.manifests else {
            let epochs = self.runtime.block_on(self.store.epochs()).unwrap();
            return epochs.last().copied().unwrap_or(0);
        };
        let Ok(entries) = std::fs::read_dir(folder) else {
            return 0;
        };
        let number = |name: String| name.split('.').next()?.parse().ok();
        let names = entries.flatten().map(|entry| entry.file_name());
        names
            .filter_map(|name| number(name.to_string_lossy().into_owned()))
            .max()
            .unwrap_or(0)
    }

    /// How far the newest manifest says that all sources are read; it may be asked while a program
    /// writes, and is `None` while there is no whole manifest.
    pub(crate) fn progress(&self) -> Option<Progress> {
        let newest = self.store.inspect(self.newest());
        let read = self.read(&self.runtime.block_on(newest).ok()?);
        let ended = read.values().filter(|rows| rows.is_none()).count();
        Some((ended, read.values().flatten().sum()))
    }

    /// All manifests that can be read, from the newest.
    pub(crate) fn manifests(&self) -> Vec<Manifest> {
        let listed = self.runtime.block_on(self.store.list()).unwrap();
        listed
            .into_iter()
            .filter_map(|listed| listed.manifest.ok())
            .collect()
    }

    fn folder(&self) -> &Path {
        self.manifests.as_deref().expect("a log on disk")
    }

    /// Fails unless the manifests are one chain: each follows the one before by the same instance,
    /// or is that of a newer one that took over all of it; and unless each file of a sink is
    /// committed under one epoch.
    pub(crate) fn check_chain(&self) {
        let mut manifests = self.manifests();
        let epochs: Vec<u64> = manifests.iter().map(|manifest| manifest.epoch).collect();
        // Older ones are removed in any order, and a kill may come between two of them.
        manifests.truncate(RETAINED);
        for pair in manifests.windows(2) {
            let [newer, older] = pair else { continue };
            assert_eq!(newer.epoch, older.epoch + 1, "a gap in {epochs:?}");
            let (new, old) = (newer.generation, older.generation);
            let goes_on = new == old && newer.writer == older.writer;
            let takes_over = new > old
                && newer.kind == ManifestKind::Restored
                && newer.restored_from == Some(older.epoch)
                && newer.nodes == older.nodes
                && newer.commits == older.commits;
            assert!(
                goes_on != takes_over,
                "epoch {} of generation {new} does not follow epoch {} of generation {old}",
                newer.epoch,
                older.epoch
            );
        }
        let mut epochs: BTreeMap<&str, u64> = BTreeMap::new();
        for commit in manifests.iter().flat_map(|manifest| &manifest.commits) {
            let files = commit.tokens.iter();
            for token in files.filter(|token| token.payload.contains("\"path\"")) {
                let first = *epochs.entry(&token.payload).or_insert(commit.epoch);
                assert_eq!(first, commit.epoch, "in two epochs: {}", token.payload);
            }
        }
    }

    /// Fails when there are state files that no manifest names, after a run that has ended well.
    pub(crate) fn check_garbage(&self) {
        let root = self.folder().parent().unwrap();
        let manifests = self.manifests();
        let files = manifests.iter().flat_map(Manifest::files);
        let named: BTreeSet<PathBuf> = files.map(|file| root.join(&file.path)).collect();
        let folders = std::fs::read_dir(root.join("state")).into_iter().flatten();
        for folder in folders.flatten() {
            for file in std::fs::read_dir(folder.path()).unwrap().flatten() {
                let path = file.path();
                assert!(named.contains(&path), "garbage: {}", path.display());
            }
        }
    }

    /// The files of an epoch's manifest and its mirror.
    pub(crate) fn manifest_files(&self, epoch: u64) -> [PathBuf; 2] {
        let folder = self.folder();
        ["json", "copy.json"].map(|end| folder.join(format!("{epoch:020}.{end}")))
    }

    /// The state files that a manifest names and no earlier one had.
    pub(crate) fn new_files(&self, manifest: &Manifest) -> Vec<PathBuf> {
        let root = self.folder().parent().unwrap();
        let new = manifest.files().filter(|file| file.epoch == manifest.epoch);
        new.map(|file| root.join(&file.path)).collect()
    }

    /// Reads the newest manifest. Nobody may be writing.
    pub(crate) fn durable(&self) -> Durable {
        let manifests = self.manifests();
        let Some(newest) = manifests.first() else {
            return Durable {
                over: false,
                high: Read::new(),
                low: Read::new(),
            };
        };
        let high = self.read(newest);
        // The tokens of an epoch are in its manifest, and in those that took it over, until they
        // are committed: what was shown before is what the manifest before it says.
        let low = match newest.commits.iter().map(|commit| commit.epoch).min() {
            None => high.clone(),
            Some(open) => manifests
                .iter()
                .find(|manifest| manifest.epoch < open)
                .map_or_else(Read::new, |manifest| self.read(manifest)),
        };
        Durable {
            over: newest.kind == ManifestKind::Finished && newest.commits.is_empty(),
            high,
            low,
        }
    }

    fn read(&self, manifest: &Manifest) -> Read {
        let sources = manifest
            .nodes
            .iter()
            // Rows of a source that wait for rules are no splits.
            .filter(|node| node.id.contains("source") && !node.id.contains("/gate("));
        let files = sources.flat_map(|node| node.chains.iter().flat_map(|chain| &chain.files));
        let mut ledger = Ledger::default();
        for file in files {
            let state = self.runtime.block_on(self.store.read_state(file));
            ledger.restore(&mut state.unwrap()).unwrap();
        }
        let rows = ledger.entries().map(|entry| {
            let position = entry.split.position.as_ref().map(|p| p.0.as_str());
            let rows = match position {
                _ if entry.finished => None,
                None | Some("beginning") => Some(0),
                Some(rows) => Some(rows.parse().unwrap()),
            };
            (entry.split.id.clone(), rows)
        });
        rows.collect()
    }
}

fn runtime() -> (tokio::runtime::Runtime, Env) {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .unwrap();
    let handle = runtime.handle().clone();
    let spawner = TokioSpawner::new(handle.clone(), handle);
    let env = Env::new(Arc::new(SystemClock::default()), Arc::new(spawner), 1);
    (runtime, env)
}

/// Rows per partition: split `number/parts` of a generator, or partition `topic/number`.
pub(crate) fn per_part(
    read: &Read,
    parts: usize,
    name: impl Fn(usize) -> String,
    all: u64,
) -> Vec<u64> {
    let rows = |part| match read.get(&name(part)) {
        None => 0,
        Some(None) => (all + parts as u64 - 1 - part as u64) / parts as u64,
        Some(Some(rows)) => *rows,
    };
    (0..parts).map(rows).collect()
}
