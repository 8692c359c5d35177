//! The options of file sinks, and what they mean.

use std::time::Duration;

use parquet::basic::{Compression as ParquetCompression, GzipLevel, ZstdLevel};
use weir_engine::error::Result;
use weir_engine::options::{OptionKind, OptionSpec, Options};

use super::existing::OnExisting;

pub(crate) const PARTITION_BY: OptionSpec = OptionSpec::optional(
    "partition_by",
    OptionKind::Text,
    "Expressions, separated by commas, whose values become folders: date(ts), status.",
);
pub(crate) const ROLL_SIZE: OptionSpec = OptionSpec::default(
    "roll_size",
    OptionKind::Bytes,
    "128MB",
    "Size at which a file is finished and the next one begun.",
);
pub(crate) const ROLL_ROWS: OptionSpec = OptionSpec::optional(
    "roll_rows",
    OptionKind::Count,
    "Rows after which a file is finished.",
);
pub(crate) const ROLL_INTERVAL: OptionSpec = OptionSpec::optional(
    "roll_interval",
    OptionKind::Duration,
    "Age at which a file is finished: 10 seconds in streaming and never in batch, \
     unless said.",
);
pub(crate) const ROLL_INACTIVITY: OptionSpec = OptionSpec::optional(
    "roll_inactivity",
    OptionKind::Duration,
    "Time without rows after which a file is finished.",
);
pub(crate) const ROW_GROUP_ROWS: OptionSpec = OptionSpec::default(
    "row_group_rows",
    OptionKind::Count,
    "1048576",
    "Most rows of a Parquet row group.",
);
pub(crate) const ROW_GROUP_BYTES: OptionSpec = OptionSpec::default(
    "row_group_bytes",
    OptionKind::Bytes,
    "64MB",
    "Most encoded bytes of a Parquet row group; less when memory is short.",
);

/// The options of file sinks, beside those of the store (`path` among them). The planner reads
/// `partition_by` and takes it out.
pub const OPTIONS: &[OptionSpec] = &[
    OptionSpec::default(
        "format",
        OptionKind::OneOf(&["parquet", "csv", "json"]),
        "parquet",
        "Format of the files; json has one object per line.",
    ),
    OptionSpec::optional(
        "compression",
        OptionKind::OneOf(&["zstd", "snappy", "lz4", "gzip", "none"]),
        "How the files are compressed: zstd for parquet and none for csv and json, unless said; \
         csv and json take gzip, zstd and none.",
    ),
    PARTITION_BY,
    OptionSpec::default(
        "on_existing",
        OptionKind::OneOf(&["append", "replace", "fail"]),
        "append",
        "What to do about files that stand in the folder when the job starts. append leaves them \
         and adds to them. replace removes those of this format, in the folder itself and in its \
         partitions (k=v): in batch when all the new files are visible, in streaming with the \
         first of them; for a moment both can be seen, and a job that fails before leaves them. \
         fail does not start.",
    ),
    ROLL_SIZE,
    ROLL_ROWS,
    ROLL_INTERVAL,
    ROLL_INACTIVITY,
    ROW_GROUP_ROWS,
    ROW_GROUP_BYTES,
    OptionSpec::default(
        "header",
        OptionKind::Bool,
        "true",
        "Whether a CSV file begins with the names of the columns.",
    ),
    OptionSpec::default(
        "delimiter",
        OptionKind::Text,
        ",",
        "What separates the values of CSV: one ASCII character, or \\t.",
    ),
];

/// The end of the names of Parquet files.
const PARQUET: &str = ".parquet";
/// The age at which a streaming job finishes a file, so that what it writes is seen soon.
const STREAMING_ROLL_INTERVAL: Duration = Duration::from_secs(10);

/// The format of the files.
#[derive(Debug, Clone)]
pub(super) enum Format {
    /// Parquet with its compression and the bounds of a row group.
    Parquet {
        compression: ParquetCompression,
        row_group_rows: usize,
        row_group_bytes: usize,
    },
    /// CSV.
    Csv {
        header: bool,
        delimiter: u8,
        compression: TextCompression,
    },
    /// One JSON object per line.
    Json { compression: TextCompression },
}

/// How a whole text file is compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum TextCompression {
    /// Not.
    None,
    /// As `.gz`.
    Gzip,
    /// As `.zst`.
    Zstd,
}

impl TextCompression {
    fn suffix(self) -> &'static str {
        match self {
            Self::None => "",
            Self::Gzip => ".gz",
            Self::Zstd => ".zst",
        }
    }
}

/// When a file is finished.
#[derive(Debug, Clone, Copy)]
pub(super) struct Roll {
    /// At these bytes.
    pub(super) bytes: u64,
    /// At these rows.
    pub(super) rows: u64,
    /// At this age.
    pub(super) age: Option<Duration>,
    /// After this time without rows.
    pub(super) inactivity: Option<Duration>,
}

impl Roll {
    /// Whether a file that was opened and last written then is due by time.
    pub(super) fn is_due(&self, now: Duration, opened: Duration, touched: Duration) -> bool {
        self.age
            .is_some_and(|age| now.saturating_sub(opened) >= age)
            || self
                .inactivity
                .is_some_and(|time| now.saturating_sub(touched) >= time)
    }
}

/// The options of one sink, checked.
#[derive(Debug, Clone)]
pub(super) struct Settings {
    /// The format.
    pub(super) format: Format,
    /// When files are finished.
    pub(super) roll: Roll,
    /// The end of the names, such as `.csv.gz`.
    pub(super) extension: String,
    /// The part of it that the format gives, such as `.csv`.
    pub(super) format_extension: &'static str,
    /// What to do about the files of earlier jobs.
    pub(super) on_existing: OnExisting,
    /// For EXPLAIN, such as `parquet, zstd`.
    pub(super) summary: String,
}

impl Settings {
    /// Reads the options.
    pub(super) fn of(options: &Options, streaming: bool) -> Result<Self> {
        let name = options.need("format")?;
        for only_parquet in ["row_group_rows", "row_group_bytes"] {
            if name != "parquet" && options.is_given(only_parquet) {
                return Err(options.invalid(only_parquet, format!("format '{name}' has none")));
            }
        }
        for only_csv in ["header", "delimiter"] {
            if name != "csv" && options.is_given(only_csv) {
                return Err(options.invalid(only_csv, format!("format '{name}' has none")));
            }
        }
        let (format, suffix) = match name {
            "csv" => {
                let compression = text_compression(options)?;
                let header = options.bool("header");
                (
                    Format::Csv {
                        header,
                        delimiter: delimiter(options)?,
                        compression,
                    },
                    compression,
                )
            }
            "json" => {
                let compression = text_compression(options)?;
                (Format::Json { compression }, compression)
            }
            _ => (parquet_format(options)?, TextCompression::None),
        };
        let format_extension = match format {
            Format::Parquet { .. } => PARQUET,
            Format::Csv { .. } => ".csv",
            Format::Json { .. } => ".json",
        };
        let default = if name == "parquet" { "zstd" } else { "none" };
        let compression = options.text("compression").unwrap_or(default);
        Ok(Self {
            format,
            roll: roll(options, streaming)?,
            extension: format!("{format_extension}{}", suffix.suffix()),
            format_extension,
            on_existing: OnExisting::of(options),
            summary: format!("{name}, {compression}"),
        })
    }
}

impl Settings {
    /// Reads the options of a table whose files are Parquet, and which has no others.
    pub(super) fn parquet(options: &Options, streaming: bool) -> Result<Self> {
        Ok(Self {
            format: parquet_format(options)?,
            roll: roll(options, streaming)?,
            extension: PARQUET.to_owned(),
            format_extension: PARQUET,
            on_existing: OnExisting::Append,
            summary: options.text("compression").unwrap_or("zstd").to_owned(),
        })
    }
}

fn roll(options: &Options, streaming: bool) -> Result<Roll> {
    let age = options.duration("roll_interval");
    let roll = Roll {
        bytes: options.bytes("roll_size").unwrap_or(u64::MAX),
        rows: options.count("roll_rows").unwrap_or(u64::MAX),
        age: age.or(streaming.then_some(STREAMING_ROLL_INTERVAL)),
        inactivity: options.duration("roll_inactivity"),
    };
    let zero = [
        ("roll_size", roll.bytes == 0),
        ("roll_rows", roll.rows == 0),
        ("roll_interval", roll.age == Some(Duration::ZERO)),
        ("roll_inactivity", roll.inactivity == Some(Duration::ZERO)),
    ];
    match zero.iter().find(|(_, is_zero)| *is_zero) {
        Some((name, _)) => Err(options.invalid(name, "must be more than 0")),
        None => Ok(roll),
    }
}

fn parquet_format(options: &Options) -> Result<Format> {
    let compression = match options.text("compression") {
        Some("snappy") => ParquetCompression::SNAPPY,
        Some("lz4") => ParquetCompression::LZ4_RAW,
        Some("gzip") => ParquetCompression::GZIP(GzipLevel::default()),
        Some("none") => ParquetCompression::UNCOMPRESSED,
        _ => ParquetCompression::ZSTD(ZstdLevel::default()),
    };
    let rows = usize::try_from(options.count("row_group_rows").unwrap_or(0)).unwrap_or(usize::MAX);
    let bytes = usize::try_from(options.bytes("row_group_bytes").unwrap_or(0));
    let bytes = bytes.unwrap_or(usize::MAX);
    if rows == 0 {
        return Err(options.invalid("row_group_rows", "must be more than 0"));
    }
    if bytes == 0 {
        return Err(options.invalid("row_group_bytes", "must be more than 0"));
    }
    Ok(Format::Parquet {
        compression,
        row_group_rows: rows,
        row_group_bytes: bytes,
    })
}

fn text_compression(options: &Options) -> Result<TextCompression> {
    match options.text("compression") {
        None | Some("none") => Ok(TextCompression::None),
        Some("gzip") => Ok(TextCompression::Gzip),
        Some("zstd") => Ok(TextCompression::Zstd),
        Some(other) => {
            let why = format!("'{other}' is for parquet; csv and json take gzip, zstd and none");
            Err(options.invalid("compression", why))
        }
    }
}

fn delimiter(options: &Options) -> Result<u8> {
    match options.need("delimiter")? {
        "\\t" => Ok(b'\t'),
        text => match text.as_bytes() {
            [byte] if byte.is_ascii() && !matches!(byte, b'"' | b'\n' | b'\r') => Ok(*byte),
            _ => Err(options.invalid("delimiter", format!("'{text}' is not one ASCII character"))),
        },
    }
}
