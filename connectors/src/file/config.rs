//! What the options of a file source say, parsed once.

use regex::Regex;
use weir_engine::Result;
use weir_engine::options::{OptionKind, OptionSpec, Options};

const FORMATS: &[&str] = &["parquet", "csv", "json", "avro"];
const COMPRESSIONS: &[&str] = &["auto", "none", "gzip", "zstd"];

/// The options of file sources, beside those of the store.
pub const OPTIONS: &[OptionSpec] = &[
    OptionSpec::optional(
        "format",
        OptionKind::OneOf(FORMATS),
        "Format of the files; from the file name's ending when not given.",
    ),
    OptionSpec::default(
        "compression",
        OptionKind::OneOf(COMPRESSIONS),
        "auto",
        "Compression around CSV, JSON and Avro files; auto goes by the ending .gz or .zst.",
    ),
    OptionSpec::default(
        "watch",
        OptionKind::Bool,
        "false",
        "Whether a streaming job goes on with files that appear later; each is read once.",
    ),
    OptionSpec::default(
        "poll_interval",
        OptionKind::Duration,
        "500ms",
        "How often a watching source looks for new files.",
    ),
    OptionSpec::default(
        "header",
        OptionKind::Bool,
        "true",
        "CSV: whether the first record holds the column names.",
    ),
    OptionSpec::default(
        "delimiter",
        OptionKind::Text,
        ",",
        "CSV: the one character between fields; \\t is a tab.",
    ),
    OptionSpec::default(
        "quote",
        OptionKind::Text,
        "\"",
        "CSV: the one character around fields.",
    ),
    OptionSpec::optional(
        "escape",
        OptionKind::Text,
        "CSV: the one character before a quote inside quotes; a doubled quote when not given.",
    ),
    OptionSpec::optional(
        "comment",
        OptionKind::Text,
        "CSV: the one character that starts a line to be ignored.",
    ),
    OptionSpec::optional(
        "null_value",
        OptionKind::Text,
        "CSV: what stands for NULL beside an empty field; several are separated by |.",
    ),
    OptionSpec::optional(
        "timestamp_format",
        OptionKind::Text,
        "CSV, JSON: form of declared timestamps, as strftime or epoch_seconds, epoch_millis, epoch_micros.",
    ),
];

/// The format of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Format {
    /// Apache Parquet.
    Parquet,
    /// Comma-separated values, RFC 4180 with options.
    Csv,
    /// One JSON object per line.
    Json,
    /// Avro object container files.
    Avro,
}

impl Format {
    /// The format that an option names.
    pub(crate) fn named(name: &str) -> Option<Self> {
        match name {
            "parquet" => Some(Self::Parquet),
            "csv" => Some(Self::Csv),
            "json" => Some(Self::Json),
            "avro" => Some(Self::Avro),
            _ => None,
        }
    }

    /// The format that a file name's ending tells, compression aside.
    pub(crate) fn of_path(path: &str) -> Option<Self> {
        let lower = path.to_ascii_lowercase();
        let name = [".gz", ".gzip", ".zst", ".zstd"]
            .iter()
            .find_map(|ending| lower.strip_suffix(ending))
            .unwrap_or(&lower);
        match name.rsplit_once('.')?.1 {
            "parquet" | "pq" | "parq" => Some(Self::Parquet),
            "csv" | "tsv" | "psv" | "txt" => Some(Self::Csv),
            "json" | "jsonl" | "ndjson" => Some(Self::Json),
            "avro" => Some(Self::Avro),
            _ => None,
        }
    }

    /// The word of the option.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Parquet => "parquet",
            Self::Csv => "csv",
            Self::Json => "json",
            Self::Avro => "avro",
        }
    }
}

/// The compression around a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Compression {
    /// None.
    None,
    /// Gzip, one or more members.
    Gzip,
    /// Zstandard, one or more frames.
    Zstd,
}

/// What surrounds and separates CSV fields.
#[derive(Debug, Clone)]
pub(crate) struct CsvOptions {
    /// Whether the first record holds the names.
    pub(crate) header: bool,
    /// Between fields.
    pub(crate) delimiter: u8,
    /// Around fields.
    pub(crate) quote: u8,
    /// Before a quote inside quotes; doubled when `None`.
    pub(crate) escape: Option<u8>,
    /// Starts a line to be ignored.
    pub(crate) comment: Option<u8>,
    /// What is NULL; an empty field when `None`.
    pub(crate) null: Option<Regex>,
}

/// How declared timestamps are written in a text.
#[derive(Debug, Clone)]
pub(crate) enum TimestampFormat {
    /// A pattern of strftime.
    Pattern(String),
    /// A number since 1970, and how many microseconds one of it has.
    Epoch(i64),
}

/// What the options say of the files.
#[derive(Debug, Clone)]
pub(crate) struct FileConfig {
    /// `None` = by the ending of the name.
    pub(crate) format: Option<Format>,
    /// `None` = by the ending of the name.
    pub(crate) compression: Option<Compression>,
    /// For CSV.
    pub(crate) csv: CsvOptions,
    /// For CSV and JSON.
    pub(crate) timestamps: Option<TimestampFormat>,
}

impl FileConfig {
    /// Reads the options.
    pub(crate) fn new(options: &Options) -> Result<Self> {
        let one = |name: &str| -> Result<Option<u8>> {
            let Some(text) = options.text(name) else {
                return Ok(None);
            };
            match (text, text.as_bytes()) {
                ("\\t", _) => Ok(Some(b'\t')),
                (_, [byte]) if byte.is_ascii() && !matches!(byte, b'\n' | b'\r') => Ok(Some(*byte)),
                _ => Err(options.invalid(name, format!("'{text}' is not one ASCII character"))),
            }
        };
        let csv = CsvOptions {
            header: options.bool("header"),
            delimiter: one("delimiter")?.unwrap_or(b','),
            quote: one("quote")?.unwrap_or(b'"'),
            escape: one("escape")?,
            comment: one("comment")?,
            null: options
                .text("null_value")
                .map(null_pattern)
                .transpose()
                .map_err(|e| options.invalid("null_value", format!("cannot be used: {e}")))?,
        };
        if csv.delimiter == csv.quote {
            return Err(options.invalid("delimiter", "is the same character as the quote"));
        }
        Ok(Self {
            format: options.text("format").and_then(Format::named),
            compression: match options.text("compression") {
                Some("none") => Some(Compression::None),
                Some("gzip") => Some(Compression::Gzip),
                Some("zstd") => Some(Compression::Zstd),
                _ => None,
            },
            csv,
            timestamps: options.text("timestamp_format").map(|text| match text {
                "epoch_seconds" => TimestampFormat::Epoch(1_000_000),
                "epoch_millis" => TimestampFormat::Epoch(1_000),
                "epoch_micros" => TimestampFormat::Epoch(1),
                pattern => TimestampFormat::Pattern(pattern.to_owned()),
            }),
        })
    }

    /// The compression of one file.
    pub(crate) fn compression_of(&self, path: &str) -> Compression {
        let lower = path.to_ascii_lowercase();
        self.compression.unwrap_or_else(|| {
            if lower.ends_with(".gz") || lower.ends_with(".gzip") {
                Compression::Gzip
            } else if lower.ends_with(".zst") || lower.ends_with(".zstd") {
                Compression::Zstd
            } else {
                Compression::None
            }
        })
    }
}

/// An empty field is always NULL, the given texts too.
fn null_pattern(text: &str) -> Result<Regex, regex::Error> {
    let words: Vec<String> = text.split('|').map(regex::escape).collect();
    Regex::new(&format!("^(?:{})?$", words.join("|")))
}
