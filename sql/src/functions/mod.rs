//! Functions that DataFusion lacks: what rules ask of a value. Each gives null for null, and nothing
//! of what it looks at leaves the process.

mod checksum;
mod codes;
mod compare;
mod dates;
mod formats;
mod identities;
mod json;
mod json_schema;
mod network;
mod number;
mod personal;
mod text;

use datafusion::logical_expr::ScalarUDF;

/// All of them.
pub(crate) fn all() -> Vec<ScalarUDF> {
    let mut all: Vec<ScalarUDF> = text::predicates().map(ScalarUDF::from).collect();
    all.extend(number::predicates().map(ScalarUDF::from));
    all.extend([
        ScalarUDF::from(compare::AllDiffer::distinct()),
        ScalarUDF::from(compare::AllDiffer::equal()),
        ScalarUDF::from(compare::ApproxEq::default()),
        ScalarUDF::from(dates::IsTime::date()),
        ScalarUDF::from(dates::IsTime::timestamp()),
        ScalarUDF::from(json::HasKeys::default()),
        ScalarUDF::from(json_schema::MatchesSchema::default()),
    ]);
    all
}

#[cfg(test)]
mod tests;
