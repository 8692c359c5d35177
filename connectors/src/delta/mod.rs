//! Connector `delta`: tables of Delta Lake, on the local disk and on S3, written exactly once.
//!
//! Files are finished as those of a file sink are, and readers see them when the table's log names
//! them: one commit of the log per epoch. The commit says which pipeline it is from and which
//! epoch it is (`txn`), so that one that is repeated changes nothing. Other writers may append at
//! the same time. Tables are written and not read.

mod compaction;
mod failure;
mod merged;
mod partition;
mod shape;
mod sink;
mod table;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use async_trait::async_trait;
use weir_engine::connector::{Connector, Guarantee, SinkRequest};
use weir_engine::error::Result;
use weir_engine::options::{OptionKind, OptionSpec, Options};
use weir_engine::sink::Sink;

use crate::file_sink::{
    PARTITION_BY, ROLL_INACTIVITY, ROLL_INTERVAL, ROLL_ROWS, ROLL_SIZE, ROW_GROUP_BYTES,
    ROW_GROUP_ROWS,
};
use crate::store::{self, Location, Scheme};

/// The options beside those of the store.
const OPTIONS: &[OptionSpec] = &[
    PARTITION_BY,
    OptionSpec::default(
        "compression",
        OptionKind::OneOf(&["zstd", "snappy", "lz4", "gzip", "none"]),
        "zstd",
        "How the files are compressed.",
    ),
    ROLL_SIZE,
    ROLL_ROWS,
    ROLL_INTERVAL,
    ROLL_INACTIVITY,
    ROW_GROUP_ROWS,
    ROW_GROUP_BYTES,
    OptionSpec::default(
        "compact",
        OptionKind::Bool,
        "false",
        "Whether a streaming job merges small files that it has written with checkpoints, up to \
         roll_size and 64 MB at most, in the background: each time one commit that changes no rows. \
         The old files stay until the table's own VACUUM.",
    ),
    OptionSpec::default(
        "compact_after",
        OptionKind::Duration,
        "10 minutes",
        "How long a partition must have got no file before its files are merged.",
    ),
];

/// Tables of Delta Lake.
#[derive(Debug)]
pub struct DeltaConnector;

#[async_trait]
impl Connector for DeltaConnector {
    fn name(&self) -> &'static str {
        "delta"
    }

    fn summary(&self) -> &'static str {
        "Delta Lake tables on the local disk and S3; the table is made if it is missing."
    }

    fn sink_options(&self) -> Option<Vec<&'static [OptionSpec]>> {
        Some(vec![store::options(Scheme::S3), OPTIONS])
    }

    fn guarantee(&self) -> Guarantee {
        Guarantee::ExactlyOnce
    }

    async fn sink(&self, request: SinkRequest) -> Result<Arc<dyn Sink>> {
        let specs = [store::options(Scheme::S3), OPTIONS];
        let options = Options::check("connector 'delta'", &specs, request.options.clone())?;
        let path = options.need("path")?;
        let cloud = matches!(path.split_once("://"), Some((scheme, _)) if scheme != "file");
        let scheme = if cloud { Scheme::S3 } else { Scheme::File };
        let location = Location::open(scheme, &options)?;
        Ok(Arc::new(sink::DeltaSink::new(request, location, &options)?))
    }
}
