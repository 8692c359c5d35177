//! The names of merged files: they hold the last epoch whose rows are in the file.

use weir_engine::message::Epoch;

/// The names of one sink.
#[derive(Debug, Clone)]
pub(super) struct Merged {
    prefix: String,
}

impl Merged {
    /// Takes the mark of the sink's owner.
    pub(super) fn of(mark: &str) -> Self {
        Self {
            prefix: format!("merged-{mark}-"),
        }
    }

    /// The last epoch in a merged file of this sink by its path; `None` for any other file.
    pub(super) fn epoch(&self, path: &str) -> Option<Epoch> {
        let name = path.rsplit('/').next().unwrap_or(path);
        let (epoch, _) = name.strip_prefix(&self.prefix)?.split_once('-')?;
        epoch.parse().ok().map(Epoch)
    }

    /// A path beside a file that is merged.
    pub(super) fn path(&self, beside: &str, epoch: Epoch, id: &str) -> String {
        let folder = beside.rsplit_once('/').map(|(folder, _)| folder);
        let name = format!("{}{:010}-{id}.parquet", self.prefix, epoch.0);
        folder.map_or(name.clone(), |folder| format!("{folder}/{name}"))
    }
}
