//! The language's words for detectors of anomalies: their options as the script has them, checked as they are read.

pub(crate) mod models;
pub(crate) mod options;
pub(crate) mod value;

/// The window function, as it is written in lower case.
pub(crate) const FUNCTION: &str = "anomaly";
/// The table function, as it is written in lower case.
pub(crate) const TABLE_FUNCTION: &str = "detect_anomalies";
/// How the window function is written.
pub(crate) const FORM: &str =
    "ANOMALY(value, METHOD 'auto', SENSITIVITY 0.99) OVER (PARTITION BY key ORDER BY time)";
