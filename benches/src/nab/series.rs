//! Labelled series: those that are shipped, or a folder laid out as the benchmark's own.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::ops::RangeInclusive;
use std::path::Path;

use arrow::array::{AsArray, RecordBatch};
use arrow::compute::kernels::cast_utils::string_to_timestamp_nanos;
use arrow::datatypes::{Float64Type, TimestampMicrosecondType};
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;

use crate::failure::{During, Failure, Result};
use crate::settings;

/// A series with the windows in which its anomalies are.
#[derive(Debug, Clone, Default)]
pub(crate) struct Series {
    /// Folder and file in the benchmark.
    pub(crate) name: String,
    /// Microseconds since 1970.
    pub(crate) times: Vec<i64>,
    pub(crate) values: Vec<f64>,
    /// First and last rows of the windows, in order.
    pub(crate) windows: Vec<RangeInclusive<usize>>,
    /// What the reference detector says of each row; empty where it is not known.
    pub(crate) reference: Vec<f64>,
}

impl Series {
    /// Least and greatest value: what the benchmark tells a detector, and a stream does not.
    pub(crate) fn range(&self) -> Option<(f64, f64)> {
        let least = self.values.iter().copied().fold(f64::INFINITY, f64::min);
        let most = self
            .values
            .iter()
            .copied()
            .fold(f64::NEG_INFINITY, f64::max);
        (least < most).then_some((least, most))
    }

    fn label(&mut self, windows: &[(i64, i64)]) -> Result<()> {
        let row = |time: i64| {
            let found = self.times.iter().position(|known| *known == time);
            let missing = || Failure::new(format!("{}: a window ends where no row is", self.name));
            found.ok_or_else(missing)
        };
        let rows = windows.iter().map(|(from, to)| Ok(row(*from)?..=row(*to)?));
        self.windows = rows.collect::<Result<_>>()?;
        Ok(())
    }
}

/// The series in the repository.
pub(crate) fn shipped() -> Result<Vec<Series>> {
    let folder = settings::home().join("nab");
    let path = folder.join("series.parquet");
    let reading = || format!("reading {}", path.display());
    let file = File::open(&path).during(reading())?;
    let reader = ParquetRecordBatchReaderBuilder::try_new(file).during(reading())?;
    let mut all: Vec<Series> = Vec::new();
    for batch in reader.build().during(reading())? {
        add_rows(&mut all, &batch.during(reading())?)
            .ok_or_else(|| Failure::new(format!("{}: its columns are others", path.display())))?;
    }
    label(&mut all, &folder)?;
    Ok(all)
}

/// Adds rows to their series; none when the columns are not those that are shipped.
fn add_rows(all: &mut Vec<Series>, batch: &RecordBatch) -> Option<()> {
    let names = arrow::compute::cast(
        batch.column_by_name("file")?,
        &arrow::datatypes::DataType::Utf8,
    )
    .ok()?;
    let names = names.as_string_opt::<i32>()?;
    let times = batch
        .column_by_name("timestamp")?
        .as_primitive_opt::<TimestampMicrosecondType>()?;
    let values = batch
        .column_by_name("value")?
        .as_primitive_opt::<Float64Type>()?;
    let reference = batch
        .column_by_name("reference")?
        .as_primitive_opt::<Float64Type>()?;
    for row in 0..batch.num_rows() {
        let name = names.value(row);
        if all.last().is_none_or(|series| series.name != name) {
            all.push(Series {
                name: name.to_owned(),
                ..Series::default()
            });
        }
        let series = all.last_mut()?;
        series.times.push(times.value(row));
        series.values.push(values.value(row));
        series.reference.push(reference.value(row));
    }
    Some(())
}

/// The series of a folder: `windows.json` names files below it and the windows in each.
pub(crate) fn folder(folder: &Path) -> Result<Vec<Series>> {
    let mut all = Vec::new();
    for name in windows(folder)?.keys() {
        let path = folder.join(name);
        let text = fs::read_to_string(&path).during(format!("reading {}", path.display()))?;
        let mut series = Series {
            name: name.clone(),
            ..Series::default()
        };
        for line in text.lines().skip(1) {
            let row = line
                .split_once(',')
                .and_then(|(time, value)| Some((micros(time)?, value.trim().parse().ok()?)));
            let (time, value) =
                row.ok_or_else(|| Failure::new(format!("{name}: no row: {line}")))?;
            series.times.push(time);
            series.values.push(value);
        }
        all.push(series);
    }
    label(&mut all, folder)?;
    Ok(all)
}

fn label(all: &mut [Series], folder: &Path) -> Result<()> {
    let windows = windows(folder)?;
    for series in all {
        let none = || Failure::new(format!("windows.json does not know {}", series.name));
        let windows = windows.get(&series.name).ok_or_else(none)?;
        let times = windows
            .iter()
            .map(|(from, to)| Some((micros(from)?, micros(to)?)));
        let times: Option<Vec<_>> = times.collect();
        let wrong = || Failure::new(format!("{}: a window has no time", series.name));
        series.label(&times.ok_or_else(wrong)?)?;
    }
    Ok(())
}

fn windows(folder: &Path) -> Result<BTreeMap<String, Vec<(String, String)>>> {
    let path = folder.join("windows.json");
    let reading = || format!("reading {}", path.display());
    let text = fs::read_to_string(&path).during(reading())?;
    serde_json::from_str(&text).during(reading())
}

fn micros(time: &str) -> Option<i64> {
    string_to_timestamp_nanos(time.trim())
        .ok()
        .map(|nanos| nanos / 1_000)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::nab::score::{PROFILES, Scored};

    /// What the benchmark publishes for its random cut forest on these files: the scorer is right.
    #[test]
    fn the_reference_detector_gets_its_score() {
        let mut scored = Scored::default();
        let all = shipped().unwrap();
        assert_eq!(all.len(), 30);
        for series in &all {
            scored.add(&series.reference, &series.windows);
        }
        let found = PROFILES.map(|profile| scored.best(&profile).0);
        for (found, published) in found.iter().zip([49.40, 36.63, 56.24]) {
            assert!(
                (found - published).abs() < 0.01,
                "{found} is not {published}"
            );
        }
    }

    #[test]
    fn a_folder_is_read_as_the_benchmark_lays_it_out() {
        let folder = tempfile::tempdir().unwrap();
        let text = "timestamp,value\n2014-04-01 00:00:00,1.5\n2014-04-01 00:05:00,2\n2014-04-01 00:10:00,3\n";
        fs::write(folder.path().join("a.csv"), text).unwrap();
        let windows =
            r#"{"a.csv": [["2014-04-01 00:05:00.000000", "2014-04-01 00:10:00.000000"]]}"#;
        fs::write(folder.path().join("windows.json"), windows).unwrap();
        let all = super::folder(folder.path()).unwrap();
        assert_eq!(all[0].values, [1.5, 2.0, 3.0]);
        assert_eq!(all[0].windows, [1..=2]);
        assert_eq!(all[0].times[1] - all[0].times[0], 300_000_000);
        assert_eq!(all[0].range(), Some((1.5, 3.0)));
    }
}
