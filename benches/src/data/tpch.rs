//! The tables of TPC-H as `tpchgen-cli` makes them: a Parquet file each.

use std::fs::File;
use std::process::Command;

use parquet::file::reader::{FileReader, SerializedFileReader};

use super::{Input, cached};
use crate::failure::{During, Failure, Result};
use crate::settings;

/// The tables.
pub(crate) const TABLES: [&str; 8] = [
    "region", "nation", "supplier", "customer", "part", "partsupp", "orders", "lineitem",
];

/// Gives the tables at a scale factor: 1 is 8.7 million rows.
pub(crate) fn input(scale: f64) -> Result<Input> {
    cached(&format!("tpch-v1-sf{scale}"), |folder| {
        let generator = settings::peer_root()?.join("tpch/bin/tpchgen-cli");
        if !generator.is_file() {
            return Err(Failure::new(
                "no generator of TPC-H: run  bash benches/peers/install.sh tpch",
            ));
        }
        let output = Command::new(generator)
            .args(["parquet", "--quiet", "--scale-factor", &scale.to_string()])
            .arg("--output-dir")
            .arg(folder)
            .output()
            .during("starting tpchgen-cli")?;
        if output.status.success() {
            return Ok(());
        }
        let text = String::from_utf8_lossy(&output.stderr);
        Err(Failure::new(format!("tpchgen-cli: {}", text.trim())))
    })
}

/// Whether a query reads a table: its name stands there as a word, outside of comments.
pub(crate) fn is_read_by(table: &str, query: &str) -> bool {
    query
        .lines()
        .filter(|line| !line.starts_with("--"))
        .flat_map(|line| line.split(|c: char| !(c.is_ascii_alphanumeric() || c == '_')))
        .any(|word| word == table)
}

/// Rows of a table.
pub(crate) fn rows(input: &Input, table: &str) -> Result<u64> {
    let path = input.folder.join(format!("{table}.parquet"));
    let doing = || format!("reading {}", path.display());
    let file = File::open(&path).during(doing())?;
    let reader = SerializedFileReader::new(file).during(doing())?;
    Ok(reader.metadata().file_metadata().num_rows().unsigned_abs())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_is_read_where_its_name_is_a_word() {
        assert!(is_read_by("part", "FROM part, partsupp"));
        assert!(!is_read_by("part", "FROM partsupp WHERE p_partkey = 1"));
        assert!(!is_read_by("orders", "-- Large orders.\nFROM lineitem"));
        assert!(is_read_by("orders", "FROM lineitem, orders\nWHERE"));
    }
}
