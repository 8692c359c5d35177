//! Lists the files that a path selects, on the local disk or in an object store.

use std::fs::Metadata;
use std::path::Path as FsPath;
use std::time::UNIX_EPOCH;

use futures::TryStreamExt;
use object_store::{ObjectMeta, ObjectStoreExt};
use serde::{Deserialize, Serialize};
use weir_engine::error::{Error, Kind, codes};
use weir_engine::options::nearest;
use weir_engine::{Result, limits};

use crate::store::{self, Location};

use super::config::Format;
use super::selection::{Selection, file_name, is_hidden};

/// Folders within folders that are walked: a loop of links ends here.
const DEPTH_MAX: usize = 64;

/// One file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Entry {
    /// The key in the store; for local files the absolute path without its leading slash.
    pub(super) key: String,
    /// The path for people, and for the column `file`.
    pub(super) shown: String,
    /// Bytes.
    pub(super) size: u64,
    /// Last change, in microseconds since 1970.
    pub(super) modified: i64,
}

/// Lists the selected files, by name. An empty list is not an error here: see [`nothing`].
pub(super) async fn list(
    location: &Location,
    selection: &Selection,
    format: Option<Format>,
) -> Result<Vec<Entry>> {
    let mut files = if location.local_root.is_some() {
        local(selection, format)?
    } else {
        remote(location, selection, format).await?
    };
    files.sort_by(|a, b| a.key.cmp(&b.key));
    Ok(files)
}

/// The error of a bounded source that finds nothing, with the nearest name that is there.
pub(super) async fn nothing(location: &Location, selection: &Selection) -> Error {
    let what = match selection.pattern {
        Some(_) => format!("no file matches {}", location.url),
        None if location.local_root.as_deref().is_some_and(FsPath::is_dir) => {
            format!("the folder {} has no data files", location.url)
        }
        None => format!("{} does not exist", location.url),
    };
    let error = Error::new(Kind::Invalid, codes::NOT_FOUND, what);
    let names = siblings(location, selection).await;
    let found = file_name(location.path.as_ref());
    if names.is_empty() {
        error
    } else {
        nearest(error, found, names.iter().map(String::as_str))
    }
}

/// Names beside the missing one, a bounded number of them.
async fn siblings(location: &Location, selection: &Selection) -> Vec<String> {
    const SHOWN_MAX: usize = 1_000;
    if location.local_root.is_some() {
        let base = selection.local_base();
        let folder = if base.is_dir() {
            Some(base.as_path())
        } else {
            base.parent()
        };
        let entries = folder.and_then(|folder| std::fs::read_dir(folder).ok());
        let names = entries.into_iter().flatten().filter_map(|entry| entry.ok());
        let names = names.filter_map(|entry| entry.file_name().into_string().ok());
        return names
            .filter(|name| !is_hidden(name))
            .take(SHOWN_MAX)
            .collect();
    }
    let parent = location
        .path
        .as_ref()
        .rsplit_once('/')
        .map_or("", |(parent, _)| parent);
    let Ok(parent) = object_store::path::Path::parse(parent) else {
        return Vec::new();
    };
    let listed = location.store.list_with_delimiter(Some(&parent)).await;
    let Ok(listed) = listed else {
        return Vec::new();
    };
    let objects = listed
        .objects
        .iter()
        .filter_map(|object| object.location.filename());
    objects.take(SHOWN_MAX).map(str::to_owned).collect()
}

fn local(selection: &Selection, format: Option<Format>) -> Result<Vec<Entry>> {
    let base = selection.local_base();
    let metadata = match std::fs::metadata(&base) {
        Ok(metadata) => metadata,
        Err(error) if is_missing(&error) => return Ok(Vec::new()),
        Err(error) => return Err(store::io_error(error, &selection.shown)),
    };
    let mut files = Vec::new();
    if metadata.is_dir() {
        walk(selection, format, &base, "", 1, &mut files)?;
    } else if selection.pattern.is_none() {
        files.push(entry(selection, "", &metadata));
    }
    Ok(files)
}

fn is_missing(error: &std::io::Error) -> bool {
    matches!(
        error.kind(),
        std::io::ErrorKind::NotFound | std::io::ErrorKind::NotADirectory
    )
}

fn walk(
    selection: &Selection,
    format: Option<Format>,
    folder: &FsPath,
    relative: &str,
    depth: usize,
    files: &mut Vec<Entry>,
) -> Result<()> {
    let fail = |error| store::io_error(error, &selection.show(relative));
    for item in std::fs::read_dir(folder).map_err(fail)? {
        let item = item.map_err(fail)?;
        let Ok(name) = item.file_name().into_string() else {
            continue;
        };
        if is_hidden(&name) {
            continue;
        }
        let path = if relative.is_empty() {
            name
        } else {
            format!("{relative}/{name}")
        };
        // Links are followed; what vanished since the folder was read is not there.
        let Ok(metadata) = std::fs::metadata(item.path()) else {
            continue;
        };
        if metadata.is_dir() {
            if depth < selection.depth.unwrap_or(DEPTH_MAX) {
                walk(selection, format, &item.path(), &path, depth + 1, files)?;
            }
        } else if selection.takes(&path, format) {
            files.push(entry(selection, &path, &metadata));
            check_count(files.len(), selection)?;
        }
    }
    Ok(())
}

fn entry(selection: &Selection, relative: &str, metadata: &Metadata) -> Entry {
    let since = metadata
        .modified()
        .ok()
        .and_then(|time| time.duration_since(UNIX_EPOCH).ok());
    let micros = since.and_then(|time| i64::try_from(time.as_micros()).ok());
    Entry {
        key: join(&selection.base, relative),
        shown: selection.show(relative),
        size: metadata.len(),
        modified: micros.unwrap_or(0),
    }
}

fn join(base: &str, relative: &str) -> String {
    match (base, relative) {
        (base, "") => base.to_owned(),
        ("", relative) => relative.to_owned(),
        (base, relative) => format!("{base}/{relative}"),
    }
}

async fn remote(
    location: &Location,
    selection: &Selection,
    format: Option<Format>,
) -> Result<Vec<Entry>> {
    let base = selection.store_base();
    let fail = |error| store::error(error, &location.url);
    let mut files = Vec::new();
    let mut listed = location.store.list(base.as_ref());
    while let Some(object) = listed.try_next().await.map_err(fail)? {
        let key = object.location.as_ref();
        let relative = match selection.base.as_str() {
            "" => key,
            base => match key
                .strip_prefix(base)
                .and_then(|rest| rest.strip_prefix('/'))
            {
                Some(relative) => relative,
                None => continue,
            },
        };
        if object.size > 0 && selection.takes(relative, format) {
            files.push(of_object(selection, relative, &object));
            check_count(files.len(), selection)?;
        }
    }
    if let (true, None, Some(path)) = (files.is_empty(), &selection.pattern, base) {
        match location.store.head(&path).await {
            Ok(object) => files.push(of_object(selection, "", &object)),
            Err(object_store::Error::NotFound { .. }) => {}
            Err(error) => return Err(fail(error)),
        }
    }
    Ok(files)
}

fn of_object(selection: &Selection, relative: &str, object: &ObjectMeta) -> Entry {
    Entry {
        key: object.location.to_string(),
        shown: selection.show(relative),
        size: object.size,
        modified: object.last_modified.timestamp_micros(),
    }
}

fn check_count(count: usize, selection: &Selection) -> Result<()> {
    if count <= limits::FILES_LISTED_MAX {
        return Ok(());
    }
    Err(Error::new(
        Kind::Limit,
        codes::LIMIT,
        format!(
            "{} holds more than {} files",
            selection.shown,
            limits::FILES_LISTED_MAX
        ),
    )
    .hint("narrow the path with a glob"))
}
