//! What stands in the place before the job: it is added to, replaced, or a reason not to start.
//!
//! Only places where the sink itself writes are looked at: its folder, and in it the folders that
//! are named as partitions are (`k=v`). Names that begin with `_` or `.` are never touched, nor is
//! a link.
//!
//! To replace, the old files are listed before the first row is read, and removed after the new
//! ones are visible: a failure at any moment leaves the old files, the new ones, or both, and for
//! that moment a reader may see both. A batch job removes them when all its work is committed,
//! whether that is any file or none; a streaming job with its first commit, or with its end.

use std::collections::HashSet;
use std::fs;
use std::io::ErrorKind;
use std::path::Path;
use std::sync::Arc;

use futures::StreamExt as _;
use tokio::sync::Mutex;
use weir_engine::error::{Error, Kind, Result, codes};
use weir_engine::limits;
use weir_engine::options::Options;
use weir_engine::sink::Start;

use super::local::LocalPlace;
use super::names::Names;
use super::object::ObjectPlace;
use super::place::Place;
use super::transfer::spawn;
use crate::store::{error, io_error};

/// The ends that a compressed text file has after that of its format.
const COMPRESSED: [&str; 3] = ["", ".gz", ".zst"];

/// What to do about files that stand in the place already.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum OnExisting {
    /// The new files stand beside them.
    Append,
    /// They are removed when the new files are visible.
    Replace,
    /// The job does not start.
    Fail,
}

impl OnExisting {
    /// Reads the option.
    pub(super) fn of(options: &Options) -> Self {
        match options.text("on_existing") {
            Some("replace") => Self::Replace,
            Some("fail") => Self::Fail,
            _ => Self::Append,
        }
    }
}

/// The old files of one sink.
#[derive(Debug)]
pub(super) struct Existing {
    rule: OnExisting,
    /// Such as `.csv`, without the end that a compression adds.
    extension: &'static str,
    streaming: bool,
    /// Paths that are to be removed, relative to the sink's folder.
    old: Mutex<HashSet<String>>,
}

impl Existing {
    /// Knows of no files yet.
    pub(super) fn new(rule: OnExisting, extension: &'static str, streaming: bool) -> Self {
        let old = Mutex::default();
        Self {
            rule,
            extension,
            streaming,
            old,
        }
    }

    /// Looks at what is there before the first row is read. A run that goes on finds its own files
    /// there, which are not old; a stream has replaced what was before them already.
    pub(super) async fn check(&self, place: &Place, start: Start, own: &Names) -> Result<()> {
        let resumed = start != Start::Fresh;
        match self.rule {
            OnExisting::Append => Ok(()),
            OnExisting::Replace if resumed && self.streaming => Ok(()),
            OnExisting::Fail if resumed => Ok(()),
            OnExisting::Replace => {
                let (extension, own) = (self.extension, own.clone());
                let is_old = move |name: &str| {
                    counts(name, extension) && !(resumed && own.epoch(name).is_some())
                };
                let found = list(place, Arc::new(is_old), limits::FILES_LISTED_MAX).await?;
                if found.len() > limits::FILES_LISTED_MAX {
                    return Err(too_many(place.url()));
                }
                *self.old.lock().await = found.into_iter().collect();
                Ok(())
            }
            OnExisting::Fail => match list(place, Arc::new(|_: &str| true), 0).await?.first() {
                None => Ok(()),
                Some(file) => Err(occupied(place.url(), file)),
            },
        }
    }

    /// A file of the job is visible. It is never an old one, even if it was visible before, which
    /// it is when a commit is repeated.
    pub(super) async fn committed(&self, place: &Place, path: &str) -> Result<()> {
        if self.rule != OnExisting::Replace {
            return Ok(());
        }
        let mut old = self.old.lock().await;
        old.remove(path);
        if self.streaming {
            clear(place, &mut old).await?;
        }
        Ok(())
    }

    /// All files of the job are visible.
    pub(super) async fn complete(&self, place: &Place) -> Result<()> {
        let mut old = self.old.lock().await;
        clear(place, &mut old).await
    }
}

/// Removes the old files. What could not be removed stays listed, for another attempt.
async fn clear(place: &Place, old: &mut HashSet<String>) -> Result<()> {
    if old.is_empty() {
        return Ok(());
    }
    let paths: Vec<String> = old.iter().cloned().collect();
    remove(place, paths).await.map_err(|e| {
        e.hint("the new files are visible, and some of those that they replace still stand there")
    })?;
    old.clear();
    Ok(())
}

/// Says of a visible file's name whether it is looked for.
pub(super) type Wanted = Arc<dyn Fn(&str) -> bool + Send + Sync>;

/// Lists visible files, and stops at the first that is more than `max`.
pub(super) async fn list(place: &Place, wanted: Wanted, max: usize) -> Result<Vec<String>> {
    match place {
        Place::Local(place) => {
            let (root, url) = (place.root.clone(), place.url().to_owned());
            let walk = move || walk(&root, &*wanted, max).map_err(|e| io_error(e, &url));
            place.env.blocking(walk).await?
        }
        Place::Object(place) => list_objects(place, wanted, max).await,
    }
}

/// Removes files; one that is gone already is success.
pub(super) async fn remove(place: &Place, paths: Vec<String>) -> Result<()> {
    match place {
        Place::Local(place) => remove_local(place, paths).await,
        Place::Object(place) => remove_objects(place, paths).await,
    }
}

fn is_hidden(name: &str) -> bool {
    name.starts_with(['.', '_'])
}

/// A column's name may begin with `_`, and readers see its folder all the same.
fn is_partition(name: &str) -> bool {
    !name.starts_with('.') && name.contains('=')
}

/// Whether a file is one of this format.
fn counts(name: &str, extension: &str) -> bool {
    COMPRESSED.iter().any(|end| {
        name.strip_suffix(end)
            .is_some_and(|n| n.ends_with(extension))
    })
}

fn walk(root: &Path, wanted: &dyn Fn(&str) -> bool, max: usize) -> std::io::Result<Vec<String>> {
    let mut found = Vec::new();
    let mut folders = vec![String::new()];
    while let Some(folder) = folders.pop() {
        let entries = match fs::read_dir(root.join(&folder)) {
            Err(e) if e.kind() == ErrorKind::NotFound => continue,
            other => other?,
        };
        for entry in entries {
            let entry = entry?;
            let (name, kind) = (entry.file_name(), entry.file_type()?);
            // The sink writes no name that is not Unicode.
            let Some(name) = name.to_str() else { continue };
            let path = if folder.is_empty() {
                name.to_owned()
            } else {
                format!("{folder}/{name}")
            };
            if kind.is_dir() && is_partition(name) {
                folders.push(path);
            } else if kind.is_file() && !is_hidden(name) && wanted(name) {
                found.push(path);
            }
            if found.len() > max || folders.len() > limits::FILES_LISTED_MAX {
                return Ok(found);
            }
        }
    }
    Ok(found)
}

async fn list_objects(place: &ObjectPlace, wanted: Wanted, max: usize) -> Result<Vec<String>> {
    let (store, prefix) = (Arc::clone(&place.store), place.prefix.clone());
    let url = place.url().to_owned();
    let work = async move {
        let mut found = Vec::new();
        let mut objects = store.list(Some(&prefix));
        while let Some(object) = objects.next().await {
            let object = object.map_err(|e| error(e, &url))?;
            let Some(parts) = object.location.prefix_match(&prefix) else {
                continue;
            };
            let parts: Vec<_> = parts.collect();
            let Some((name, folders)) = parts.split_last() else {
                continue;
            };
            let ours = folders.iter().all(|folder| is_partition(folder.as_ref()));
            if ours && !is_hidden(name.as_ref()) && wanted(name.as_ref()) {
                let parts: Vec<&str> = parts.iter().map(AsRef::as_ref).collect();
                found.push(parts.join("/"));
                if found.len() > max {
                    break;
                }
            }
        }
        Ok(found)
    };
    spawn(&place.env, work).wait().await
}

/// Folders stay: another job may be about to
/// put a file there.
async fn remove_local(place: &LocalPlace, paths: Vec<String>) -> Result<()> {
    let (root, url) = (place.root.clone(), place.url().to_owned());
    let remove = move || {
        paths.iter().try_for_each(|path| {
            match fs::remove_file(root.join(path)) {
                Err(e) if e.kind() == ErrorKind::NotFound => Ok(()),
                other => other,
            }
            .map_err(|e| io_error(e, &format!("{}/{path}", url.trim_end_matches('/'))))
        })
    };
    place.env.blocking(remove).await?
}

async fn remove_objects(place: &ObjectPlace, paths: Vec<String>) -> Result<()> {
    let paths: Vec<_> = paths
        .iter()
        .map(|path| place.path(path))
        .collect::<Result<_>>()?;
    let (store, url) = (Arc::clone(&place.store), place.url().to_owned());
    let work = async move {
        let paths = futures::stream::iter(paths.into_iter().map(Ok)).boxed();
        let mut removed = store.delete_stream(paths);
        while let Some(result) = removed.next().await {
            match result {
                Ok(_) | Err(object_store::Error::NotFound { .. }) => {}
                Err(e) => return Err(error(e, &url)),
            }
        }
        Ok(())
    };
    spawn(&place.env, work).wait().await
}

fn occupied(url: &str, file: &str) -> Error {
    Error::new(
        Kind::Invalid,
        codes::OPTION,
        format!("{url} holds files already, and on_existing = 'fail'"),
    )
    .detail(format!("{file} is there"))
    .hint("choose another path, or say on_existing = 'append' or 'replace'")
}

fn too_many(url: &str) -> Error {
    let max = limits::FILES_LISTED_MAX;
    Error::new(
        Kind::Limit,
        codes::LIMIT,
        format!("{url} holds more than {max} files, too many to replace"),
    )
    .hint("remove them first, or choose another path")
}
