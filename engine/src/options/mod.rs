//! Options of connectors, defined once: the same table parses them, explains them in `--help`
//! texts, gives their JSON Schema and names the closest one in an error.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::{Map, Value, json};

use crate::error::{Code, Error, Kind, Place, Result, codes};

/// The form of an option's value. Values are written as strings: `roll_size = '128MB'`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OptionKind {
    /// Any text.
    Text,
    /// Text that is never shown again.
    Secret,
    /// `true` or `false`.
    Bool,
    /// A whole number from 0.
    Count,
    /// A number.
    Number,
    /// Bytes: `512KB`, `128MB`, `2GiB`, or a plain number.
    Bytes,
    /// A time span: `500ms`, `5 seconds`, `1 minute`.
    Duration,
    /// One of these words.
    OneOf(&'static [&'static str]),
}

/// One option: its name, form, default and one sentence for people.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OptionSpec {
    /// The name in `WITH (...)`.
    pub name: &'static str,
    /// The form of the value.
    pub kind: OptionKind,
    /// Whether it must be given.
    pub required: bool,
    /// What holds when it is not given, as it would be written.
    pub default: Option<&'static str>,
    /// One sentence.
    pub help: &'static str,
}

impl OptionSpec {
    /// An option that may be left out.
    pub const fn optional(name: &'static str, kind: OptionKind, help: &'static str) -> Self {
        Self {
            name,
            kind,
            required: false,
            default: None,
            help,
        }
    }

    /// An option that must be given.
    pub const fn required(name: &'static str, kind: OptionKind, help: &'static str) -> Self {
        Self {
            name,
            kind,
            required: true,
            default: None,
            help,
        }
    }

    /// An option with a default.
    pub const fn default(
        name: &'static str,
        kind: OptionKind,
        default: &'static str,
        help: &'static str,
    ) -> Self {
        Self {
            name,
            kind,
            required: false,
            default: Some(default),
            help,
        }
    }
}

/// A value as it stands in the script.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OptionValue {
    /// The text.
    pub text: String,
    /// Where it stands.
    pub place: Option<Place>,
}

/// The options as given in `WITH (...)`.
pub type GivenOptions = BTreeMap<String, OptionValue>;

/// Options that were checked against their specs: the getters read them by name.
#[derive(Debug, Clone)]
pub struct Options {
    owner: String,
    specs: Vec<OptionSpec>,
    given: GivenOptions,
}

impl Options {
    /// Checks that all are known, all required are there, and every value has its form.
    /// `owner` is for the errors: `connector 'file'`.
    pub fn check(owner: &str, specs: &[&[OptionSpec]], given: GivenOptions) -> Result<Self> {
        let specs: Vec<OptionSpec> = specs.iter().flat_map(|s| s.iter().copied()).collect();
        for (name, value) in &given {
            if !specs.iter().any(|spec| spec.name == name) {
                let error = Error::new(
                    Kind::Invalid,
                    codes::UNKNOWN_OPTION,
                    format!("{owner} has no option \"{name}\""),
                );
                let names = specs.iter().map(|spec| spec.name);
                return Err(nearest(error, name, names).at(value.place));
            }
        }
        let options = Self {
            owner: owner.to_owned(),
            specs,
            given,
        };
        for spec in &options.specs {
            if spec.required && !options.given.contains_key(spec.name) {
                return Err(Error::new(
                    Kind::Invalid,
                    codes::OPTION,
                    format!("{owner} needs the option \"{}\"", spec.name),
                )
                .hint(format!("{} = '...': {}", spec.name, spec.help)));
            }
            options.check_value(spec)?;
        }
        Ok(options)
    }

    fn check_value(&self, spec: &OptionSpec) -> Result<()> {
        let Some(text) = self.raw(spec.name) else {
            return Ok(());
        };
        let ok = match spec.kind {
            OptionKind::Text | OptionKind::Secret => true,
            OptionKind::Bool => parse_bool(text).is_some(),
            OptionKind::Count => text.trim().parse::<u64>().is_ok(),
            OptionKind::Number => text.trim().parse::<f64>().is_ok_and(f64::is_finite),
            OptionKind::Bytes => parse_bytes(text).is_some(),
            OptionKind::Duration => parse_duration(text).is_some(),
            OptionKind::OneOf(words) => words.contains(&text),
        };
        if ok {
            Ok(())
        } else {
            Err(self.wrong(spec.name))
        }
    }

    /// The error for a value that has the right form but does not make sense.
    pub fn invalid(&self, name: &str, why: impl Into<String>) -> Error {
        Error::new(
            Kind::Invalid,
            codes::OPTION,
            format!("option \"{name}\" of {}: {}", self.owner, why.into()),
        )
        .at(self.given.get(name).and_then(|value| value.place))
    }

    fn wrong(&self, name: &str) -> Error {
        let kind = self
            .specs
            .iter()
            .find(|s| s.name == name)
            .map_or(OptionKind::Text, |s| s.kind);
        let text = self.raw(name).unwrap_or_default();
        let error = self.invalid(name, format!("'{text}' is not {}", form(kind)));
        match kind {
            OptionKind::OneOf(words) => nearest(error, text, words.iter().copied()),
            _ => error,
        }
    }

    fn raw(&self, name: &str) -> Option<&str> {
        let given = self.given.get(name).map(|value| value.text.as_str());
        given.or_else(|| {
            self.specs
                .iter()
                .find(|spec| spec.name == name)
                .and_then(|s| s.default)
        })
    }

    /// Whether the script gives it, defaults aside.
    pub fn is_given(&self, name: &str) -> bool {
        self.given.contains_key(name)
    }

    /// A text, secret or word.
    pub fn text(&self, name: &str) -> Option<&str> {
        self.raw(name)
    }

    /// A text that is required or has a default.
    pub fn need(&self, name: &str) -> Result<&str> {
        self.raw(name)
            .ok_or_else(|| self.invalid(name, "is needed"))
    }

    /// A truth value; false when not given.
    pub fn bool(&self, name: &str) -> bool {
        self.raw(name).and_then(parse_bool).unwrap_or(false)
    }

    /// A whole number.
    pub fn count(&self, name: &str) -> Option<u64> {
        self.raw(name).and_then(|text| text.trim().parse().ok())
    }

    /// A number.
    pub fn number(&self, name: &str) -> Option<f64> {
        self.raw(name).and_then(|text| text.trim().parse().ok())
    }

    /// Bytes.
    pub fn bytes(&self, name: &str) -> Option<u64> {
        self.raw(name).and_then(parse_bytes)
    }

    /// A time span.
    pub fn duration(&self, name: &str) -> Option<Duration> {
        self.raw(name).and_then(parse_duration)
    }
}

fn form(kind: OptionKind) -> String {
    match kind {
        OptionKind::Text | OptionKind::Secret => "a text".to_owned(),
        OptionKind::Bool => "true or false".to_owned(),
        OptionKind::Count => "a whole number from 0".to_owned(),
        OptionKind::Number => "a number".to_owned(),
        OptionKind::Bytes => "a size such as 512KB, 128MB or 2GB".to_owned(),
        OptionKind::Duration => "a time span such as 500ms, 5 seconds or 1 minute".to_owned(),
        OptionKind::OneOf(words) => format!("one of {}", words.join(", ")),
    }
}

/// Adds the nearest of the known names as a hint, or the list of all when none is near.
#[must_use]
pub fn nearest<'a>(error: Error, found: &str, known: impl Iterator<Item = &'a str>) -> Error {
    let known: Vec<&str> = known.collect();
    let lower = found.to_lowercase();
    let best = known
        .iter()
        .map(|name| {
            (
                strsim::damerau_levenshtein(&lower, &name.to_lowercase()),
                *name,
            )
        })
        .min();
    match best {
        Some((distance, name)) if distance <= 1 + found.chars().count() / 3 => {
            error.hint(format!("did you mean \"{name}\"?"))
        }
        _ if known.is_empty() => error,
        _ => {
            let shown: Vec<_> = known.iter().take(40).copied().collect();
            error.hint(format!("known: {}", shown.join(", ")))
        }
    }
}

/// Gives the JSON Schema of a table of options.
pub fn json_schema(title: &str, specs: &[&[OptionSpec]]) -> Value {
    let mut properties = Map::new();
    let mut required = Vec::new();
    for spec in specs.iter().flat_map(|s| s.iter()) {
        let mut property = Map::new();
        property.insert("type".into(), json!("string"));
        property.insert("description".into(), json!(spec.help));
        match spec.kind {
            OptionKind::OneOf(words) => drop(property.insert("enum".into(), json!(words))),
            OptionKind::Bool => drop(property.insert("enum".into(), json!(["true", "false"]))),
            OptionKind::Secret => drop(property.insert("writeOnly".into(), json!(true))),
            OptionKind::Count => drop(property.insert("pattern".into(), json!("^[0-9]+$"))),
            OptionKind::Number => drop(property.insert("format".into(), json!("number"))),
            OptionKind::Bytes => drop(property.insert("format".into(), json!("bytes"))),
            OptionKind::Duration => drop(property.insert("format".into(), json!("duration"))),
            OptionKind::Text => {}
        }
        if let Some(default) = spec.default {
            property.insert("default".into(), json!(default));
        }
        if spec.required {
            required.push(json!(spec.name));
        }
        properties.insert(spec.name.to_owned(), Value::Object(property));
    }
    json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": title,
        "type": "object",
        "additionalProperties": false,
        "properties": properties,
        "required": required,
    })
}

fn parse_bool(text: &str) -> Option<bool> {
    match text.trim().to_ascii_lowercase().as_str() {
        "true" | "on" | "yes" => Some(true),
        "false" | "off" | "no" => Some(false),
        _ => None,
    }
}

/// Splits a number from the unit behind it.
fn number_and_unit(text: &str) -> Option<(f64, String)> {
    let text = text.trim();
    let end = text
        .find(|c: char| !(c.is_ascii_digit() || c == '.'))
        .unwrap_or(text.len());
    let (number, unit) = text.split_at_checked(end)?;
    let number = number.parse::<f64>().ok()?;
    Some((number, unit.trim().to_ascii_lowercase()))
}

/// Parses bytes: decimal prefixes (KB, MB, GB) and binary ones (KiB, MiB, GiB) are told apart.
pub fn parse_bytes(text: &str) -> Option<u64> {
    let (number, unit) = number_and_unit(text)?;
    let factor = match unit.as_str() {
        "" | "b" => 1.0,
        "k" | "kb" => 1e3,
        "m" | "mb" => 1e6,
        "g" | "gb" => 1e9,
        "t" | "tb" => 1e12,
        "kib" => 1024.0,
        "mib" => 1_048_576.0,
        "gib" => 1_073_741_824.0,
        "tib" => 1_099_511_627_776.0,
        _ => return None,
    };
    let bytes = number * factor;
    (bytes <= 9e18).then_some(bytes as u64)
}

/// Parses a time span.
pub fn parse_duration(text: &str) -> Option<Duration> {
    let (number, unit) = number_and_unit(text)?;
    let seconds = match unit.as_str() {
        "us" | "microsecond" | "microseconds" => 1e-6,
        "ms" | "millisecond" | "milliseconds" => 1e-3,
        "s" | "sec" | "second" | "seconds" => 1.0,
        "m" | "min" | "minute" | "minutes" => 60.0,
        "h" | "hour" | "hours" => 3600.0,
        "d" | "day" | "days" => 86_400.0,
        _ => return None,
    };
    Duration::try_from_secs_f64(number * seconds).ok()
}

/// The error for an unknown word among known ones, with the nearest as its hint.
pub fn unknown<'a>(
    code: Code,
    what: &str,
    found: &str,
    known: impl Iterator<Item = &'a str>,
) -> Error {
    nearest(
        Error::new(Kind::Invalid, code, format!("unknown {what} \"{found}\"")),
        found,
        known,
    )
}

#[cfg(test)]
mod tests;
