//! Files as sinks: Parquet, CSV and newline-delimited JSON on the local disk, S3, GCS and Azure,
//! in hive partitions, rolled by size, rows, age and inactivity.
//!
//! A file appears only when it is whole. On the local disk it grows under `_temporary/`, is synced
//! and then renamed; in an object store it is an object under a hidden name that `commit` copies, or, when
//! it is large, a multipart upload that `commit` completes. All can be repeated. With checkpoints a file ends at each barrier and its name tells the epoch of its
//! commit: exactly once costs small files where epochs are small. What a job leaves when it fails is deleted, never shown. Files of earlier jobs stay
//! beside the new ones, unless `on_existing` says otherwise.
//!
//! A query without rows writes no file. The partition columns stand in the path
//! (`k=v/`, as Hive writes it) and not in the file, since readers put them back from there and
//! some refuse a column that comes twice.

mod buffer;
mod encoder;
mod existing;
mod local;
mod names;
mod object;
mod output;
mod partition;
mod place;
mod settings;
mod sink;
mod staged;
mod staging;
mod sweep;
mod transfer;
mod upload;
mod writer;

#[cfg(test)]
mod tests;

use std::sync::Arc;

use weir_engine::connector::SinkRequest;
use weir_engine::env::Env;
use weir_engine::error::Result;
use weir_engine::options::Options;
use weir_engine::sink::Sink;

pub(crate) use partition::{escape, unescape};
pub use settings::OPTIONS;
pub(crate) use settings::{
    PARTITION_BY, ROLL_INACTIVITY, ROLL_INTERVAL, ROLL_ROWS, ROLL_SIZE, ROW_GROUP_BYTES,
    ROW_GROUP_ROWS,
};
pub(crate) use staging::Staging;

use crate::store::Location;

/// Makes a file sink. Options and types that the format cannot take are refused here.
pub fn create(
    request: SinkRequest,
    location: Location,
    options: Options,
) -> impl Future<Output = Result<Arc<dyn Sink>>> + Send {
    std::future::ready(make(&request, location, &options))
}

/// Runs work where I/O runs, and waits for it.
pub(crate) async fn io<T: Send + 'static>(
    env: &Env,
    work: impl Future<Output = Result<T>> + Send + 'static,
) -> Result<T> {
    transfer::spawn(env, work).wait().await
}

fn make(request: &SinkRequest, location: Location, options: &Options) -> Result<Arc<dyn Sink>> {
    let place = place::Place::of(location, &request.env)?;
    let settings = settings::Settings::of(options, request.streaming)?;
    let sink = sink::FileSink::new(request, place, settings, options)?;
    Ok(Arc::new(sink))
}
