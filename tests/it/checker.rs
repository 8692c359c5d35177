//! Reads what Weir wrote with two readers that are not Weir: DuckDB and pyarrow, by `check.py`.

use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

/// What one reader found in a folder of Parquet files.
#[derive(Debug)]
pub(crate) struct Found {
    /// `duckdb` or `pyarrow`.
    pub(crate) reader: &'static str,
    content: Value,
}

impl Found {
    /// The number of rows.
    pub(crate) fn rows(&self) -> u64 {
        self.content["rows"].as_u64().unwrap()
    }

    /// The sum of a column.
    pub(crate) fn sum(&self, column: &str) -> f64 {
        let sum = &self.column(column)["sum"];
        sum.as_f64()
            .unwrap_or_else(|| panic!("{} has no sum of {column}: {sum}", self.reader))
    }

    /// The least value of a column, as text.
    pub(crate) fn min(&self, column: &str) -> &str {
        self.column(column)["min"].as_str().unwrap()
    }

    /// The greatest value of a column, as text.
    pub(crate) fn max(&self, column: &str) -> &str {
        self.column(column)["max"].as_str().unwrap()
    }

    /// The number of values of a column that are not null.
    pub(crate) fn count(&self, column: &str) -> u64 {
        self.column(column)["count"].as_u64().unwrap()
    }

    fn column(&self, name: &str) -> &Value {
        let column = &self.content["columns"][name];
        assert!(
            column.is_object(),
            "{} finds no column {name}: {}",
            self.reader,
            self.content
        );
        column
    }
}

/// Reads a folder with both readers.
pub(crate) fn read(folder: &Path) -> [Found; 2] {
    let python = python();
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/check.py");
    let output = Command::new(&python)
        .arg(script)
        .arg(folder)
        .output()
        .unwrap_or_else(|error| {
            panic!(
                "{} cannot be run ({error}); `bash tests/run` makes it",
                python.display()
            )
        });
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(
        output.status.success(),
        "{} cannot be read:\n{said}",
        folder.display()
    );
    let content: Value = serde_json::from_slice(&output.stdout).unwrap();
    ["duckdb", "pyarrow"].map(|reader| Found {
        reader,
        content: content[reader].clone(),
    })
}

/// Python with DuckDB and pyarrow.
pub(crate) fn python() -> PathBuf {
    crate::servers::process::cache().join("venv/bin/python3")
}
