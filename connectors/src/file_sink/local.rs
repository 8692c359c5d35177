//! Files on the local disk: grown under `_temporary/`, synced, then renamed.
//!
//! What a killed run left there is swept by a later run once it is older than [`LEFTOVER_AGE`].
//! Younger files may belong to a run that still writes, or to a checkpoint that is yet to be
//! committed: recovery commits before it checks the sink.

use std::fs;
use std::io::{ErrorKind, Write as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use weir_engine::env::Env;
use weir_engine::error::{Error, Kind, Result, codes};

use super::place::{Finished, TEMPORARY};
use super::transfer::{Lanes, Pending, spawn};
use crate::store::io_error;

/// The age at which a temporary file belongs to nobody: longer than a job is stopped over a
/// holiday and then recovered.
const LEFTOVER_AGE: Duration = Duration::from_secs(30 * 24 * 3600);
/// Temporary files that one check deletes at most, so that a start is never slow.
const LEFTOVERS_SWEPT_MAX: usize = 10_000;
/// Times that the temporary folder is made anew when another writer removed it, being empty, in
/// the moment between its making and its use. Under many writers every other attempt may fail, so
/// that a few are not enough; an attempt takes microseconds.
const FOLDER_ATTEMPTS_MAX: usize = 1_000;

/// A folder on the local disk.
#[derive(Debug)]
pub(super) struct LocalPlace {
    pub(super) root: PathBuf,
    url: String,
    pub(super) env: Env,
}

impl LocalPlace {
    /// Takes a folder, which need not exist yet.
    pub(super) fn new(root: PathBuf, url: String, env: Env) -> Self {
        Self { root, url, env }
    }

    /// The folder as the script has it.
    pub(super) fn url(&self) -> &str {
        &self.url
    }

    /// Makes the folder, tries to write in it, and sweeps what is too old.
    pub(super) async fn check(&self) -> Result<()> {
        let (root, url, probe) = (self.root.clone(), self.url.clone(), self.env.next_id());
        let now = Duration::from_micros(u64::try_from(self.env.clock().now_micros()).unwrap_or(0));
        self.env
            .blocking(move || check(&root, &url, &probe, now))
            .await?
    }

    /// Renames a finished file; one that is renamed already is success.
    pub(super) async fn commit(&self, temporary: String, path: String, bytes: u64) -> Result<()> {
        let root = self.root.clone();
        let url = format!("{}/{path}", self.url.trim_end_matches('/'));
        self.env
            .blocking(move || publish(&root, &temporary, &path, bytes, &url))
            .await?
    }

    /// Deletes a temporary file; one that is gone already is success.
    pub(super) async fn remove(&self, temporary: String) -> Result<()> {
        let (root, url) = (self.root.clone(), self.url.clone());
        let removed = self.env.blocking(move || remove(&root, &temporary)).await?;
        removed.map_err(|e| io_error(e, &url))
    }

    fn temporary_of(&self, name: &str) -> PathBuf {
        self.root.join(TEMPORARY).join(name)
    }
}

/// A file that grows. No descriptor is kept between two chunks: a sink may have thousands of open
/// partitions over all its subtasks.
#[derive(Debug)]
pub(super) struct LocalFile {
    place: Arc<LocalPlace>,
    lanes: Lanes,
    temporary: String,
    path: String,
    begun: bool,
    last: Option<Pending<()>>,
    bytes: u64,
    armed: bool,
}

impl LocalFile {
    /// Begins a file of this name in this folder; nothing is on the disk before the first chunk.
    pub(super) fn new(place: Arc<LocalPlace>, lanes: Lanes, folder: &str, name: &str) -> Self {
        let path = if folder.is_empty() {
            name.to_owned()
        } else {
            format!("{folder}/{name}")
        };
        let temporary = format!("{name}.tmp");
        Self {
            place,
            lanes,
            temporary,
            path,
            begun: false,
            last: None,
            bytes: 0,
            armed: true,
        }
    }

    /// Appends chunks behind the task's back; waits only for the chunks before.
    pub(super) async fn send(&mut self, chunks: Vec<Bytes>) -> Result<()> {
        if chunks.is_empty() {
            return Ok(());
        }
        self.settle().await?;
        let first = !std::mem::replace(&mut self.begun, true);
        let size: usize = chunks.iter().map(Bytes::len).sum();
        self.bytes += size as u64;
        let (target, env) = (
            self.place.temporary_of(&self.temporary),
            self.place.env.clone(),
        );
        let url = self.place.url.clone();
        let work = async move {
            let done = env
                .blocking(move || append(&target, first, &chunks))
                .await?;
            done.map_err(|e| io_error(e, &url))
        };
        self.last = Some(self.lanes.start(size, work).await?);
        Ok(())
    }

    /// Writes the last chunks and syncs the file.
    pub(super) async fn finish(mut self, rest: Vec<Bytes>) -> Result<(Finished, u64)> {
        self.send(rest).await?;
        self.settle().await?;
        let (target, bytes) = (self.place.temporary_of(&self.temporary), self.bytes);
        let synced = self
            .place
            .env
            .blocking(move || sync(&target, bytes))
            .await?;
        synced.map_err(|e| io_error(e, &self.place.url))?;
        self.armed = false;
        let (temporary, path) = (
            std::mem::take(&mut self.temporary),
            std::mem::take(&mut self.path),
        );
        Ok((Finished::Local { temporary, path }, bytes))
    }

    /// Deletes what was written.
    pub(super) async fn abort(mut self) -> Result<()> {
        // What the last chunk met no longer matters: the file goes.
        drop(self.settle().await);
        self.armed = false;
        if self.begun {
            self.place.remove(self.temporary.clone()).await
        } else {
            Ok(())
        }
    }

    async fn settle(&mut self) -> Result<()> {
        let Some(last) = &mut self.last else {
            return Ok(());
        };
        // A stop may end this wait: the chunk under way stays known, so that the file is not
        // removed before it and then made again by it.
        let result = last.join().await;
        self.last = None;
        result
    }
}

impl Drop for LocalFile {
    /// A task that ends without a word, by a panic or a stop, leaves no file either.
    fn drop(&mut self) {
        if !self.armed || !self.begun {
            return;
        }
        drop(remove(&self.place.root, &self.temporary));
        if let Some(last) = self.last.take() {
            let (place, temporary) = (Arc::clone(&self.place), self.temporary.clone());
            drop(spawn(self.lanes.env(), async move {
                drop(last.wait().await);
                place.remove(temporary).await
            }));
        }
    }
}

fn append(target: &Path, first: bool, chunks: &[Bytes]) -> std::io::Result<()> {
    let mut file = if first {
        create(target)?
    } else {
        fs::OpenOptions::new().append(true).open(target)?
    };
    chunks.iter().try_for_each(|chunk| file.write_all(chunk))
}

fn create(target: &Path) -> std::io::Result<fs::File> {
    let mut attempts = 1;
    loop {
        let folder = target.parent().map_or(Ok(()), fs::create_dir_all);
        // It was there when it was to be made, and was gone when the library looked what it is.
        let is_gone = matches!(&folder, Err(e) if e.kind() == ErrorKind::AlreadyExists);
        let opened = folder.and_then(|()| {
            let mut options = fs::OpenOptions::new();
            options.write(true).create_new(true).open(target)
        });
        match opened {
            Err(e)
                if (is_gone || e.kind() == ErrorKind::NotFound)
                    && attempts < FOLDER_ATTEMPTS_MAX =>
            {
                attempts += 1;
            }
            other => return other,
        }
    }
}

fn sync(target: &Path, bytes: u64) -> std::io::Result<()> {
    let file = fs::File::open(target)?;
    file.sync_all()?;
    let found = file.metadata()?.len();
    if found == bytes {
        return Ok(());
    }
    let text = format!("{} has {found} of {bytes} bytes", target.display());
    Err(std::io::Error::new(ErrorKind::UnexpectedEof, text))
}

/// Deletes a temporary file, and the temporary folder with the last of them.
fn remove(root: &Path, temporary: &str) -> std::io::Result<()> {
    let folder = root.join(TEMPORARY);
    let removed = match fs::remove_file(folder.join(temporary)) {
        Err(e) if e.kind() == ErrorKind::NotFound => Ok(()),
        other => other,
    };
    // Fails as long as there are other files, which is how it is meant.
    drop(fs::remove_dir(folder));
    removed
}

fn publish(root: &Path, temporary: &str, path: &str, bytes: u64, url: &str) -> Result<()> {
    let failed = |e| io_error(e, url);
    let (from, to) = (root.join(TEMPORARY).join(temporary), root.join(path));
    match (
        from.try_exists().map_err(failed)?,
        size(&to).map_err(failed)?,
    ) {
        (true, None) => {}
        (false, Some(found)) if found == bytes => return Ok(()),
        (_, Some(found)) => {
            return Err(Error::new(
                Kind::Conflict,
                codes::EXECUTION,
                format!("{url} exists already and is another file"),
            )
            .detail(format!("it has {found} bytes, the finished one {bytes}"))
            .hint("do two jobs with the same run id write to the same folder?"));
        }
        (false, None) => {
            return Err(Error::new(
                Kind::Data,
                codes::NOT_FOUND,
                format!("the finished file for {url} is gone"),
            )
            .detail(format!("{} does not exist", from.display()))
            .hint("was _temporary emptied by hand while the job was stopped?"));
        }
    }
    let folder = to.parent().unwrap_or(root);
    let made: Vec<&Path> = folder
        .ancestors()
        .take_while(|ancestor| ancestor.starts_with(root) && !ancestor.exists())
        .collect();
    fs::create_dir_all(folder).map_err(failed)?;
    fs::rename(&from, &to).map_err(failed)?;
    // The name is durable when its folder is, and a new folder when the one above is.
    sync_folder(folder).map_err(failed)?;
    for folder in made {
        folder
            .parent()
            .map_or(Ok(()), sync_folder)
            .map_err(failed)?;
    }
    drop(fs::remove_dir(root.join(TEMPORARY)));
    Ok(())
}

fn size(path: &Path) -> std::io::Result<Option<u64>> {
    match fs::metadata(path) {
        Ok(found) => Ok(Some(found.len())),
        Err(e) if e.kind() == ErrorKind::NotFound => Ok(None),
        Err(e) => Err(e),
    }
}

fn sync_folder(folder: &Path) -> std::io::Result<()> {
    fs::File::open(folder)?.sync_all()
}

fn check(root: &Path, url: &str, probe: &str, now: Duration) -> Result<()> {
    if root.exists() && !root.is_dir() {
        return Err(Error::new(
            Kind::Invalid,
            codes::OPTION,
            format!("{url} is a file, and a file sink needs a folder"),
        )
        .hint("give the folder that the files are to be written to"));
    }
    let failed = |e| io_error(e, url);
    sweep(root, now).map_err(failed)?;
    let name = format!("probe-{probe}.tmp");
    let written = append(
        &root.join(TEMPORARY).join(&name),
        true,
        &[Bytes::from_static(b"weir")],
    );
    let removed = remove(root, &name);
    written.and(removed).map_err(failed)
}

/// Deletes temporary files that nobody can need any more.
fn sweep(root: &Path, now: Duration) -> std::io::Result<()> {
    let entries = match fs::read_dir(root.join(TEMPORARY)) {
        Err(e) if e.kind() == ErrorKind::NotFound => return Ok(()),
        other => other?,
    };
    for entry in entries.take(LEFTOVERS_SWEPT_MAX) {
        let entry = entry?;
        let ours = entry
            .path()
            .extension()
            .is_some_and(|extension| extension == "tmp");
        // A file that goes away meanwhile was somebody's after all.
        let Ok(modified) = entry.metadata().and_then(|m| m.modified()) else {
            continue;
        };
        let modified = modified
            .duration_since(std::time::UNIX_EPOCH)
            .unwrap_or_default();
        if ours && now.saturating_sub(modified) > LEFTOVER_AGE {
            drop(fs::remove_file(entry.path()));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Each removes the temporary folder, being empty, while the other makes a file in it.
    #[test]
    fn a_folder_that_comes_and_goes_is_made_again() {
        let place = tempfile::tempdir().unwrap();
        let root = place.path();
        std::thread::scope(|scope| {
            for writer in 0..3 {
                scope.spawn(move || {
                    for number in 0..3_000 {
                        let name = format!("{writer}-{number}.tmp");
                        drop(create(&root.join(TEMPORARY).join(&name)).unwrap());
                        remove(root, &name).unwrap();
                    }
                });
            }
        });
        assert!(!root.join(TEMPORARY).exists());
    }
}
