//! A partition as a split: its names, and what the checkpoint keeps of it.

use serde::{Deserialize, Serialize};
use weir_engine::error::{Error, Kind, Result, codes};
use weir_engine::source::{Position, Split};

/// A partition of a topic.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub(super) struct Partition {
    /// The topic.
    pub(super) topic: String,
    /// The number of the partition.
    pub(super) number: i32,
}

impl std::fmt::Display for Partition {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}", self.topic, self.number)
    }
}

/// From where a partition is read on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Place {
    /// From its oldest record.
    Beginning,
    /// From this offset.
    At(i64),
}

/// What a split says to the reader.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Payload {
    /// The partition.
    pub(super) partition: Partition,
    /// Where to begin if nothing was read yet.
    pub(super) from: Place,
    /// The first offset that is not read; `None` reads on for ever.
    pub(super) until: Option<i64>,
}

impl Payload {
    /// The split of a partition.
    pub(super) fn split(&self) -> Result<Split> {
        let payload = serde_json::to_string(self)
            .map_err(|e| Error::internal("a split cannot be written").caused_by(e))?;
        let Partition { topic, number } = &self.partition;
        Ok(Split {
            id: self.partition.to_string(),
            order: format!("{topic}/{number:010}"),
            payload,
            bytes: None,
            position: None,
        })
    }

    /// Reads a split, with the place to go on from.
    pub(super) fn of(split: &Split) -> Result<Self> {
        let damaged = || {
            Error::new(
                Kind::Data,
                codes::CORRUPT,
                format!("the checkpoint's place in {} is damaged", split.id),
            )
        };
        let mut payload: Self = serde_json::from_str(&split.payload).map_err(|_| damaged())?;
        if let Some(position) = &split.position {
            payload.from = from(position).ok_or_else(damaged)?;
        }
        Ok(payload)
    }
}

/// The position that stands for a place.
pub(super) fn position(from: Place) -> Position {
    match from {
        Place::Beginning => Position("beginning".to_owned()),
        Place::At(offset) => Position(offset.to_string()),
    }
}

fn from(position: &Position) -> Option<Place> {
    match position.0.as_str() {
        "beginning" => Some(Place::Beginning),
        text => text
            .parse()
            .ok()
            .filter(|offset| *offset >= 0)
            .map(Place::At),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_survives_the_checkpoint() {
        let payload = Payload {
            partition: Partition {
                topic: "a.b".to_owned(),
                number: 3,
            },
            from: Place::Beginning,
            until: Some(7),
        };
        let mut split = payload.split().unwrap();
        assert_eq!(
            (split.id.as_str(), split.order.as_str()),
            ("a.b/3", "a.b/0000000003")
        );
        assert_eq!(Payload::of(&split).unwrap(), payload);
        for place in [Place::Beginning, Place::At(0), Place::At(i64::MAX)] {
            split.position = Some(position(place));
            assert_eq!(Payload::of(&split).unwrap().from, place);
        }
        for damaged in ["", "-1", "x", "1.5"] {
            split.position = Some(Position(damaged.to_owned()));
            assert_eq!(Payload::of(&split).unwrap_err().code(), codes::CORRUPT);
        }
    }
}
