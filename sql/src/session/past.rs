//! What earlier runs of a pipeline have measured, for rules that ask: read from `weir.quality_results`.

use std::sync::Arc;

use arrow::array::{Array, AsArray, RecordBatch};
use arrow::datatypes::TimestampMicrosecondType;
use serde_json::Value;
use weir_engine::error::{Error, Result};
use weir_engine::rules::{Ask, Earlier, RESULTS, Term, version_of};

use super::Session;
use crate::rules::check::CheckPlan;

/// Which results are asked for.
struct Wanted {
    table: String,
    rule: String,
    version: String,
    windowed: bool,
    /// The measures, as results tell of them.
    measures: Vec<String>,
}

impl Session {
    /// Gives the rules of a plan what they have measured in earlier runs.
    pub(super) async fn recall(&self, table: &str, plan: &mut CheckPlan) -> Result<()> {
        let windowed = plan.windowed;
        for check in &mut plan.checks {
            let (rule, version) = (check.name.clone(), version_of(&check.text));
            if let Ask::Past(past) = &mut check.ask {
                let measures = past.terms.iter().map(|term: &Term| term.of.clone());
                let wanted = Wanted {
                    table: table.to_owned(),
                    rule,
                    version,
                    windowed,
                    measures: measures.collect(),
                };
                past.earlier = self.told(wanted).await?;
            }
        }
        Ok(())
    }

    /// What was told of a rule, from the first to the last.
    async fn told(&self, wanted: Wanted) -> Result<Vec<Earlier>> {
        let Some(store) = self.histories.first().map(Arc::clone) else {
            return Ok(Vec::new());
        };
        let read = self.env.blocking(move || {
            let mut found: Vec<(i64, Earlier)> = Vec::new();
            for file in store.files(RESULTS)? {
                for rows in store.read(RESULTS, &file)? {
                    found.extend(of(&rows, &wanted).unwrap_or_default());
                }
            }
            found.sort_by_key(|(at, _)| *at);
            Ok::<_, Error>(found.into_iter().map(|(_, earlier)| earlier).collect())
        });
        read.await?
    }
}

/// The results of a rule among rows, with when they were told; `None` if the rows are of another version.
fn of(rows: &RecordBatch, wanted: &Wanted) -> Option<Vec<(i64, Earlier)>> {
    let text = |name: &str| rows.column_by_name(name)?.as_string_opt::<i32>();
    let time = |name: &str| {
        let column = rows.column_by_name(name)?;
        column.as_primitive_opt::<TimestampMicrosecondType>()
    };
    let (tables, rules, versions) = (text("table_name")?, text("rule")?, text("rule_version")?);
    let (segments, observed) = (text("segment")?, text("observed")?);
    let (ends, times) = (time("pane_end")?, time("recorded_at")?);
    let row = |row: usize| {
        let is_wanted = tables.value(row) == wanted.table
            && rules.value(row) == wanted.rule
            && versions.value(row) == wanted.version;
        if !is_wanted {
            return None;
        }
        let seen: Value = match observed.is_valid(row) {
            true => serde_json::from_str(observed.value(row)).ok()?,
            false => Value::Null,
        };
        let number = |measure: &String| match seen.get(measure)? {
            Value::Number(number) => number.as_f64(),
            Value::String(text) => text.parse().ok(),
            _ => None,
        };
        let at = times.value(row);
        let end = match wanted.windowed {
            true => ends.is_valid(row).then(|| ends.value(row))?,
            false => at,
        };
        let segment = segments
            .is_valid(row)
            .then(|| segments.value(row).to_owned());
        let values = wanted.measures.iter().map(number).collect();
        Some((
            at,
            Earlier {
                segment,
                end,
                values,
            },
        ))
    };
    Some((0..rows.num_rows()).filter_map(row).collect())
}
