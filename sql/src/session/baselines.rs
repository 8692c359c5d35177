//! What distributions are compared with: looked up where a statement names it, and planned with each job.

use std::sync::Arc;

use arrow::array::AsArray;
use weir_engine::error::{Error, Kind, Result, codes};
use weir_engine::options::{nearest, unknown};
use weir_engine::rules::Baseline;

use super::Session;
use crate::ast;
use crate::lower::{agree, is_bounded, reads_changes};
use crate::parse::skeleton;
use crate::plan::Tables;
use crate::profile::KEPT;
use crate::settings::Mode;
use crate::statistics::{Distribution, reading};

impl Session {
    /// Finds what a statement compares with: a source or view of the script, or a stored profile.
    pub(super) async fn find_baseline(&self, reference: &ast::Baseline) -> Result<()> {
        let baselines = &self.planner.references().baselines;
        let (name, column, place) = (&reference.table, &reference.column, reference.place);
        if let Ok(table) = self.catalog.table(name) {
            let schema = table.schema();
            let Ok(field) = schema.field_with_name(column) else {
                let known = schema.fields().iter().map(|field| field.name().as_str());
                return Err(unknown(codes::UNKNOWN_COLUMN, "column", column, known).at(Some(place)));
            };
            let query = skeleton::query(&reading(reference))?;
            let planned = self.planner.query(&self.catalog, &query, Some(place))?;
            let numbers = Distribution::is_of_numbers(field.data_type());
            let plan = self.planner.analyze(planned.plan, Some(place))?;
            baselines.read(reference, plan, numbers);
            return Ok(());
        }
        if let Some(profile) = self.last_profile((name, None), column).await? {
            baselines.keep(reference, &profile.distribution());
            return Ok(());
        }
        let kept = self.kept_profiles().await?;
        let columns = kept.iter().filter(|(profile, _)| profile == name);
        let mut columns = columns.map(|(_, column)| column.as_str()).peekable();
        if columns.peek().is_some() {
            return Err(unknown(codes::UNKNOWN_COLUMN, "column", column, columns).at(Some(place)));
        }
        let message =
            format!("there is no profile, source or view called \"{name}\" to compare with");
        let names = kept.iter().map(|(profile, _)| profile.as_str());
        let error = Error::new(Kind::Invalid, codes::UNKNOWN_TABLE, message).hint(format!(
            "store a profile first: PROFILE TABLE orders INTO {name}"
        ));
        let mut names: Vec<&str> = names.filter(|name| !name.is_empty()).collect();
        names.dedup();
        Err(nearest(error, name, names.into_iter()).at(Some(place)))
    }

    /// The names and columns of the profiles that are kept, in their order.
    async fn kept_profiles(&self) -> Result<Vec<(String, String)>> {
        let stores = self.histories.clone();
        let read = self.env.blocking(move || {
            let mut all = Vec::new();
            for store in stores {
                for file in store.files(KEPT)? {
                    for rows in store.read(KEPT, &file)? {
                        let text = |at: &str| {
                            Some(rows.column_by_name(at)?.as_string_opt::<i32>()?.clone())
                        };
                        if let (Some(names), Some(columns)) = (text("profile"), text("column")) {
                            let pairs = names.iter().zip(columns.iter());
                            let owned = |(a, b): (Option<&str>, Option<&str>)| {
                                Some((a?.to_owned(), b?.to_owned()))
                            };
                            all.extend(pairs.filter_map(owned));
                        }
                    }
                }
            }
            all.sort();
            Ok::<_, Error>(all)
        });
        read.await?
    }

    /// Plans the reading of what a plan compares with; `plan` is how it is shown.
    pub(super) async fn baselines_of(&self, mode: Mode, plan: &str) -> Result<Vec<Arc<Baseline>>> {
        let mut all = Vec::new();
        for wanted in self.planner.references().baselines.wanted(plan) {
            let place = Some(wanted.place);
            if let Some(plan) = &wanted.plan {
                let ends = mode == Mode::Batch || is_bounded(plan)?;
                if !ends || reads_changes(plan)? {
                    let message = format!("{}: the table is a stream", wanted.baseline.name());
                    return Err(Error::new(Kind::Invalid, codes::UNSUPPORTED, message)
                        .detail("its values are read when the job starts, and a stream has no end")
                        .hint("compare with a source that ends, or with a stored profile")
                        .at(place));
                }
                let island = self.planner.island(plan, place).await?;
                agree(&island)?;
                wanted.baseline.set_plan(island);
            }
            all.push(wanted.baseline);
        }
        Ok(all)
    }
}
