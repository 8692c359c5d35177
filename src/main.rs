//! The `weir` program.

use std::process::ExitCode;

use clap::Parser as _;
use weir::cli::Cli;

// Operators allocate and free large batches on many threads at once; mimalloc gives the memory
// back to the system sooner than the system's own allocator, and peak memory is a promise.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    let cli = Cli::parse();
    weir::telemetry::init();
    ExitCode::from(cli.run())
}
