//! arrow-rs alone: this program itself, started to copy Parquet with nothing around the reader and
//! the writer.

use std::env;
use std::path::Path;

use super::{Into, Job, Program, Run, child, fresh_prefix, pinned, told_version};
use crate::bare_writer;
use crate::failure::{During, Result};
use crate::settings::{self, Settings};

/// The program. A job's query is the files that are read; its variable `THREADS` says how many
/// files are written at the same time.
#[derive(Debug)]
pub(crate) struct ArrowRs {
    cores: u32,
    version: String,
}

impl ArrowRs {
    /// Takes the cores.
    pub(crate) fn new(settings: &Settings) -> Self {
        Self {
            cores: settings.cores(),
            version: told_version(bare_writer::VERSION, cfg!(debug_assertions)),
        }
    }

    /// Copies, into a folder or below a prefix of the bucket.
    fn copy(&self, job: &Job, to: &str) -> Result<Run> {
        let this = env::current_exe().during("finding this program")?;
        let mut command = pinned(&this, self.cores);
        command
            .args([bare_writer::NAME, "--from", &job.fill(&job.query)])
            .args(["--threads", &job.fill("${THREADS}"), "--to", to]);
        if job.into == Into::Bucket {
            command
                .args(["--endpoint", &job.fill("${S3_ENDPOINT}")])
                .args(["--key", &job.fill("${S3_KEY}")])
                .args(["--secret", &job.fill("${S3_SECRET}")]);
        }
        let ended = child::run(command, "arrow-rs", None)?;
        ended.run()
    }

    /// A place in the bucket for a run.
    fn in_bucket(job: &Job) -> String {
        job.fill(&format!("s3://${{S3_BUCKET}}/{}", fresh_prefix()))
    }
}

impl Program for ArrowRs {
    fn version(&self) -> &str {
        &self.version
    }

    fn run(&mut self, job: &Job, _way: &str) -> Result<Run> {
        if job.into == Into::Bucket {
            return self.copy(job, &Self::in_bucket(job));
        }
        let folder = settings::scratch("arrow-rs-run")?;
        self.copy(job, &folder.display().to_string())
    }

    fn write(&mut self, job: &Job, folder: &Path) -> Result<String> {
        let to = if job.into == Into::Bucket {
            Self::in_bucket(job)
        } else {
            folder.display().to_string()
        };
        self.copy(job, &to).map(|_run| format!("{to}/**/*.parquet"))
    }
}
