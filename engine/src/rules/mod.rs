//! Rules over the rows of a table: what each row has to hold, and what happens to one that does not.
//!
//! All rules of a table are one [`Judge`]. It looks at each row once, before the row is published,
//! and says with bitmaps which rules it breaks and which have no answer ([`verdict`]); only rows that
//! break one are copied. A source's rules are part of its scan, so that a row that is kept back
//! moves no watermark; those of a view or a sink are an operator before it, [`RulesFactory`]. What
//! was decided goes with the epoch of the rows into [`crate::dead_letter`], which keeps quarantined
//! rows and counts, and checks that none is lost.
//!
//! Rules over many rows are [`check`]s: an aggregation measures, and an operator behind it judges what was
//! measured. What all of them find goes with the epoch too, as rows of a table ([`results`]).
//!
//! Rules over keys ([`keyed`]) look at the rows that came before too: they have state, and come behind
//! the others, in stages of their own.
//!
//! A verdict of a rule over single rows is a pure function of the row. Both sides of an update are
//! judged alike: the retraction of a row that was kept back is kept back too.

mod baseline;
mod check;
mod excess;
mod fate;
mod fused;
mod gate;
mod judge;
mod kept;
pub mod keyed;
mod last;
pub(crate) mod ledger;
mod operator;
mod origin;
mod pause;
mod reference;
mod requests;
pub(crate) mod results;
mod rule;
mod step;
mod tally;
#[cfg(test)]
mod tests;
mod verdict;

pub use baseline::Baseline;
pub use check::{Ask, Check, ChecksFactory, ChecksSpec, Consequence, Earlier, Fold, Past, Term};
pub use gate::{Gate, GateStage, Measure, Measures, Over};
pub use judge::{Judge, Judged, Table};
pub use kept::{
    ATTEMPT, FIRST_SEEN, ID, OBSERVED, OPEN, PARSE_ERROR, RAW, RULES, STATUS, is_kept_column,
    is_required, kept_schema,
};
pub use last::{LastFactory, LastSpec, Reach};
pub use operator::RulesFactory;
pub use origin::Origin;
pub use pause::Pause;
pub(crate) use pause::Watch;
pub use reference::Reference;
pub(crate) use requests::Requests;
pub use results::{RESULTS, results_schema};
pub use rule::{Action, Grade, Most, Overflow, Rule, Switch, version_of};
pub use step::Step;
pub use tally::{RuleTally, TableTally, Unit};
