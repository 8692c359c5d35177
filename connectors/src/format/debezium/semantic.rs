//! What the `schema` part of a message says of the columns: Debezium writes times, dates and
//! decimals as plain numbers or texts, and names their meaning there.

use std::collections::HashMap;

use arrow::datatypes::DECIMAL128_MAX_PRECISION;
use serde_json::Value;

/// How a column's value is meant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Semantic {
    /// A number of units since 1970, or since midnight; the unit in nanoseconds.
    Ticks(i128),
    /// Days since 1970.
    Days,
    /// An unscaled number in base64, big-endian, of this scale.
    Decimal(i8),
    /// As it is written.
    Text,
}

/// The columns whose meaning is named.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Semantics(HashMap<String, Semantic>);

impl Semantics {
    /// Reads the schema of an envelope; columns of a usual type are left out.
    pub(super) fn parse(schema: &[u8]) -> Result<Self, serde_json::Error> {
        let schema: Value = serde_json::from_slice(schema)?;
        let members = schema.get("fields").and_then(Value::as_array);
        let rows = members.into_iter().flatten().filter(|member| {
            let name = member.get("field").and_then(Value::as_str);
            matches!(name, Some("before" | "after"))
        });
        let columns = rows.filter_map(|row| row.get("fields").and_then(Value::as_array));
        let mut found = HashMap::new();
        for column in columns.flatten() {
            let name = column.get("field").and_then(Value::as_str);
            if let (Some(name), Some(semantic)) = (name, semantic(column)) {
                found.insert(name.to_owned(), semantic);
            }
        }
        Ok(Self(found))
    }

    /// The meaning of a column, if it is named.
    pub(super) fn of(&self, column: &str) -> Option<Semantic> {
        self.0.get(column).copied()
    }
}

fn semantic(column: &Value) -> Option<Semantic> {
    const MILLIS: i128 = 1_000_000;
    const MICROS: i128 = 1_000;
    Some(match column.get("name")?.as_str()? {
        "io.debezium.time.Date" | "org.apache.kafka.connect.data.Date" => Semantic::Days,
        "io.debezium.time.Time"
        | "io.debezium.time.Timestamp"
        | "org.apache.kafka.connect.data.Time"
        | "org.apache.kafka.connect.data.Timestamp" => Semantic::Ticks(MILLIS),
        "io.debezium.time.MicroTime" | "io.debezium.time.MicroTimestamp" => Semantic::Ticks(MICROS),
        "io.debezium.time.NanoTime" | "io.debezium.time.NanoTimestamp" => Semantic::Ticks(1),
        "org.apache.kafka.connect.data.Decimal" => {
            let scale = column.get("parameters")?.get("scale")?;
            let scale: i8 = match scale {
                Value::String(text) => text.parse().ok()?,
                number => i8::try_from(number.as_i64()?).ok()?,
            };
            // A number with more digits than Arrow's decimals is left as it is written.
            let digits = i8::try_from(DECIMAL128_MAX_PRECISION).ok()?;
            (-digits..=digits)
                .contains(&scale)
                .then_some(Semantic::Decimal(scale))?
        }
        "io.debezium.time.ZonedTimestamp" | "io.debezium.time.ZonedTime" => Semantic::Text,
        _ => return None,
    })
}
