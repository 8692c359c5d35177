//! Values in a path: `year=2024/status=open/part-0.parquet`.

/// The value that writers use for NULL.
const NULL: &str = "__HIVE_DEFAULT_PARTITION__";

/// The `name=value` folders of a file's key, in order.
pub(crate) fn partitions(key: &str) -> Vec<(String, Option<String>)> {
    let folders = key.rsplit_once('/').map_or("", |(folders, _)| folders);
    let pairs = folders.split('/').filter_map(|part| part.split_once('='));
    let pairs = pairs.filter(|(name, _)| !name.is_empty());
    pairs
        .map(|(name, value)| (decode(name), (value != NULL).then(|| decode(value))))
        .collect()
}

/// Undoes the escapes of signs that a path cannot hold, `%3A` for `:`.
fn decode(text: &str) -> String {
    let bytes = text.as_bytes();
    let mut out = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while let Some(byte) = bytes.get(at) {
        let hex = bytes
            .get(at + 1..at + 3)
            .and_then(|hex| std::str::from_utf8(hex).ok());
        match hex.and_then(|hex| u8::from_str_radix(hex, 16).ok()) {
            Some(value) if *byte == b'%' => {
                out.push(value);
                at += 3;
            }
            _ => {
                out.push(*byte);
                at += 1;
            }
        }
    }
    String::from_utf8(out).unwrap_or_else(|_| text.to_owned())
}
