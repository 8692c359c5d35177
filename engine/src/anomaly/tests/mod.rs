//! Operators and sorted judges, against models that are used directly.

mod bounds;
mod feedback;
mod operator;
mod series;
