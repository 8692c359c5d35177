//! What a local disk needs beyond `object_store`: syncing files and folders, removing folders.

use std::collections::HashSet;
use std::fs::File;
use std::path::{Path as FsPath, PathBuf};

use object_store::path::Path;

use super::{Store, state_epoch};
use crate::error::{Error, Kind, Result, codes};

impl Store {
    /// Makes a file that was put survive a loss of power; nothing to do where the store does it.
    pub(super) async fn sync(&self, place: &Path) -> Result<()> {
        let Some(root) = self.local_root.clone() else {
            return Ok(());
        };
        let file = root.join(place.as_ref());
        let synced = self.env.blocking(move || sync_up_to(&file, &root)).await?;
        synced.map_err(|error| {
            Error::new(
                Kind::Limit,
                codes::DISK,
                "a checkpoint cannot be made safe on the disk",
            )
            .detail(place.to_string())
            .caused_by(error)
        })
    }

    /// Removes the folders of state up to an epoch in which no file is kept, with what interrupted
    /// writes have left there. What cannot be removed now is tried again next time.
    pub(super) async fn remove_folders(&self, newest: u64, kept: HashSet<String>) -> Result<()> {
        let Some(root) = &self.local_root else {
            return Ok(());
        };
        let folder = root.join(self.prefix.as_ref()).join("state");
        self.env
            .blocking(move || remove_unkept(&folder, newest, &kept))
            .await
    }
}

fn sync_up_to(file: &FsPath, root: &FsPath) -> std::io::Result<()> {
    File::open(file)?.sync_all()?;
    for folder in file.ancestors().skip(1) {
        // The folders above the store's own have been there before it.
        if folder.starts_with(root) {
            File::open(folder)?.sync_all()?;
        }
    }
    Ok(())
}

fn remove_unkept(state: &FsPath, newest: u64, kept: &HashSet<String>) {
    let kept: HashSet<&str> = kept
        .iter()
        .filter_map(|path| path.strip_prefix("state/")?.split_once('/'))
        .map(|(folder, _)| folder)
        .collect();
    let entries = std::fs::read_dir(state).into_iter().flatten().flatten();
    for path in entries.map(|entry| entry.path()).collect::<Vec<PathBuf>>() {
        let Some(name) = path.file_name().and_then(|name| name.to_str()) else {
            continue;
        };
        let epoch = state_epoch(&format!("state/{name}/"));
        if epoch.is_some_and(|epoch| epoch <= newest) && !kept.contains(name) {
            drop(std::fs::remove_dir_all(&path));
        }
    }
}
