//! What rules have found, for people: the report of `weir quality report`.

mod chart;
mod facts;
mod html;
mod text;

pub use facts::{Facts, Subject};
pub use html::page;
pub use text::tables;
