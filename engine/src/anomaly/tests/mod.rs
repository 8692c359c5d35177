//! Operators and sorted judges, against models that are used directly.

mod bounds;
mod operator;
mod series;
