//! Counts the instructions of a micro-benchmark: this program again, under callgrind.

use std::env;
use std::fs;
use std::process::Command;

use crate::work::Result;

/// What callgrind switches its counting on and off by: [`crate::work::measured`].
const MEASURED: &str = "*weir_micro::work::measured*";

/// Gives the instructions per row.
pub(crate) fn per_row(name: &str) -> Result<f64> {
    let file = env::temp_dir().join(format!("weir-micro-{}-{name}", std::process::id()));
    // Without the caller's environment, so that all runs have the same.
    let output = Command::new("valgrind")
        .env_clear()
        .env("PATH", env::var_os("PATH").unwrap_or_default())
        .arg("--tool=callgrind")
        .arg(format!("--toggle-collect={MEASURED}"))
        .arg(format!("--callgrind-out-file={}", file.display()))
        .arg(env::current_exe()?)
        .args(["count", name])
        .output()
        .map_err(|error| format!("valgrind: {error}; apt-get install valgrind"))?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let profile = fs::read_to_string(&file);
    if file.exists() {
        fs::remove_file(&file)?;
    }
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        return Err(format!("{name} fails under callgrind:\n{text}{said}").into());
    }
    let rows = rows_of(name, &text).ok_or_else(|| format!("{name} does not tell its rows"))?;
    let counted = total(&profile?).filter(|count| *count > 0);
    let counted = counted.ok_or_else(|| format!("callgrind has counted nothing of {name}"))?;
    Ok(counted as f64 / rows as f64)
}

/// The rows that `count` has told.
fn rows_of(name: &str, text: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix(name))?;
    line.trim().parse().ok().filter(|rows| *rows > 0)
}

/// The instructions of a profile.
fn total(profile: &str) -> Option<u64> {
    let line = |key| {
        profile
            .lines()
            .find_map(|line: &str| line.strip_prefix(key))
    };
    let line = line("totals:").or_else(|| line("summary:"))?;
    line.split_whitespace().next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_profile_has_its_total_and_the_run_its_rows() {
        let profile = "version: 1\nevents: Ir\nfn=(1) f\n1 20\n\ntotals: 1234\n";
        assert_eq!(total(profile), Some(1234));
        assert_eq!(total("events: Ir\nsummary: 99\n"), Some(99));
        assert_eq!(total("events: Ir\n"), None);
        assert_eq!(rows_of("rank", "rank 65536\n"), Some(65_536));
        assert_eq!(rows_of("rank", "rank 0\n"), None);
    }
}
