//! What an earlier instance of the same pipeline has left after the epoch from which a run goes
//! on: unfinished files, and visible ones of epochs that do not count any more because their
//! checkpoint was damaged or a user went back. Their rows come again.

use std::fs;
use std::io::ErrorKind;
use std::path::Path;
use std::sync::Arc;

use weir_engine::error::{Result, codes};
use weir_engine::limits;
use weir_engine::message::Epoch;

use super::existing::{Wanted, list, remove};
use super::names::Names;
use super::place::{Place, TEMPORARY};
use crate::store::io_error;

/// Removes what this sink has of epochs after `last`. Files of other sinks, of other pipelines, of
/// earlier runs and of newer instances stay.
pub(super) async fn sweep(place: &Place, names: &Names, last: Epoch) -> Result<()> {
    sweep_unfinished(place, names, last).await?;
    loop {
        let is_later = later(names, last);
        let found = match list(place, is_later, limits::FILES_LISTED_MAX).await {
            // Who may write need not be allowed to list.
            Err(error) if error.code() == codes::PERMISSION => {
                tracing::warn!(
                    place = place.url(),
                    "files of epochs that do not count any more cannot be looked for"
                );
                return Ok(());
            }
            other => other?,
        };
        let more = found.len() > limits::FILES_LISTED_MAX;
        if !found.is_empty() {
            tracing::warn!(
                place = place.url(),
                files = found.len(),
                epoch = last.0,
                "removed the files of later epochs: their rows come again"
            );
            remove(place, found).await?;
        }
        if !more {
            return Ok(());
        }
    }
}

/// Removes what this sink has not finished of epochs after `last`, where it can be seen.
pub(super) async fn sweep_unfinished(place: &Place, names: &Names, last: Epoch) -> Result<()> {
    let local = match place {
        Place::Object(objects) => return objects.sweep_staged(later(names, last)).await,
        Place::Local(local) => local,
    };
    let (root, url, is_later) = (
        local.root.clone(),
        local.url().to_owned(),
        later(names, last),
    );
    let swept = move || leftovers(&root, &*is_later).map_err(|e| io_error(e, &url));
    local.env.blocking(swept).await?
}

/// Removes what an instance has left that ended before its first checkpoint: nothing of it was
/// shown.
pub(super) async fn sweep_first(place: &Place, names: &Names) -> Result<()> {
    if !names.may_have_begun() {
        return Ok(());
    }
    sweep_unfinished(place, names, Epoch(0)).await
}

fn later(names: &Names, last: Epoch) -> Wanted {
    let names = names.clone();
    Arc::new(move |name: &str| names.is_later(name, last))
}

fn leftovers(root: &Path, is_later: &dyn Fn(&str) -> bool) -> std::io::Result<()> {
    let folder = root.join(TEMPORARY);
    let entries = match fs::read_dir(&folder) {
        Err(e) if e.kind() == ErrorKind::NotFound => return Ok(()),
        other => other?,
    };
    for entry in entries {
        let entry = entry?;
        if entry.file_name().to_str().is_some_and(is_later) {
            match fs::remove_file(entry.path()) {
                Err(e) if e.kind() != ErrorKind::NotFound => return Err(e),
                _ => {}
            }
        }
    }
    // Fails as long as there are other files, which is how it is meant.
    drop(fs::remove_dir(folder));
    Ok(())
}
