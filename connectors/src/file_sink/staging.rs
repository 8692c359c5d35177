//! Parquet files of a table whose readers see only what its log names: the same writers, names and
//! crash safety as those of a folder of files, without the rules for what stands there already.

use weir_engine::connector::SinkRequest;
use weir_engine::error::Result;
use weir_engine::job::TaskContext;
use weir_engine::message::Epoch;
use weir_engine::options::Options;
use weir_engine::sink::{CommitToken, Owner, Sink as _, SinkWriter, Start};

use super::place::Place;
use super::settings::Settings;
use super::sink::FileSink;
use super::sweep::{sweep_first, sweep_unfinished};
use crate::store::Location;

/// The files of one table.
#[derive(Debug)]
pub(crate) struct Staging(FileSink);

impl Staging {
    /// Checks the options and that Parquet takes the rows.
    pub(crate) fn new(
        request: &SinkRequest,
        location: Location,
        options: &Options,
    ) -> Result<Self> {
        let place = Place::of(location, &request.env)?;
        let settings = Settings::parquet(options, request.streaming)?;
        FileSink::new(request, place, settings, options).map(Self)
    }

    /// Tells whose the files are, before all other calls.
    pub(crate) fn own(&self, owner: &Owner) {
        self.0.own(owner);
    }

    /// Checks that files can be written, and removes what an earlier run has not finished.
    pub(crate) async fn check(&self, start: Start) -> Result<()> {
        let place = &self.0.layout.place;
        place.check().await?;
        match start {
            Start::Fresh => sweep_first(place, &self.0.names()?).await,
            Start::Resumed(last) => sweep_unfinished(place, &self.0.names()?, last).await,
        }
    }

    /// Makes the writer of one subtask.
    pub(crate) async fn writer(&self, context: &TaskContext) -> Result<Box<dyn SinkWriter>> {
        self.0.writer(&self.0.layout.schema, context).await
    }

    /// Puts a finished file in its place, and gives its path in the table; idempotent.
    pub(crate) async fn show(&self, token: &CommitToken) -> Result<String> {
        self.0.layout.place.commit(token).await
    }

    /// Throws a finished file away that is not in its place yet.
    pub(crate) async fn abort(&self, token: &CommitToken) -> Result<()> {
        self.0.abort(token).await
    }

    /// The epoch of a file of this sink by its path; `None` for any other file, and for those of
    /// a run without checkpoints.
    pub(crate) fn epoch(&self, path: &str) -> Result<Option<Epoch>> {
        Ok(self.0.names()?.epoch(name(path)))
    }

    /// Whether a file, by its path, is of an epoch after `last` that does not count any more.
    pub(crate) fn is_later(&self, path: &str, last: Epoch) -> Result<bool> {
        Ok(self.0.names()?.is_later(name(path), last))
    }

    /// One line for EXPLAIN.
    pub(crate) fn describe(&self) -> String {
        self.0.describe()
    }
}

fn name(path: &str) -> &str {
    path.rsplit('/').next().unwrap_or(path)
}
