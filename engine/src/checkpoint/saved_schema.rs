//! An Arrow schema in a JSON manifest: the IPC schema message in hex, with all its metadata.

use std::sync::Arc;

use arrow::datatypes::{Schema, SchemaRef};
use arrow::ipc::convert::try_schema_from_flatbuffer_bytes;
use arrow::ipc::writer::{DictionaryTracker, IpcDataGenerator, IpcWriteOptions};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// A schema that can be saved and read back as it was.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SavedSchema(pub SchemaRef);

impl Serialize for SavedSchema {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let message = IpcDataGenerator::default().schema_to_bytes_with_dictionary_tracker(
            &self.0,
            &mut DictionaryTracker::new(false),
            &IpcWriteOptions::default(),
        );
        serializer.serialize_str(&to_hex(&message.ipc_message))
    }
}

impl<'de> Deserialize<'de> for SavedSchema {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let wrong = |text: &str| serde::de::Error::custom(format!("not a saved schema: {text}"));
        let bytes = from_hex(&text).ok_or_else(|| wrong("it is not hexadecimal"))?;
        let schema: Schema =
            try_schema_from_flatbuffer_bytes(&bytes).map_err(|error| wrong(&error.to_string()))?;
        Ok(Self(Arc::new(schema)))
    }
}

fn to_hex(bytes: &[u8]) -> String {
    let digit = |value: u8| char::from_digit(u32::from(value), 16).unwrap_or('0');
    bytes
        .iter()
        .flat_map(|byte| [digit(byte >> 4), digit(byte & 15)])
        .collect()
}

fn from_hex(text: &str) -> Option<Vec<u8>> {
    let digit = |byte: u8| {
        char::from(byte)
            .to_digit(16)
            .and_then(|d| u8::try_from(d).ok())
    };
    let pairs = text.as_bytes().chunks(2).map(|pair| match pair {
        [high, low] => Some(digit(*high)? * 16 + digit(*low)?),
        _ => None,
    });
    pairs.collect()
}
