//! The tests of the whole: the built program, real files, a real S3 server, other readers.
//!
//! One binary, since linking DataFusion costs more than compiling a module. `bash tests/run`
//! installs what these tests lean on.
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    clippy::disallowed_methods,
    reason = "a test that cannot go on should panic, and it runs outside the simulated environment"
)]

mod broken_data;
mod broken_script;
mod broken_store;
mod chaos;
mod checker;
mod delta;
mod deviations;
mod examples;
mod kafka;
mod lookup;
mod memory;
mod program;
mod property;
mod quality;
mod quarantine;
mod servers;
mod streaming;
mod tidy;
mod views;
