//! Statistics of columns: aggregates that merge, spill and restore like any other, and distances of distributions.
//!
//! Rows in which a value is null are left out, and so are NaN and the infinities among numbers; of no value the
//! answer is null. No answer depends on the order of the rows, but for the last digits of sums.

mod aggregate;
mod baseline;
mod categories;
mod compare;
mod counted;
mod distance;
mod distribution;
mod ewma;
mod moments;
mod numbers;
mod probability;
mod special;

use std::sync::Arc;

use datafusion::logical_expr::{AggregateUDF, ScalarUDF};

pub(crate) use baseline::{Baselines, reading};
pub(crate) use categories::Categories;
pub(crate) use compare::PREFIX as DISTANCE;
pub(crate) use distance::Distance;
pub(crate) use distribution::Distribution;
pub(crate) use moments::Moments;
pub(crate) use numbers::Numbers;

/// The aggregates.
pub(crate) fn aggregates() -> impl Iterator<Item = AggregateUDF> {
    let all = aggregate::NAMES.into_iter();
    let all =
        all.map(|(name, statistic)| AggregateUDF::from(aggregate::Aggregate::of(name, statistic)));
    all.chain([AggregateUDF::from(ewma::Ewma::default())])
}

/// The functions of what was aggregated.
pub(crate) fn functions() -> impl Iterator<Item = ScalarUDF> {
    [ScalarUDF::from(probability::StudentP::default())].into_iter()
}

/// The functions that compare with what is known as these.
pub(crate) fn distances(baselines: &Arc<Baselines>) -> impl Iterator<Item = ScalarUDF> {
    let all = Distance::ALL.into_iter();
    let baselines = Arc::clone(baselines);
    all.map(move |(name, distance)| {
        ScalarUDF::from(compare::Compare::of(name, distance, Arc::clone(&baselines)))
    })
}

#[cfg(test)]
mod tests;
