//! The values of partitions as a table's log has them, from the folders that the writers name.

use std::collections::HashMap;

use arrow::datatypes::{DataType, Schema};
use weir_engine::error::{Error, Result};

use crate::file_sink::unescape;

/// What stands in the path for NULL.
const NULL_FOLDER: &str = "__HIVE_DEFAULT_PARTITION__";

/// Reads the values of a file's partition from its path. The writers name one folder per column.
pub(super) fn values(path: &str, schema: &Schema) -> Result<HashMap<String, Option<String>>> {
    let folders = path.rsplit_once('/').map_or("", |(folders, _)| folders);
    let mut values = HashMap::new();
    for folder in folders.split('/').filter(|folder| !folder.is_empty()) {
        let (name, value) = folder
            .split_once('=')
            .ok_or_else(|| Error::internal(format!("{folder} is no partition")))?;
        let name = unescape(name);
        let zoned = schema
            .field_with_name(&name)
            .is_ok_and(|field| matches!(field.data_type(), DataType::Timestamp(_, Some(_))));
        let value = (value != NULL_FOLDER).then(|| {
            let value = unescape(value);
            // The log holds times of day in UTC, and does not say so.
            match value.strip_suffix("+00:00") {
                Some(utc) if zoned => utc.to_owned(),
                _ => value,
            }
        });
        values.insert(name, value);
    }
    Ok(values)
}
