//! Cuts files into splits: what one reader reads in order.

use serde::{Deserialize, Serialize};
use weir_engine::error::Error;
use weir_engine::source::Split;
use weir_engine::{Result, env::Env};

use crate::store::Location;

use super::config::{Compression, Format};
use super::listing::Entry;
use super::parquet_input::Footers;

/// Bytes of a part: large enough that opening it costs nothing, small enough that a single file
/// keeps all cores busy.
const PART_BYTES: u64 = 32 << 20;

/// What a split names.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Payload {
    /// The file.
    pub(super) file: Entry,
    /// The part of it.
    pub(super) part: Part,
}

/// A part of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Part {
    /// All of it.
    Whole,
    /// Row groups of Parquet, the last not included.
    Groups(usize, usize),
    /// Lines that start within these bytes, the last not included.
    Bytes(u64, u64),
}

impl Payload {
    /// Reads the payload of a split.
    pub(super) fn of(split: &Split) -> Result<Self> {
        serde_json::from_str(&split.payload)
            .map_err(|error| Error::internal("a split of a file cannot be read").caused_by(error))
    }
}

/// Cuts one file. `order` sorts it among the others.
pub(super) async fn cut(
    location: &Location,
    file: Entry,
    order: &str,
    format: Format,
    compression: Compression,
    footers: &Footers,
    env: &Env,
) -> Result<Vec<Split>> {
    let parts = match (format, compression) {
        (Format::Parquet, _) if file.size > PART_BYTES => {
            groups(location, &file, footers, env).await
        }
        (Format::Json, Compression::None) if file.size > PART_BYTES * 2 => ranges(file.size),
        _ => vec![(Part::Whole, file.size)],
    };
    let mut splits = Vec::with_capacity(parts.len());
    for (number, (part, bytes)) in parts.into_iter().enumerate() {
        let payload = Payload {
            file: file.clone(),
            part,
        };
        let payload = serde_json::to_string(&payload)
            .map_err(|error| Error::internal("a split cannot be written").caused_by(error))?;
        splits.push(Split {
            id: format!("{}#{number:06}", file.key),
            order: format!("{order}#{number:06}"),
            payload,
            bytes: Some(bytes),
            position: None,
        });
    }
    Ok(splits)
}

/// Lines need not end where a range does: a line belongs to the range in which it starts.
fn ranges(size: u64) -> Vec<(Part, u64)> {
    let starts = (0..size).step_by(usize::try_from(PART_BYTES).unwrap_or(usize::MAX));
    let parts = starts.map(|start| (start, size.min(start + PART_BYTES)));
    parts
        .map(|(start, end)| (Part::Bytes(start, end), end - start))
        .collect()
}

/// Row groups together as long as they are small. A footer that cannot be read is told when the
/// file is.
async fn groups(
    location: &Location,
    file: &Entry,
    footers: &Footers,
    env: &Env,
) -> Vec<(Part, u64)> {
    let Ok(footer) = footers.get(location, file, env).await else {
        return vec![(Part::Whole, file.size)];
    };
    let mut parts = Vec::new();
    let (mut start, mut bytes) = (0, 0);
    let groups = footer.metadata().row_groups();
    for (index, group) in groups.iter().enumerate() {
        bytes += u64::try_from(group.compressed_size()).unwrap_or(0);
        if bytes >= PART_BYTES || index + 1 == groups.len() {
            parts.push((Part::Groups(start, index + 1), bytes));
            (start, bytes) = (index + 1, 0);
        }
    }
    if parts.is_empty() {
        vec![(Part::Whole, file.size)]
    } else {
        parts
    }
}
