//! Detectors of anomalies in series of numbers and texts: online, bounded, restorable.
//!
//! A [`Model`] judges the rows of one key in the order of their time, each by what came before it, and says
//! what was expected, how unlikely the row is, and whether it is an anomaly. It knows nothing of engines, columns in
//! memory or clocks: whoever runs it gives it rows and keeps its bytes.
//!
//! ```
//! use std::sync::Arc;
//! use weir_anomaly::{Config, Method, Model};
//!
//! let mut model = Model::new(Arc::new(Config::new(Method::Auto)))?;
//! for time in 0..1_000 {
//!     let usual = (time % 24) as f64;
//!     model.observe(time, &[usual]);
//! }
//! let verdict = model.observe(1_000, &[500.0]);
//! assert!(verdict.is_anomaly && verdict.p_value < 0.01);
//! # Ok::<(), weir_anomaly::Error>(())
//! ```
//!
//! What holds for all methods:
//!
//! - A detector's scores become probabilities by the distribution of their tail, so that
//!   [`Config::sensitivity`] means the same for all.
//! - The state of a key is bounded and is bytes when asked for; a restored model goes on as the saved one would have.
//! - Missing values, infinities, constants and jumps are no error and ruin no model.
//! - There is no look-ahead, and no chance but what follows from the configuration's seed.

mod codec;
mod config;
mod detector;
mod error;
mod exclusion;
mod method;
mod model;
mod moments;
mod policy;
mod random;
mod ring;
mod sorted;
mod tail;
mod told;
mod verdict;

#[cfg(test)]
mod tests;

pub use config::{
    COLUMNS_MAX, Config, Direction, Learn, PERIOD_ROWS_MAX, SAMPLES_MAX, SEASONS_MAX, SHINGLE_MAX,
    Season, TREES_MAX,
};
pub use error::{Error, Result};
pub use exclusion::{Exclusions, RANGES_MAX};
pub use method::Method;
pub use model::Model;
pub use policy::Feedback;
pub use verdict::{Verdict, Verdicts};
