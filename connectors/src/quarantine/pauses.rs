//! Sources that rules have paused, `<state>/paused/<source>/<pause>.json`, and beside each, `<pause>.resumed`, that
//! somebody has ended the pause. Neither is ever changed.

use std::fs;
use std::path::{Path, PathBuf};

use weir_engine::error::{Error, Result};
use weir_engine::rules::Pause;

use super::{LocalQuarantine, files};
use crate::file_sink::escape;

/// The folder in a pipeline's state.
pub(super) const PAUSED: &str = "paused";
/// The endings of the two files.
const BEGUN: &str = "json";
const RESUMED: &str = "resumed";

fn path(folder: &Path, pause: &Pause, ending: &str) -> PathBuf {
    let name = format!("{}.{ending}", escape(&pause.id()));
    folder.join(escape(&pause.source)).join(name)
}

/// Tells of a pause, if nobody has yet.
pub(super) fn begin(store: &LocalQuarantine, pause: &Pause) -> Result<()> {
    let path = path(&store.paused, pause, BEGUN);
    if path.exists() {
        return Ok(());
    }
    let bytes = serde_json::to_vec(pause)
        .map_err(|error| Error::internal("a pause cannot be written").caused_by(error))?;
    let folder = store.paused.join(escape(&pause.source));
    files::make(&folder)?;
    let hidden = store.hidden(&folder);
    files::write_bytes(&hidden, &bytes)?;
    fs::rename(&hidden, &path).map_err(|error| files::failed(error, &path))
}

/// Ends a pause.
pub(super) fn end(folder: &Path, pause: &Pause) -> Result<()> {
    files::write_bytes(&path(folder, pause, RESUMED), &[])
}

pub(super) fn is_over(folder: &Path, pause: &Pause) -> Result<bool> {
    let path = path(folder, pause, RESUMED);
    path.try_exists()
        .map_err(|error| files::failed(error, &path))
}

/// The pauses that nobody has ended, in the order of their sources.
pub(super) fn open(folder: &Path) -> Result<Vec<Pause>> {
    let mut open = Vec::new();
    let mut sources = files::names(folder)?;
    sources.sort_unstable();
    for source in sources {
        let within = folder.join(source);
        let mut names = files::names(&within)?;
        names.retain(|name| !name.starts_with('.') && name.ends_with(BEGUN));
        names.sort_unstable();
        for name in names {
            let path = within.join(name);
            let Some(bytes) = files::bytes(&path)? else {
                continue;
            };
            let pause: Pause = serde_json::from_slice(&bytes).map_err(|error| {
                files::damaged(&path, "it is not what was written").caused_by(error)
            })?;
            if !is_over(folder, &pause)? {
                open.push(pause);
            }
        }
    }
    Ok(open)
}
