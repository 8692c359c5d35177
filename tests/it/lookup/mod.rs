//! Lookup joins by the connector `postgres` against a real server: the same rows as a join with the
//! whole table, fresh ones when the table changes, none lost or doubled when the server or the program
//! goes away, and errors that say what to do.

mod answers;
mod errors;
mod failures;
mod fresh;
mod values;
