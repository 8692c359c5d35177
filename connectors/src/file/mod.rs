//! Connectors `file`, `s3`, `gcs` and `azure`: Parquet, CSV, JSON lines and Avro, plain or
//! compressed, read from and written to files.
//!
//! A source lists what its path names, discovers the schema, and cuts the files into splits. It
//! promises that every record is either a row or a dead letter, and that each file is read once:
//! a file that changes after it was taken is not read again. Files need not be whole to be taken
//! except in watch mode on a local disk, where a file is left alone until it rests for a moment.

use std::sync::Arc;

use arrow::datatypes::{DataType, TimeUnit};
use async_trait::async_trait;
use weir_engine::Result;
use weir_engine::connector::{Connector, Guarantee, MetadataColumn, SinkRequest, SourceRequest};
use weir_engine::options::{OptionSpec, Options};
use weir_engine::sink::Sink;
use weir_engine::source::Source;

use crate::file_sink;
use crate::store::{self, Location, Scheme};

mod avro;
pub(crate) mod columns;
pub(crate) mod config;
pub(crate) mod csv;
mod declared;
mod decode;
mod discovery;
mod estimate;
mod infer;
mod inflate;
mod input;
pub(crate) mod json;
mod letters;
mod listing;
mod parquet;
mod parquet_input;
pub(crate) mod records;
mod selection;
mod source;
mod split;
#[cfg(test)]
mod tests;
pub(crate) mod text;

pub(crate) use config::FileConfig;
pub use config::OPTIONS;

/// The connectors over files, one per kind of store.
#[derive(Debug)]
pub struct FileConnector {
    scheme: Scheme,
}

impl FileConnector {
    /// Files on the local disk.
    pub fn file() -> Self {
        Self {
            scheme: Scheme::File,
        }
    }

    /// Objects on S3, MinIO and their like.
    pub fn s3() -> Self {
        Self { scheme: Scheme::S3 }
    }

    /// Objects on Google Cloud Storage.
    pub fn gcs() -> Self {
        Self {
            scheme: Scheme::Gcs,
        }
    }

    /// Objects on Azure Blob Storage.
    pub fn azure() -> Self {
        Self {
            scheme: Scheme::Azure,
        }
    }
}

#[async_trait]
impl Connector for FileConnector {
    fn name(&self) -> &'static str {
        self.scheme.name()
    }

    fn summary(&self) -> &'static str {
        match self.scheme {
            Scheme::File => "Files on the local disk: Parquet, CSV, JSON lines, Avro.",
            Scheme::S3 => "Files on S3, MinIO and their like: Parquet, CSV, JSON lines, Avro.",
            Scheme::Gcs => "Files on Google Cloud Storage: Parquet, CSV, JSON lines, Avro.",
            Scheme::Azure => "Files on Azure Blob Storage: Parquet, CSV, JSON lines, Avro.",
        }
    }

    fn source_options(&self) -> Option<Vec<&'static [OptionSpec]>> {
        Some(vec![store::options(self.scheme), OPTIONS])
    }

    fn sink_options(&self) -> Option<Vec<&'static [OptionSpec]>> {
        Some(vec![store::options(self.scheme), file_sink::OPTIONS])
    }

    fn rescues(&self) -> bool {
        true
    }

    fn metadata_columns(&self) -> Vec<MetadataColumn> {
        vec![
            MetadataColumn {
                key: "file",
                data_type: DataType::Utf8,
                help: "The path of the file.",
            },
            MetadataColumn {
                key: "offset",
                data_type: DataType::Int64,
                help: "The byte offset of the record in a text file, the row number in Parquet and Avro.",
            },
            MetadataColumn {
                key: "modified",
                data_type: DataType::Timestamp(TimeUnit::Microsecond, None),
                help: "When the file was last changed.",
            },
        ]
    }

    fn guarantee(&self) -> Guarantee {
        Guarantee::ExactlyOnce
    }

    async fn source(&self, request: SourceRequest) -> Result<Arc<dyn Source>> {
        let specs = [store::options(self.scheme), OPTIONS];
        let options = Options::check(&self.owner(), &specs, request.options.clone())?;
        let location = Location::open(self.scheme, &options)?;
        let source = source::FileSource::open(request, location, &options).await?;
        Ok(Arc::new(source))
    }

    async fn sink(&self, request: SinkRequest) -> Result<Arc<dyn Sink>> {
        let specs = [store::options(self.scheme), file_sink::OPTIONS];
        let options = Options::check(&self.owner(), &specs, request.options.clone())?;
        let location = Location::open(self.scheme, &options)?;
        file_sink::create(request, location, options).await
    }
}

impl FileConnector {
    fn owner(&self) -> String {
        format!("connector '{}'", self.scheme.name())
    }
}
