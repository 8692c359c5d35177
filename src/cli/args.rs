//! Flags that several commands share.

use std::collections::BTreeMap;

use clap::{Args, ValueEnum};
use weir_engine::limits;
use weir_engine::options::{parse_bytes, parse_duration};

use crate::embed::RunOptions;
use crate::units;

/// Whether a job ends with its input.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum Mode {
    /// Read what is there and end
    Batch,
    /// Go on with what arrives
    Streaming,
}

/// Flags of everything that runs or plans a script.
#[derive(Debug, Args)]
pub(super) struct JobArgs {
    /// Give `${NAME}` in the script a value; names not given are taken from the environment
    #[arg(long = "set", value_name = "NAME=VALUE", value_parser = variable)]
    variables: Vec<(String, String)>,

    /// End with the input (batch) or go on with what arrives (streaming) [default: batch when
    /// every source has an end]
    #[arg(long, value_enum)]
    mode: Option<Mode>,

    /// Subtasks per operator [default: the number of cores]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=i64::from(limits::PARALLELISM_MAX)))]
    parallelism: Option<u32>,

    /// Memory budget, such as 512MB or 2GiB [default: 1GiB]
    #[arg(long, value_name = "SIZE", value_parser = memory)]
    memory: Option<usize>,

    /// Folder or URL (s3://bucket/folder) of the checkpoints; a start goes on from the last one. Bad
    /// rows are kept there too, or in .weir/NAME if it is a URL [default: .weir/NAME, with
    /// checkpoints when an input has no end]
    #[arg(long, value_name = "PLACE")]
    state: Option<String>,

    /// Time between two checkpoints of a streaming pipeline [default: 5s]
    #[arg(long, value_name = "TIME", value_parser = duration)]
    checkpoint_interval: Option<String>,

    /// Rows of a batch: smaller lowers latency, larger raises throughput
    #[arg(long, value_name = "N", value_parser = batch_rows)]
    batch_rows: Option<usize>,
}

impl JobArgs {
    /// Makes the options of a run; flags are stronger than what the script sets.
    pub(super) fn options(&self) -> RunOptions {
        let mut flags = BTreeMap::new();
        let mut flag = |name: &str, value: Option<String>| {
            if let Some(value) = value {
                flags.insert(format!("pipeline.{name}"), value);
            }
        };
        let mode = self.mode.map(|mode| match mode {
            Mode::Batch => "batch".to_owned(),
            Mode::Streaming => "streaming".to_owned(),
        });
        flag("mode", mode);
        flag("parallelism", self.parallelism.map(|n| n.to_string()));
        flag("memory", self.memory.map(|bytes| bytes.to_string()));
        flag("state", self.state.clone());
        flag("checkpoint_interval", self.checkpoint_interval.clone());
        flag("batch_rows", self.batch_rows.map(|rows| rows.to_string()));
        RunOptions {
            variables: self.variables.iter().cloned().collect(),
            environment: true,
            flags,
            ..RunOptions::default()
        }
    }
}

pub(super) fn variable(text: &str) -> Result<(String, String), String> {
    let (name, value) = text.split_once('=').ok_or("write it as NAME=VALUE")?;
    let is_name = !name.is_empty() && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
    if is_name {
        Ok((name.to_owned(), value.to_owned()))
    } else {
        Err(format!(
            "\"{name}\" is not a name: letters, digits and _ only"
        ))
    }
}

fn memory(text: &str) -> Result<usize, String> {
    let bytes = parse_bytes(text).ok_or("write a size such as 512MB or 2GiB")?;
    let bytes = usize::try_from(bytes).map_err(|_| "more than this machine can address")?;
    if bytes < limits::MEMORY_BYTES_MIN {
        let least = units::bytes(limits::MEMORY_BYTES_MIN as u64);
        return Err(format!("a job needs at least {least}"));
    }
    Ok(bytes)
}

fn duration(text: &str) -> Result<String, String> {
    match parse_duration(text) {
        Some(time) if !time.is_zero() => Ok(text.to_owned()),
        _ => Err("write a time span such as 500ms, 5s or 1min".to_owned()),
    }
}

fn batch_rows(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(rows) if (1..=limits::BATCH_ROWS_MAX).contains(&rows) => Ok(rows),
        _ => Err(format!(
            "write a number from 1 to {}",
            limits::BATCH_ROWS_MAX
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_and_variables_are_read() {
        assert_eq!(memory("256MB"), Ok(256_000_000));
        assert_eq!(memory("1GiB"), Ok(1 << 30));
        assert!(memory("12").unwrap_err().contains("at least"));
        assert_eq!(variable("A=b=c"), Ok(("A".to_owned(), "b=c".to_owned())));
        assert_eq!(variable("A="), Ok(("A".to_owned(), String::new())));
        assert!(variable("A-B=c").is_err());
    }
}
