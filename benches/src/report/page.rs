//! `benches/results/README.md`: every suite's results as a table with bars, made of the files of
//! results alone.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::failure::{During, Result};
use crate::settings;

/// Characters of the longest bar.
const BAR_WIDTH: f64 = 24.0;
/// Eighths of a character.
const EIGHTHS: [&str; 8] = ["", "▏", "▎", "▍", "▌", "▋", "▊", "▉"];

/// Writes the page.
pub(crate) fn render() -> Result<()> {
    let folder = settings::home().join("results");
    let mut page = String::from(
        "# Results\n\nMade by `weir-bench` of the files beside this page; [how](../README.md). \
         A bar is the rate, rows per second and core; `x weir` is how many times Weir's time a \
         program took. Times are medians, ± is the spread of all runs.\n",
    );
    for path in result_files(&folder)? {
        let text = fs::read_to_string(&path).during(format!("reading {}", path.display()))?;
        let suite: Value =
            serde_json::from_str(&text).during(format!("reading {}", path.display()))?;
        page.push_str(&section(&suite));
    }
    let path = folder.join("README.md");
    fs::write(&path, page).during(format!("writing {}", path.display()))
}

fn result_files(folder: &Path) -> Result<Vec<PathBuf>> {
    let entries = fs::read_dir(folder).during(format!("listing {}", folder.display()))?;
    let paths = entries.flatten().map(|entry| entry.path());
    let is_result = |path: &PathBuf| path.extension().is_some_and(|ending| ending == "json");
    let mut files: Vec<_> = paths.filter(is_result).collect();
    files.sort();
    Ok(files)
}

/// One suite.
fn section(suite: &Value) -> String {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let setting = &suite["setting"];
    let mut out = format!(
        "\n## {}\n\n{}.\n",
        text(&suite["suite"]),
        text(&suite["about"])
    );
    let mut line = format!(
        "\n{}, {}, {} cores, {} runs each, in turn, Weir's memory budget {}.",
        text(&setting["date"]),
        text(&setting["cpu"]),
        setting["cores"],
        setting["runs"],
        text(&setting["memory"]),
    );
    for (name, version) in suite["programs"].as_object().into_iter().flatten() {
        let version = version.as_str().unwrap_or("missing");
        line.push_str(&format!(" {name}: {version}."));
    }
    out.push_str(&line);
    out.push('\n');
    let cases: Vec<&Value> = suite["cases"].as_array().into_iter().flatten().collect();
    if !cases.is_empty() {
        out.push_str(&comparison(&cases));
    }
    for table in suite["tables"].as_array().into_iter().flatten() {
        out.push_str(&figures(table));
    }
    for note in suite["notes"].as_array().into_iter().flatten() {
        out.push_str(&format!("\n- {}", text(note).replace('\n', " ")));
    }
    out.push('\n');
    out
}

/// The times of a suite's cases.
fn comparison(cases: &[&Value]) -> String {
    let mut out = String::from(
        "\n| case | program | s | ± | M rows/s/core | | MB/s/core | cpu s | peak MB | x weir | rows |\n\
         |---|---|--:|--:|--:|---|--:|--:|--:|--:|---|\n",
    );
    for case in cases {
        let runners: Vec<&Value> = case["runners"].as_array().into_iter().flatten().collect();
        let rate = |runner: &Value| runner["rows_per_second_per_core"].as_f64();
        let most = runners
            .iter()
            .filter_map(|runner| rate(runner))
            .fold(0.0, f64::max);
        for (index, runner) in runners.iter().enumerate() {
            let name = if index == 0 {
                case["name"].as_str()
            } else {
                None
            };
            let number = |name: &str, scale: f64, digits: usize| match runner[name].as_f64() {
                Some(number) => format!("{:.digits$}", number * scale),
                None => String::new(),
            };
            let check = match (&runner["error"], &runner["check"]["text"]) {
                (Value::String(_), _) => "failed: see below",
                (_, Value::String(text)) => text.as_str(),
                _ => "",
            };
            out.push_str(&format!(
                "| {} | {} | {} | {} % | {} | {} | {} | {} | {} | {} | {check} |\n",
                name.unwrap_or_default(),
                runner["label"].as_str().unwrap_or_default(),
                number("median", 1.0, 3),
                number("spread", 100.0, 0),
                number("rows_per_second_per_core", 1e-6, 2),
                bar(rate(runner).unwrap_or(0.0) / most),
                number("bytes_per_second_per_core", 1e-6, 0),
                number("cpu_seconds", 1.0, 2),
                number("peak_bytes", 1e-6, 0),
                number("ratio", 1.0, 2),
            ));
        }
    }
    out
}

/// A table of other figures.
fn figures(table: &Value) -> String {
    let row = |cells: &Value| {
        let cells = cells.as_array().into_iter().flatten();
        let texts: Vec<_> = cells.filter_map(Value::as_str).collect();
        (format!("| {} |\n", texts.join(" | ")), texts.len())
    };
    let (head, width) = row(&table["columns"]);
    let mut out = format!(
        "\n{}\n\n{head}{}\n",
        table["title"].as_str().unwrap_or_default(),
        "|---".repeat(width) + "|"
    );
    for cells in table["rows"].as_array().into_iter().flatten() {
        out.push_str(&row(cells).0);
    }
    out
}

/// A bar for a share of the longest one.
fn bar(share: f64) -> String {
    if !share.is_finite() {
        return String::new();
    }
    let eighths = (share.clamp(0.0, 1.0) * BAR_WIDTH * 8.0).round() as usize;
    let rest = EIGHTHS.get(eighths % 8).copied().unwrap_or_default();
    format!("{}{rest}", "█".repeat(eighths / 8))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_suite_becomes_a_table_with_bars() {
        let suite = json!({
            "suite": "window", "about": "counts",
            "setting": {"date": "2026-01-31", "cpu": "x", "cores": 2, "runs": 3, "memory": "4GiB"},
            "programs": {"weir": "weir 1", "flink": {"missing": "no Java"}},
            "cases": [{"name": "10 keys", "runners": [
                {"label": "weir", "median": 0.5, "spread": 0.1, "rows_per_second_per_core": 1e6, "ratio": 1.0,
                 "check": {"text": "same 7 rows"}},
                {"label": "flink", "error": "no Java"},
            ]}],
            "tables": [{"title": "Bytes", "columns": ["a", "b"], "rows": [["1", "2"]]}],
            "notes": ["flink is missing: no Java"],
        });
        expect_test::expect![[r#"

            ## window

            counts.

            2026-01-31, x, 2 cores, 3 runs each, in turn, Weir's memory budget 4GiB. flink: missing. weir: weir 1.

            | case | program | s | ± | M rows/s/core | | MB/s/core | cpu s | peak MB | x weir | rows |
            |---|---|--:|--:|--:|---|--:|--:|--:|--:|---|
            | 10 keys | weir | 0.500 | 10 % | 1.00 | ████████████████████████ |  |  |  | 1.00 | same 7 rows |
            |  | flink |  |  % |  |  |  |  |  |  | failed: see below |

            Bytes

            | a | b |
            |---|---|
            | 1 | 2 |

            - flink is missing: no Java
        "#]]
        .assert_eq(&section(&suite));
        assert_eq!(bar(0.5), "█".repeat(12));
        assert_eq!(bar(f64::NAN), "");
    }
}
