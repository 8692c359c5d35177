//! Inputs: generated once from a seed, kept from run to run, whole or not there.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arrow::datatypes::Schema;
use arrow::record_batch::RecordBatch;
use parquet::arrow::ArrowWriter;
use parquet::basic::Compression;
use parquet::file::properties::WriterProperties;

use crate::failure::{During, Failure, Result};
use crate::report;
use crate::settings;

pub(crate) mod messages;
pub(crate) mod nexmark;
pub(crate) mod orders;
pub(crate) mod records;
pub(crate) mod topics;
pub(crate) mod tpch;
pub(crate) mod window;

/// Rows per row group: what DuckDB and Spark write, so that a file splits well.
const ROW_GROUP_ROWS: usize = 1 << 20;
/// Rows that are generated at once.
const BATCH_ROWS: u64 = 1 << 16;

/// A folder of input files.
#[derive(Debug, Clone)]
pub(crate) struct Input {
    /// The folder.
    pub(crate) folder: PathBuf,
    /// Names and bytes of its files.
    files: Vec<(String, u64)>,
}

impl Input {
    /// Bytes of the files whose names start so.
    pub(crate) fn bytes(&self, start: &str) -> u64 {
        let fits = self
            .files
            .iter()
            .filter(|(name, _)| name.starts_with(start));
        fits.map(|(_, bytes)| bytes).sum()
    }

    /// Bytes of the files `START-number.ENDING`.
    pub(crate) fn bytes_of(&self, start: &str, ending: &str) -> u64 {
        let fits = self.files.iter();
        let fits = fits.filter(|(name, _)| is_of(name, start, ending));
        fits.map(|(_, bytes)| bytes).sum()
    }

    /// The same files, in order.
    pub(crate) fn files(&self, start: &str, ending: &str) -> Vec<PathBuf> {
        let fits = self.files.iter().map(|(name, _)| name);
        let fits = fits.filter(|name| is_of(name, start, ending));
        let mut paths: Vec<_> = fits.map(|name| self.folder.join(name)).collect();
        paths.sort();
        paths
    }
}

/// Whether a file's name is `START-number.ENDING`.
fn is_of(name: &str, start: &str, ending: &str) -> bool {
    let middle = name
        .strip_prefix(start)
        .and_then(|rest| rest.strip_suffix(ending));
    middle.is_some_and(|middle| middle.starts_with('-') && middle.ends_with('.'))
}

/// Gives a folder of inputs, made by `make` if it is not there from an earlier run.
fn cached(name: &str, make: impl FnOnce(&Path) -> Result<()>) -> Result<Input> {
    let root = settings::data_root()?;
    let folder = root.join(name);
    if !folder.exists() {
        report::note(&format!("generating {}", folder.display()));
        // A folder appears under its name only when it is whole.
        let unfinished = root.join(format!("{name}.unfinished"));
        if unfinished.exists() {
            fs::remove_dir_all(&unfinished).during("removing an unfinished input")?;
        }
        fs::create_dir_all(&unfinished).during(format!("making {}", unfinished.display()))?;
        make(&unfinished)?;
        fs::rename(&unfinished, &folder).during("finishing an input")?;
    }
    let mut files = Vec::new();
    for entry in fs::read_dir(&folder).during(format!("listing {}", folder.display()))? {
        let entry = entry.during("listing an input")?;
        let bytes = entry.metadata().during("measuring an input")?.len();
        files.push((entry.file_name().to_string_lossy().into_owned(), bytes));
    }
    Ok(Input { folder, files })
}

/// Writes one Parquet file, batch by batch: `batch(first, rows)` makes rows by their number.
fn write(
    path: &Path,
    schema: &Arc<Schema>,
    rows: u64,
    mut batch: impl FnMut(u64, u64) -> Result<RecordBatch>,
) -> Result<()> {
    let file = fs::File::create(path).during(format!("creating {}", path.display()))?;
    let properties = WriterProperties::builder()
        .set_compression(Compression::SNAPPY)
        .set_max_row_group_row_count(Some(ROW_GROUP_ROWS))
        .build();
    let mut writer = ArrowWriter::try_new(file, Arc::clone(schema), Some(properties))
        .during("starting a Parquet file")?;
    let mut first = 0;
    while first < rows {
        let count = BATCH_ROWS.min(rows - first);
        writer
            .write(&batch(first, count)?)
            .during(format!("writing {}", path.display()))?;
        first += count;
    }
    drop(
        writer
            .close()
            .during(format!("finishing {}", path.display()))?,
    );
    Ok(())
}

/// Makes files side by side, one thread each.
fn side_by_side(files: Vec<Box<dyn FnOnce() -> Result<()> + Send>>) -> Result<()> {
    std::thread::scope(|scope| {
        let threads: Vec<_> = files.into_iter().map(|make| scope.spawn(make)).collect();
        let mut all = Ok(());
        for thread in threads {
            let done = thread
                .join()
                .unwrap_or_else(|_| Err(Failure::new("a generator panicked")));
            all = all.and(done);
        }
        all
    })
}

#[cfg(test)]
mod tests {
    #[test]
    fn files_are_found_by_both_ends() {
        assert!(super::is_of("bids-0.json", "bids", "json"));
        assert!(!super::is_of("bids-0.json", "bid", "json"));
        assert!(!super::is_of("bids-0.csv", "bids", "json"));
    }
}
