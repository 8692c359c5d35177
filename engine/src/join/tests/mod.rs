//! Joins against a naive answer, and what they promise beside it.

mod harness;
mod lookup;
mod on_disk;
mod oracle;
mod table_join;
mod timed;
mod updating;
