//! The Numenta Anomaly Benchmark: its labelled series and its scoring.

pub(crate) mod choice;
pub(crate) mod score;
pub(crate) mod series;
