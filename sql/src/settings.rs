//! The settings of a pipeline: one table that parses them, explains them and names the nearest.
//!
//! A setting is given by a flag of the command or by `SET`. What a flag fixes stays: a later `SET`
//! of it is checked and then ignored, so that the command line decides over the script.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use weir_engine::dead_letter::OnError;
use weir_engine::error::{Error, Kind, Result, codes};
use weir_engine::limits;
use weir_engine::options::{parse_bytes, parse_duration, unknown};

/// How a pipeline runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// Reads what is there and ends.
    Batch,
    /// Goes on.
    Streaming,
}

impl fmt::Display for Mode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Batch => "batch",
            Self::Streaming => "streaming",
        })
    }
}

/// The name of a setting with what is known of it.
#[derive(Debug, Clone, Copy)]
pub struct SettingSpec {
    /// The dotted name.
    pub name: &'static str,
    /// What holds when it is not given, for people.
    pub default: &'static str,
    /// One sentence.
    pub help: &'static str,
    form: Form,
}

#[derive(Debug, Clone, Copy)]
enum Form {
    Text,
    Mode,
    OnError,
    Duration,
    Bytes { min: usize },
    Count { min: u64, max: u64 },
}

const fn spec(
    name: &'static str,
    form: Form,
    default: &'static str,
    help: &'static str,
) -> SettingSpec {
    SettingSpec {
        name,
        default,
        help,
        form,
    }
}

/// Every setting.
pub const SETTINGS: &[SettingSpec] = &[
    spec(
        "pipeline.batch_rows",
        Form::Count {
            min: 1,
            max: limits::BATCH_ROWS_MAX as u64,
        },
        "8192",
        "rows of a batch at most",
    ),
    spec(
        "pipeline.checkpoint_interval",
        Form::Duration,
        "5 seconds",
        "time between two checkpoints of a streaming pipeline",
    ),
    spec(
        "pipeline.checkpoints_retained",
        Form::Count { min: 1, max: 1_000 },
        "3",
        "checkpoints that are kept; savepoints stay until they are removed",
    ),
    spec(
        "pipeline.history",
        Form::Duration,
        "90 days",
        "how long what rules have found is kept",
    ),
    spec(
        "pipeline.idle_timeout",
        Form::Duration,
        "",
        "time without rows after which a source does not hold back the watermark",
    ),
    spec(
        "pipeline.max_drift",
        Form::Duration,
        "",
        "how far a partition may be ahead of the slowest in event time before it waits",
    ),
    spec(
        "pipeline.memory",
        Form::Bytes {
            min: limits::MEMORY_BYTES_MIN,
        },
        "1GiB",
        "memory of the job for state, sorts, joins and queues",
    ),
    spec(
        "pipeline.mode",
        Form::Mode,
        "",
        "batch or streaming; batch when every source is bounded",
    ),
    spec(
        "pipeline.name",
        Form::Text,
        "pipeline",
        "the name under which state is kept",
    ),
    spec(
        "pipeline.on_error",
        Form::OnError,
        "dead_letter",
        "what happens to rows that cannot be decoded, where the source says nothing",
    ),
    spec(
        "pipeline.parallelism",
        Form::Count {
            min: 1,
            max: limits::PARALLELISM_MAX as u64,
        },
        "the number of cores",
        "subtasks of each node",
    ),
    spec(
        "pipeline.quarantine",
        Form::Duration,
        "",
        "how long rows are kept in quarantine",
    ),
    spec(
        "pipeline.state",
        Form::Text,
        "",
        "folder or URL of the state and the dead letters",
    ),
    spec(
        "pipeline.state_ttl",
        Form::Duration,
        "",
        "time after which the state of a key without rows is dropped",
    ),
];

#[derive(Debug, Clone)]
struct Given {
    text: String,
    fixed: bool,
}

/// The settings as given so far.
#[derive(Debug, Clone, Default)]
pub struct Settings {
    given: BTreeMap<&'static str, Given>,
}

impl Settings {
    /// Gives a setting by a flag: no `SET` changes it.
    pub fn fix(&mut self, name: &str, value: &str) -> Result<()> {
        let spec = checked(name, value)?;
        self.given.insert(
            spec.name,
            Given {
                text: value.trim().to_owned(),
                fixed: true,
            },
        );
        Ok(())
    }

    /// Gives a setting by `SET`; one that a flag fixed keeps its value.
    pub fn set(&mut self, name: &str, value: &str) -> Result<()> {
        let spec = checked(name, value)?;
        if !self.given.get(spec.name).is_some_and(|given| given.fixed) {
            self.given.insert(
                spec.name,
                Given {
                    text: value.trim().to_owned(),
                    fixed: false,
                },
            );
        }
        Ok(())
    }

    fn text(&self, name: &str) -> Option<&str> {
        self.given.get(name).map(|given| given.text.as_str())
    }

    /// The value as given, or the default's words.
    pub fn value(&self, name: &str) -> Result<&str> {
        let spec = find(name)?;
        Ok(self.text(spec.name).unwrap_or(spec.default))
    }

    /// The pipeline's name, if one is given.
    pub fn name(&self) -> Option<&str> {
        self.text("pipeline.name")
    }

    /// The mode, if one is given.
    pub fn mode(&self) -> Option<Mode> {
        self.text("pipeline.mode").and_then(parse_mode)
    }

    /// Subtasks of each node.
    pub fn parallelism(&self) -> u32 {
        self.text("pipeline.parallelism")
            .and_then(|text| text.parse().ok())
            .unwrap_or_else(|| {
                let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
                u32::try_from(cores)
                    .unwrap_or(1)
                    .min(limits::PARALLELISM_MAX)
            })
    }

    /// Bytes of memory of the job.
    pub fn memory(&self) -> usize {
        self.text("pipeline.memory")
            .and_then(parse_bytes)
            .and_then(|bytes| usize::try_from(bytes).ok())
            .unwrap_or(limits::MEMORY_BYTES_DEFAULT)
    }

    /// Where state and dead letters are kept, if it is given.
    pub fn state(&self) -> Option<&str> {
        self.text("pipeline.state")
    }

    /// Rows of a batch.
    pub fn batch_rows(&self) -> usize {
        self.text("pipeline.batch_rows")
            .and_then(|text| text.parse().ok())
            .unwrap_or(limits::BATCH_ROWS)
    }

    /// When a source without rows counts as idle, if ever.
    pub fn idle_timeout(&self) -> Option<Duration> {
        self.text("pipeline.idle_timeout").and_then(parse_duration)
    }

    /// What happens to rows that cannot be decoded.
    pub fn on_error(&self) -> OnError {
        self.text("pipeline.on_error")
            .and_then(parse_on_error)
            .unwrap_or_default()
    }

    /// Time between two checkpoints.
    pub fn checkpoint_interval(&self) -> Duration {
        self.text("pipeline.checkpoint_interval")
            .and_then(parse_duration)
            .unwrap_or(Duration::from_secs(5))
    }

    /// How long what rules have found is kept.
    pub fn history(&self) -> Duration {
        const DAYS: u64 = 90;
        self.text("pipeline.history")
            .and_then(parse_duration)
            .unwrap_or(Duration::from_secs(DAYS * 24 * 3_600))
    }

    /// How long rows are kept in quarantine, if not for ever.
    pub fn quarantine(&self) -> Option<Duration> {
        self.text("pipeline.quarantine").and_then(parse_duration)
    }

    /// How many checkpoints are kept.
    pub fn checkpoints_retained(&self) -> usize {
        self.text("pipeline.checkpoints_retained")
            .and_then(|text| text.parse().ok())
            .unwrap_or(limits::CHECKPOINTS_RETAINED)
    }

    /// How far a partition may be ahead of the slowest.
    pub fn max_drift(&self) -> Option<Duration> {
        self.text("pipeline.max_drift").and_then(parse_duration)
    }

    /// When the state of a silent key is dropped, if ever.
    pub fn state_ttl(&self) -> Option<Duration> {
        self.text("pipeline.state_ttl").and_then(parse_duration)
    }
}

fn find(name: &str) -> Result<&'static SettingSpec> {
    let lower = name.to_ascii_lowercase();
    SETTINGS
        .iter()
        .find(|spec| spec.name == lower)
        .ok_or_else(|| {
            unknown(
                codes::SETTING,
                "setting",
                name,
                SETTINGS.iter().map(|s| s.name),
            )
        })
}

fn checked(name: &str, value: &str) -> Result<&'static SettingSpec> {
    let spec = find(name)?;
    let value = value.trim();
    let wanted = match spec.form {
        Form::Text => (value.is_empty()).then(|| "a text that is not empty".to_owned()),
        Form::Mode => parse_mode(value)
            .is_none()
            .then(|| "one of \"batch\" and \"streaming\"".to_owned()),
        Form::OnError => parse_on_error(value)
            .is_none()
            .then(|| "one of \"fail\" and \"dead_letter\"".to_owned()),
        Form::Duration => parse_duration(value)
            .is_none_or(|time| time.is_zero())
            .then(|| "a time span such as 500ms, 5 seconds or 1 minute".to_owned()),
        Form::Bytes { min } => parse_bytes(value)
            .is_none_or(|bytes| bytes < min as u64)
            .then(|| format!("a size such as 512MB or 2GB, from {}MiB", min >> 20)),
        Form::Count { min, max } => value
            .parse::<u64>()
            .ok()
            .is_none_or(|count| count < min || count > max)
            .then(|| format!("a whole number from {min} to {max}")),
    };
    match wanted {
        None => Ok(spec),
        Some(wanted) => Err(Error::new(
            Kind::Invalid,
            codes::SETTING,
            format!("setting \"{}\": '{value}' is not {wanted}", spec.name),
        )),
    }
}

fn parse_mode(text: &str) -> Option<Mode> {
    match text.to_ascii_lowercase().as_str() {
        "batch" => Some(Mode::Batch),
        "streaming" => Some(Mode::Streaming),
        _ => None,
    }
}

/// Parses `on_error`.
pub(crate) fn parse_on_error(text: &str) -> Option<OnError> {
    match text.to_ascii_lowercase().as_str() {
        "fail" => Some(OnError::Fail),
        "dead_letter" => Some(OnError::DeadLetter),
        _ => None,
    }
}

#[cfg(test)]
mod tests;
