//! `weir checkpoint`: what a pipeline keeps to go on from, and going back to an earlier epoch.

use std::path::Path;

use chrono::DateTime;
use clap::{Args, Subcommand, ValueEnum};
use weir_engine::checkpoint::{Listed, Manifest, ManifestKind, Store};
use weir_engine::error::{Error, Kind, codes};

use super::say;
use crate::failure::Failure;
use crate::host::{Host, HostOptions};
use crate::state::{default_state, open_store};
use crate::units;

/// What to do with the checkpoints of a pipeline.
#[derive(Debug, Subcommand)]
pub(super) enum CheckpointCommand {
    /// List the epochs that a pipeline can go on from, the newest first
    #[command(after_help = EXAMPLES)]
    List {
        #[command(flatten)]
        of: Of,
        /// Tables for people, or one JSON object per line
        #[arg(long, value_enum, default_value = "text")]
        format: ListFormat,
    },
    /// Show what an epoch holds: state by operator, positions, prepared work; and verify it
    Inspect {
        #[command(flatten)]
        of: Of,
        /// The epoch [default: the newest]
        #[arg(long)]
        epoch: Option<u64>,
    },
    /// Let the next start go on from an earlier epoch; stop the pipeline first
    #[command(
        after_help = "Files that later epochs have written are removed by the next start. \
        What they wrote to Kafka or Delta stays, and comes again."
    )]
    Restore {
        #[command(flatten)]
        of: Of,
        /// The epoch
        #[arg(long)]
        epoch: u64,
    },
}

const EXAMPLES: &str = "\
Examples:
  weir checkpoint list orders.sql
  weir checkpoint list --state s3://bucket/orders
  weir checkpoint inspect orders --epoch 7
  weir checkpoint restore orders --epoch 7";

/// Which pipeline.
#[derive(Debug, Args)]
pub(super) struct Of {
    /// The pipeline's name or script: its state is in .weir/NAME
    #[arg(required_unless_present = "state")]
    pipeline: Option<String>,
    /// Folder or URL of the state, as given to `weir run`
    #[arg(long, value_name = "PLACE")]
    state: Option<String>,
}

/// The form of a list.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum ListFormat {
    /// A table
    Text,
    /// One JSON object per line
    Json,
}

impl Of {
    fn place(&self) -> String {
        let name = self.pipeline.as_deref().unwrap_or_default();
        let stem = Path::new(name).file_stem().and_then(|stem| stem.to_str());
        let default = || default_state(stem.unwrap_or(name)).display().to_string();
        self.state.clone().unwrap_or_else(default)
    }
}

/// Runs the command.
pub(super) fn checkpoint(command: &CheckpointCommand) -> Result<(), Failure> {
    let host = Host::new(HostOptions::default()).map_err(Failure::Script)?;
    let open = |of: &Of| open_store(&of.place(), host.env()).map_err(Failure::Script);
    match command {
        CheckpointCommand::List { of, format } => {
            let store = open(of)?;
            let listed = host.block_on(store.list()).map_err(Failure::Job)?;
            say(&list(&listed.map_err(Failure::Job)?, &of.place(), *format)?)
        }
        CheckpointCommand::Inspect { of, epoch } => {
            let store = open(of)?;
            let shown = host.block_on(inspect(&store, *epoch, &of.place()));
            say(&shown.map_err(Failure::Job)?.map_err(Failure::Job)?)
        }
        CheckpointCommand::Restore { of, epoch } => {
            let store = open(of)?;
            let writer = host.env().next_id();
            let restored = host.block_on(restore(&store, &writer, *epoch));
            let restored = restored.map_err(Failure::Job)?.map_err(Failure::Job)?;
            say(&format!(
                "the next start goes on from epoch {epoch}, kept as epoch {restored}\n"
            ))
        }
    }
}

fn list(listed: &[Listed], place: &str, format: ListFormat) -> Result<String, Failure> {
    if listed.is_empty() {
        return Err(Failure::Script(none(place)));
    }
    let mut text = String::new();
    if format == ListFormat::Text {
        text.push_str("epoch  kind       time                  rows in     state      files\n");
    }
    for entry in listed {
        let line = match (&entry.manifest, format) {
            (Ok(manifest), ListFormat::Text) => line(manifest),
            (Ok(manifest), ListFormat::Json) => json(manifest),
            (Err(error), ListFormat::Text) => format!("{:<5}  damaged    {error}", entry.epoch),
            (Err(error), ListFormat::Json) => {
                serde_json::json!({"epoch": entry.epoch, "damaged": error.to_string()}).to_string()
            }
        };
        text.push_str(&line);
        text.push('\n');
    }
    Ok(text)
}

fn line(manifest: &Manifest) -> String {
    let bytes: u64 = manifest.files().map(|file| file.bytes).sum();
    format!(
        "{:<5}  {:<9}  {:<20}  {:<10}  {:<9}  {}",
        manifest.epoch,
        kind(manifest),
        time(manifest.created_micros),
        units::count(manifest.rows_in),
        units::bytes(bytes),
        manifest.files().count(),
    )
}

fn json(manifest: &Manifest) -> String {
    let bytes: u64 = manifest.files().map(|file| file.bytes).sum();
    serde_json::json!({
        "epoch": manifest.epoch,
        "kind": kind(manifest),
        "time": time(manifest.created_micros),
        "generation": manifest.generation,
        "rows_in": manifest.rows_in,
        "bytes": bytes,
        "files": manifest.files().count(),
        "restored_from": manifest.restored_from,
    })
    .to_string()
}

fn kind(manifest: &Manifest) -> &'static str {
    match manifest.kind {
        ManifestKind::Periodic => "periodic",
        ManifestKind::Savepoint => "savepoint",
        ManifestKind::Finished => "finished",
        ManifestKind::Restored => "restored",
    }
}

fn time(micros: i64) -> String {
    DateTime::from_timestamp_micros(micros).map_or_else(
        || micros.to_string(),
        |time| time.format("%Y-%m-%dT%H:%M:%SZ").to_string(),
    )
}

async fn inspect(store: &Store, epoch: Option<u64>, place: &str) -> weir_engine::Result<String> {
    let epoch = match epoch {
        Some(epoch) => epoch,
        None => {
            let listed = store.list().await?;
            let newest = listed.iter().map(|listed| listed.epoch).max();
            newest.ok_or_else(|| none(place))?
        }
    };
    let manifest = store.inspect(epoch).await?;
    let mut text = String::new();
    describe(&mut text, &manifest);
    let verified = match store.verify(&manifest).await {
        Ok(()) => "all files are whole".to_owned(),
        Err(error) => format!("damaged: {error}"),
    };
    text.push_str(&format!("verified     {verified}\n"));
    Ok(text)
}

fn describe(text: &mut String, manifest: &Manifest) {
    let mut row = |name: &str, value: String| text.push_str(&format!("{name:<12} {value}\n"));
    row("pipeline", manifest.pipeline.clone());
    row("epoch", format!("{} ({})", manifest.epoch, kind(manifest)));
    row("time", time(manifest.created_micros));
    row("generation", manifest.generation.to_string());
    if let Some(from) = manifest.restored_from {
        row("content of", format!("epoch {from}"));
    }
    row("rows in", units::count(manifest.rows_in));
    for node in &manifest.nodes {
        let files = || node.chains.iter().flat_map(|chain| &chain.files);
        row(
            "node",
            format!(
                "{}: {} subtasks, {} files, {} rows, {}",
                node.id,
                node.chains.len(),
                files().count(),
                units::count(files().map(|file| file.rows).sum()),
                units::bytes(files().map(|file| file.bytes).sum()),
            ),
        );
    }
    for commit in &manifest.commits {
        let rows = commit.tokens.iter().map(|token| token.rows).sum();
        row(
            "commits",
            format!(
                "{}: {} rows in {} parts, with epoch {}",
                commit.node,
                units::count(rows),
                commit.tokens.len(),
                commit.epoch
            ),
        );
    }
    for view in &manifest.views {
        row("view", view.name.clone());
    }
}

/// Puts the content of an epoch at the end of the log.
async fn restore(store: &Store, writer: &str, epoch: u64) -> weir_engine::Result<u64> {
    let pipeline = store.inspect(epoch).await?.pipeline;
    let claim = store.claim_at(writer, Some(epoch)).await?;
    if let Some(latest) = &claim.latest {
        store.verify(latest).await?;
    }
    Ok(store.fence(&claim, &pipeline).await?.epoch)
}

fn none(place: &str) -> Error {
    Error::new(
        Kind::Invalid,
        codes::NOT_FOUND,
        format!("there are no checkpoints in \"{place}\""),
    )
    .hint("name the pipeline or its script, or --state as it was given to weir run")
}
