//! What updating aggregation must give, against a plain computation over all rows.

mod behaviour;
mod harness;
mod results;
