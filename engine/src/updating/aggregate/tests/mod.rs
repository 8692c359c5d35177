//! What updating aggregation must give, against a plain computation over all rows.

mod harness;
mod results;
