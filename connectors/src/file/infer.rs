//! Guesses the columns of CSV and JSON from their first records.

use std::collections::HashSet;
use std::fmt;
use std::sync::Arc;

use arrow::csv::reader::Format as CsvFormat;
use arrow::datatypes::{DataType, Field, Fields, Schema, TimeUnit};
use arrow::json::reader::infer_json_schema_from_iterator;
use arrow_json_cast::is_timestamp;
use serde::de::{Deserialize, Deserializer, IgnoredAny, MapAccess, Visitor};

use super::config::CsvOptions;
use super::csv::{CsvDecoder, format};
use super::records::{Scan, Splitter};
use super::text::{DecodeText, trim_end};

/// Records that are looked at.
pub(super) const SAMPLE_RECORDS: usize = 2_000;
/// Bytes that are looked at, if the records are long.
pub(super) const SAMPLE_BYTES: usize = 4 << 20;

/// Guesses the columns of CSV; `None` when there is no record, not even a header.
pub(super) fn csv(sample: &[u8], options: &CsvOptions) -> Result<Option<Fields>, String> {
    let splitter = Splitter::csv(options);
    let mut scan = Scan::default();
    splitter.scan(sample, &mut scan, SAMPLE_RECORDS, usize::MAX);
    let block = sample.get(..scan.end).unwrap_or_default();
    let ranges = splitter.ranges(block);
    let Some(first) = ranges.first() else {
        return Ok(None);
    };
    let names = names(&block[first.clone()], options)?;
    let format = format(options);
    let rows = if options.header {
        ranges.get(1..).unwrap_or_default()
    } else {
        &ranges
    };
    let start = rows.first().map_or(block.len(), |range| range.start);
    let mut types = types(&format, &block[start..], names.len());
    if types.is_err() {
        // A record with a wrong number of fields: only the others are looked at.
        let fields = texts(&names);
        let mut decoder = CsvDecoder::new(fields, Vec::new(), options, 1);
        let good = rows
            .iter()
            .filter(|range| decoder.decode(&block[(*range).clone()], 1).is_ok());
        let good: Vec<u8> = good
            .flat_map(|range| block[range.clone()].to_vec())
            .collect();
        types = self::types(&format, &good, names.len());
    }
    let types = types?;
    let fields = names
        .iter()
        .zip(types)
        .map(|(name, t)| Field::new(name, t, true));
    Ok(Some(fields.collect()))
}

/// The names in a header, or `column_1`, `column_2` and so on for a record without.
pub(super) fn names(record: &[u8], options: &CsvOptions) -> Result<Vec<String>, String> {
    let format = format(options).with_header(options.header);
    let (schema, _) = format
        .infer_schema(record, Some(0))
        .map_err(|e| e.to_string())?;
    Ok(schema
        .fields()
        .iter()
        .map(|field| field.name().trim().to_owned())
        .collect())
}

/// All fields as text.
pub(super) fn texts(names: &[String]) -> Fields {
    names
        .iter()
        .map(|name| Field::new(name, DataType::Utf8, true))
        .collect()
}

fn types(format: &CsvFormat, rows: &[u8], count: usize) -> Result<Vec<DataType>, String> {
    if rows.is_empty() {
        return Ok(vec![DataType::Utf8; count]);
    }
    let (schema, _) = format.infer_schema(rows, None).map_err(|e| e.to_string())?;
    if schema.fields().len() != count {
        return Err("the records have not as many fields as the header".to_owned());
    }
    Ok(schema
        .fields()
        .iter()
        .map(|field| usual(field.data_type()))
        .collect())
}

/// Microseconds hold what coarser units hold; a column without a value is text.
fn usual(data_type: &DataType) -> DataType {
    match data_type {
        DataType::Timestamp(TimeUnit::Second | TimeUnit::Millisecond, zone) => {
            DataType::Timestamp(TimeUnit::Microsecond, zone.clone())
        }
        DataType::Null => DataType::Utf8,
        DataType::List(item) => {
            let item = item
                .as_ref()
                .clone()
                .with_data_type(usual(item.data_type()));
            DataType::List(Arc::new(item))
        }
        DataType::Struct(fields) => DataType::Struct(
            fields
                .iter()
                .map(|f| f.as_ref().clone().with_data_type(usual(f.data_type())))
                .collect(),
        ),
        other => other.clone(),
    }
}

/// Guesses the columns of JSON lines, in the order of their first appearance; `None` when no line
/// holds an object.
pub(super) fn json(sample: &[u8]) -> Result<Option<Fields>, String> {
    let lines = sample.split_inclusive(|byte| *byte == b'\n').map(trim_end);
    let lines = lines
        .filter(|line| !line.trim_ascii().is_empty())
        .take(SAMPLE_RECORDS);
    let mut keys: Vec<String> = Vec::new();
    let mut known: HashSet<String> = HashSet::new();
    let mut objects = Vec::new();
    for line in lines {
        let Ok(value @ serde_json::Value::Object(_)) = serde_json::from_slice(line) else {
            continue;
        };
        let Keys(found) = serde_json::from_slice(line).unwrap_or_default();
        keys.extend(found.into_iter().filter(|key| known.insert(key.clone())));
        objects.push(value);
    }
    if objects.is_empty() {
        return Ok(None);
    }
    let schema = infer_json_schema_from_iterator(objects.iter().map(Ok));
    let schema = schema.map_err(|error| error.to_string())?;
    let fields = keys
        .iter()
        .filter_map(|key| schema.field_with_name(key).ok());
    let fields = fields.map(|field| {
        let mut data_type = usual(field.data_type());
        if data_type == DataType::Utf8 && all_timestamps(&objects, field.name()) {
            data_type = DataType::Timestamp(TimeUnit::Microsecond, None);
        }
        Field::new(field.name(), data_type, true)
    });
    Ok(Some(Schema::new(fields.collect::<Vec<_>>()).fields))
}

fn all_timestamps(objects: &[serde_json::Value], name: &str) -> bool {
    let texts: Vec<&str> = objects
        .iter()
        .filter_map(|object| object.get(name))
        .filter_map(|v| v.as_str())
        .collect();
    !texts.is_empty() && texts.iter().all(|text| is_timestamp(text))
}

/// The keys of an object in their order.
#[derive(Default)]
struct Keys(Vec<String>);

impl<'de> Deserialize<'de> for Keys {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Collect;
        impl<'de> Visitor<'de> for Collect {
            type Value = Keys;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Keys, A::Error> {
                let mut keys = Vec::new();
                while let Some((key, IgnoredAny)) = map.next_entry::<String, IgnoredAny>()? {
                    keys.push(key);
                }
                Ok(Keys(keys))
            }
        }
        deserializer.deserialize_map(Collect)
    }
}

/// What arrow's JSON decoder takes as a timestamp, told from a date alone.
mod arrow_json_cast {
    use arrow::compute::kernels::cast_utils::string_to_datetime;

    /// Whether a text is a date with a time.
    pub(super) fn is_timestamp(text: &str) -> bool {
        let has_time = text
            .as_bytes()
            .get(10)
            .is_some_and(|sign| matches!(sign, b'T' | b't' | b' '));
        has_time && text.len() >= 16 && string_to_datetime(&chrono::Utc, text).is_ok()
    }
}
