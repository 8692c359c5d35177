//! The manifest: everything that one epoch of a pipeline is, in one small file.
//!
//! The first line names the format and a checksum over the rest, the rest is JSON. Any byte that
//! is flipped, lost or added is detected; a manifest of a newer format is told apart from a
//! damaged one, because falling back behind it would repeat what it has committed.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use twox_hash::XxHash3_64;

use super::saved_schema::SavedSchema;
use crate::error::{Error, Kind, Result, codes};
use crate::rules::{Pause, TableTally};

/// The format that is written.
pub const FORMAT: u32 = 1;
/// The first word of a manifest.
const NAME: &str = "weir-manifest";
/// Bytes within which the first line ends.
const HEAD_BYTES_MAX: usize = 128;

/// One epoch of a pipeline.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Manifest {
    /// The format, [`FORMAT`].
    pub format: u32,
    /// The pipeline's name.
    pub pipeline: String,
    /// The instance that began the pipeline: its sinks tell their work by it from that of an
    /// earlier run whose epochs had the same numbers.
    pub origin: String,
    /// The claim of the instance that wrote it.
    pub generation: u64,
    /// The epoch: its place in the log.
    pub epoch: u64,
    /// The instance that wrote it; unique among all.
    pub writer: String,
    /// When it was written.
    pub created_micros: i64,
    /// The epoch whose content this one took over, for [`ManifestKind::Restored`].
    pub restored_from: Option<u64>,
    /// Why it was written.
    pub kind: ManifestKind,
    /// The state of each node.
    pub nodes: Vec<NodeState>,
    /// The tokens that were prepared and not known to be committed when it was written: who
    /// restores from it commits them (again) first.
    pub commits: Vec<SinkCommit>,
    /// The materialized views and where their rows are.
    pub views: Vec<ViewInfo>,
    /// Rows read from all sources since the pipeline began.
    pub rows_in: u64,
    /// What rules have decided since the pipeline began.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tallies: Vec<TableTally>,
    /// What it has taken of the requests about rows in quarantine; none if it has no quarantine.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub requests: Option<TakenRequests>,
    /// The sources that give no rows until users resume them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub paused: Vec<Pause>,
}

/// How far a pipeline has come with the requests about its rows in quarantine.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct TakenRequests {
    /// The last request of each table whose rows are in the epoch or before it.
    pub applied: BTreeMap<String, u64>,
    /// The run reads nothing else.
    pub alone: bool,
    /// The run goes on when its input has ended.
    pub streaming: bool,
}

/// Why a manifest was written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ManifestKind {
    /// The interval passed.
    Periodic,
    /// A user asked for it; it is kept until the user removes it.
    Savepoint,
    /// The job read all of its input.
    Finished,
    /// A new instance took over: the content of an earlier epoch under a new generation.
    Restored,
}

/// The state of one node of the graph.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodeState {
    /// The node's stable id.
    pub id: String,
    /// What the node computes; another fingerprint means that the state does not fit.
    pub fingerprint: String,
    /// The state of each subtask.
    pub chains: Vec<Chain>,
}

/// The state of one subtask: a full snapshot and the changes since, in order.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Chain {
    /// The subtask that wrote it.
    pub subtask: u32,
    /// The files in the order in which they are replayed.
    pub files: Vec<StateFile>,
}

/// One file of state.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct StateFile {
    /// The place below the pipeline's folder.
    pub path: String,
    /// The epoch for which it was written.
    pub epoch: u64,
    /// Its bytes.
    pub bytes: u64,
    /// Its rows.
    pub rows: u64,
    /// The checksum in its footer.
    pub checksum: u64,
    /// Whether it is a whole snapshot rather than what changed since the file before.
    pub full: bool,
}

/// The tokens of one sink.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SinkCommit {
    /// The sink's node.
    pub node: String,
    /// The epoch under which the tokens are committed, always the same one: a manifest that
    /// takes tokens over from an earlier one keeps their epoch, by which sinks tell a repetition.
    pub epoch: u64,
    /// The tokens in order.
    pub tokens: Vec<SavedToken>,
}

/// A [`crate::sink::CommitToken`] in a manifest.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SavedToken {
    /// What the sink needs to make the work visible.
    pub payload: String,
    /// Rows that become visible.
    pub rows: u64,
    /// Bytes that become visible.
    pub bytes: u64,
    /// The rows themselves, for sinks that send them at commit.
    pub outbox: Option<StateFile>,
}

/// A materialized view as of an epoch.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ViewInfo {
    /// The view's name.
    pub name: String,
    /// The node whose state holds its rows.
    pub node: String,
    /// Its columns.
    pub schema: SavedSchema,
    /// The columns that identify a row.
    pub key: Vec<usize>,
}

impl Manifest {
    /// Gives every file that the manifest needs: the state and the outboxes.
    pub fn files(&self) -> impl Iterator<Item = &StateFile> {
        let state = self.nodes.iter().flat_map(|node| &node.chains);
        let tokens = self.commits.iter().flat_map(|commit| &commit.tokens);
        state
            .flat_map(|chain| &chain.files)
            .chain(tokens.filter_map(|token| token.outbox.as_ref()))
    }

    /// Encodes it; equal manifests give equal bytes.
    pub fn encode(&self) -> Result<Vec<u8>> {
        let body = serde_json::to_vec(self)
            .map_err(|error| Error::internal("a manifest cannot be encoded").caused_by(error))?;
        let mut bytes = head(self.format, &body).into_bytes();
        bytes.extend_from_slice(&body);
        Ok(bytes)
    }

    /// Decodes what [`Manifest::encode`] gave, or tells that it is damaged
    /// ([`codes::CHECKPOINT_CORRUPT`]) or of a newer format ([`codes::CHECKPOINT_FORMAT`]).
    pub fn decode(bytes: &[u8]) -> Result<Self> {
        let line = bytes.iter().take(HEAD_BYTES_MAX);
        let end = line
            .clone()
            .position(|byte| *byte == b'\n')
            .ok_or_else(|| corrupt("it has no first line"))?;
        let (line, body) = bytes
            .split_at_checked(end + 1)
            .ok_or_else(|| corrupt("it has no first line"))?;
        let format = format_of(line).ok_or_else(|| corrupt("its first line is not its own"))?;
        // The line is compared as a whole: no byte of it may differ, not even in case.
        if line != head(format, body).as_bytes() {
            return Err(corrupt("its checksum is not that of its content"));
        }
        if format != FORMAT {
            return Err(Error::new(
                Kind::Invalid,
                codes::CHECKPOINT_FORMAT,
                format!("a checkpoint has format {format}, this version reads {FORMAT}"),
            )
            .hint("run the pipeline with the version of Weir that wrote it, or a newer one"));
        }
        let manifest: Self = serde_json::from_slice(body)
            .map_err(|error| corrupt("its content is not that of a manifest").caused_by(error))?;
        if manifest.format != format {
            return Err(corrupt("its content names another format"));
        }
        Ok(manifest)
    }
}

/// The first line. The format is the checksum's seed, so that it is covered too.
fn head(format: u32, body: &[u8]) -> String {
    let checksum = XxHash3_64::oneshot_with_seed(u64::from(format), body);
    format!("{NAME} {format} xxh3-64 {checksum:016x} {}\n", body.len())
}

fn format_of(line: &[u8]) -> Option<u32> {
    let mut words = std::str::from_utf8(line).ok()?.split(' ');
    if words.next()? != NAME {
        return None;
    }
    words.next()?.parse().ok()
}

fn corrupt(detail: &str) -> Error {
    Error::new(
        Kind::Data,
        codes::CHECKPOINT_CORRUPT,
        "a checkpoint's manifest is damaged",
    )
    .detail(detail)
}

#[cfg(test)]
pub(in crate::checkpoint) mod tests;
