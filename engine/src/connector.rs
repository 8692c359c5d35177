//! What a connector offers: its options, and the making of sources and sinks from them.
//!
//! The planner knows connectors through this trait alone; the program registers them.

use std::fmt;
use std::sync::Arc;

use arrow::datatypes::{DataType, FieldRef, SchemaRef};
use async_trait::async_trait;
use serde_json::Value;

use crate::dead_letter::OnError;
use crate::deviation::Deviations;
use crate::env::Env;
use crate::error::{Error, Kind, Result, codes};
use crate::lookup::Lookup;
use crate::options::{GivenOptions, OptionSpec, json_schema};
use crate::sink::Sink;
use crate::source::Source;

/// What a sink promises about what is written through failures.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Guarantee {
    /// Each row once, through crashes, once checkpoints are on.
    ExactlyOnce,
    /// Each row at least once.
    AtLeastOnce,
    /// Nothing is kept: for looking and measuring.
    None,
}

/// A column that the connector fills from outside the row: `METADATA FROM 'key'`.
#[derive(Debug, Clone, PartialEq)]
pub struct MetadataColumn {
    /// The key.
    pub key: &'static str,
    /// Its type.
    pub data_type: DataType,
    /// One sentence.
    pub help: &'static str,
}

/// What the script says of a source.
#[derive(Debug, Clone)]
pub struct SourceRequest {
    /// The source's name.
    pub name: String,
    /// `WITH (...)`, without `connector` and `on_error`.
    pub options: GivenOptions,
    /// The declared physical columns; `None` asks for discovery.
    pub columns: Option<Vec<FieldRef>>,
    /// Columns with `METADATA FROM`, as (field, key); they follow the physical ones in the schema.
    pub metadata: Vec<(FieldRef, String)>,
    /// What to do with rows that cannot be decoded.
    pub on_error: OnError,
    /// What to do with data that is not as declared.
    pub deviations: Deviations,
    /// Whether the job streams: a watching source goes on only then.
    pub streaming: bool,
    /// Time, chance, tasks.
    pub env: Env,
}

/// What a lookup join wants of a source.
#[derive(Debug, Clone)]
pub struct LookupRequest {
    /// The source, as it was made; its columns are known.
    pub source: SourceRequest,
    /// The columns of [`Source::schema`] that the table is asked by, in the order of the keys. The
    /// keys come in the types of the columns.
    pub keys: Vec<usize>,
    /// The columns of [`Source::schema`] that are to be given, in this order.
    pub columns: Vec<usize>,
}

/// What the script says of a sink.
#[derive(Debug, Clone)]
pub struct SinkRequest {
    /// The sink's name.
    pub name: String,
    /// `WITH (...)`, without `connector`.
    pub options: GivenOptions,
    /// The rows that will come.
    pub schema: SchemaRef,
    /// The partition columns: columns of `schema` under these names, those of the query that
    /// `partition_by` names and those that the planner computes and appends. The sink puts all of
    /// them into the path and none into the file: readers put them back from the path.
    pub partition_columns: Vec<String>,
    /// Whether the job streams: files roll by time only then, unless said.
    pub streaming: bool,
    /// Time, chance, tasks.
    pub env: Env,
}

/// A connector.
#[async_trait]
pub trait Connector: fmt::Debug + Send + Sync {
    /// The word in `connector = '...'`.
    fn name(&self) -> &'static str;

    /// One sentence.
    fn summary(&self) -> &'static str;

    /// Options of its sources; `None` when it has none.
    fn source_options(&self) -> Option<Vec<&'static [OptionSpec]>> {
        None
    }

    /// Options of its sinks; `None` when it has none.
    fn sink_options(&self) -> Option<Vec<&'static [OptionSpec]>> {
        None
    }

    /// Whether an option that is in no table goes on to its client, as in `properties.NAME`: the
    /// connector checks such options itself.
    fn passes(&self, _option: &str) -> bool {
        false
    }

    /// Metadata columns of its sources.
    fn metadata_columns(&self) -> Vec<MetadataColumn> {
        Vec::new()
    }

    /// Whether the tables of its sources can be asked for rows by key. Their options include
    /// [`crate::lookup::OPTIONS`].
    fn has_lookup(&self) -> bool {
        false
    }

    /// Whether its sources know [`Deviations`]: one that rescues has the rescue column among its columns, and
    /// appends it to those that it discovers.
    fn rescues(&self) -> bool {
        false
    }

    /// How its sinks take updating results, as people would write it: `connector = 'print'`, or
    /// with the options that make it so. `None` when they only append.
    fn takes_changelog(&self) -> Option<&'static str> {
        None
    }

    /// What its sinks promise.
    fn guarantee(&self) -> Guarantee {
        Guarantee::None
    }

    /// Makes a source; discovers the schema when no columns are declared.
    async fn source(&self, request: SourceRequest) -> Result<Arc<dyn Source>> {
        Err(self.has_no("source", &request.name))
    }

    /// Makes what a lookup join asks.
    async fn lookup(&self, request: LookupRequest) -> Result<Arc<dyn Lookup>> {
        Err(self.has_no("lookup", &request.source.name))
    }

    /// Makes a sink.
    async fn sink(&self, request: SinkRequest) -> Result<Arc<dyn Sink>> {
        Err(self.has_no("sink", &request.name))
    }

    /// The error of a connector that has no source or no sink.
    fn has_no(&self, what: &str, name: &str) -> Error {
        Error::new(
            Kind::Invalid,
            codes::UNKNOWN_CONNECTOR,
            format!(
                "connector '{}' has no {what}, so \"{name}\" cannot use it",
                self.name()
            ),
        )
        .hint("`weir connector list` shows what each connector offers")
    }

    /// The JSON Schema of its options, source and sink.
    fn schema(&self) -> Value {
        let part = |what: &str, specs: Option<Vec<&'static [OptionSpec]>>| {
            specs.map(|specs| json_schema(&format!("{} {what}", self.name()), &specs))
        };
        serde_json::json!({
            "connector": self.name(),
            "source": part("source", self.source_options()),
            "sink": part("sink", self.sink_options()),
            "lookup": self.has_lookup(),
        })
    }
}
