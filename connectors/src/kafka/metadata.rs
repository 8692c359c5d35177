//! Columns that are filled from around a record: `METADATA FROM 'offset'`.

use std::sync::Arc;

use arrow::array::{
    ArrayRef, BinaryBuilder, Int32Array, Int64Array, ListBuilder, StringArray, StringBuilder,
    StructBuilder, TimestampMicrosecondArray,
};
use arrow::datatypes::{DataType, Field, Fields, TimeUnit};
use weir_engine::connector::MetadataColumn;

use weir_kafka_queue::Timestamp;

use super::block::{Block, Wanted};
use super::split::Partition;

/// A metadata column.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Metadata {
    Topic,
    Partition,
    Offset,
    Timestamp,
    TimestampType,
    Key,
    Headers,
}

const ALL: [Metadata; 7] = [
    Metadata::Topic,
    Metadata::Partition,
    Metadata::Offset,
    Metadata::Timestamp,
    Metadata::TimestampType,
    Metadata::Key,
    Metadata::Headers,
];

/// All metadata columns, as the connector offers them.
pub(super) fn columns() -> Vec<MetadataColumn> {
    ALL.map(|column| MetadataColumn {
        key: column.key(),
        data_type: column.data_type(),
        help: column.help(),
    })
    .into()
}

fn header_fields() -> Fields {
    Fields::from(vec![
        Field::new("key", DataType::Utf8, true),
        Field::new("value", DataType::Binary, true),
    ])
}

impl Metadata {
    /// The column of a key.
    pub(super) fn of(key: &str) -> Option<Self> {
        ALL.into_iter().find(|column| column.key() == key)
    }

    fn key(self) -> &'static str {
        match self {
            Self::Topic => "topic",
            Self::Partition => "partition",
            Self::Offset => "offset",
            Self::Timestamp => "timestamp",
            Self::TimestampType => "timestamp_type",
            Self::Key => "key",
            Self::Headers => "headers",
        }
    }

    /// Its type.
    pub(super) fn data_type(self) -> DataType {
        match self {
            Self::Topic | Self::TimestampType => DataType::Utf8,
            Self::Partition => DataType::Int32,
            Self::Offset => DataType::Int64,
            Self::Timestamp => DataType::Timestamp(TimeUnit::Microsecond, None),
            Self::Key => DataType::Binary,
            Self::Headers => DataType::new_list(DataType::Struct(header_fields()), true),
        }
    }

    fn help(self) -> &'static str {
        match self {
            Self::Topic => "The topic of the record.",
            Self::Partition => "The partition of the record.",
            Self::Offset => "The offset of the record in its partition.",
            Self::Timestamp => "When the record was made or appended, in UTC.",
            Self::TimestampType => {
                "Whose clock that was: 'create' for the producer's, 'log_append' for the broker's."
            }
            Self::Key => "The key of the record, as bytes.",
            Self::Headers => "The headers of the record: a list of key and value, in order.",
        }
    }

    /// What must be kept of each record for it.
    pub(super) fn wants(self, wanted: &mut Wanted) {
        match self {
            Self::Timestamp | Self::TimestampType => wanted.timestamp = true,
            Self::Key => wanted.key = true,
            Self::Headers => wanted.headers = true,
            Self::Topic | Self::Partition | Self::Offset => {}
        }
    }

    /// Its values for rows, each of which comes from the record of that number in the block.
    pub(super) fn column(self, partition: &Partition, block: &Block, rows: &[u32]) -> ArrayRef {
        let records = rows.iter().map(|row| *row as usize);
        match self {
            Self::Topic => {
                let topics = rows.iter().map(|_| partition.topic.as_str());
                Arc::new(StringArray::from_iter_values(topics))
            }
            Self::Partition => Arc::new(Int32Array::from_value(partition.number, rows.len())),
            Self::Offset => Arc::new(records.map(|r| block.offset(r)).collect::<Int64Array>()),
            Self::Timestamp => {
                let times = records.map(|record| match block.time(record) {
                    Timestamp::None => None,
                    Timestamp::Created(ms) | Timestamp::Appended(ms) => ms.checked_mul(1_000),
                });
                Arc::new(times.collect::<TimestampMicrosecondArray>())
            }
            Self::TimestampType => {
                let kinds = records.map(|record| match block.time(record) {
                    Timestamp::None => None,
                    Timestamp::Created(_) => Some("create"),
                    Timestamp::Appended(_) => Some("log_append"),
                });
                Arc::new(kinds.collect::<StringArray>())
            }
            Self::Key => {
                let mut keys = BinaryBuilder::new();
                records.for_each(|record| keys.append_option(block.key(record)));
                Arc::new(keys.finish())
            }
            Self::Headers => headers(block, records),
        }
    }
}

fn headers(block: &Block, records: impl Iterator<Item = usize>) -> ArrayRef {
    let one = StructBuilder::new(
        header_fields(),
        vec![
            Box::new(StringBuilder::new()),
            Box::new(BinaryBuilder::new()),
        ],
    );
    let mut lists = ListBuilder::new(one);
    for record in records {
        let one = lists.values();
        for (key, value) in block.headers(record) {
            if let Some(keys) = one.field_builder::<StringBuilder>(0) {
                keys.append_value(key);
            }
            if let Some(values) = one.field_builder::<BinaryBuilder>(1) {
                values.append_option(value.as_deref());
            }
            one.append(true);
        }
        lists.append(true);
    }
    Arc::new(lists.finish())
}
