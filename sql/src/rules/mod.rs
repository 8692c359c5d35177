//! From rules as they are written to rules that the engine judges rows by.
//!
//! A rule is planned twice: where it is declared, so that what is wrong with it is told there, and
//! where its table's rows come out, over the columns as they are then. [`copy`] is for queries that
//! compute a ruled view anew: they see the rows that the view shows, and count nothing.

pub(crate) mod check;
pub(crate) mod copy;
pub(crate) mod gate;
mod keyed;
mod lag;
mod never;
mod outliers;
mod planning;
mod reference;
mod text;
mod waiting;

pub(crate) use planning::{Arrival, Planned, Ruled, fit, of_set, plan};
pub(crate) use reference::{Due, References, name_of};
pub(crate) use text::clause;
