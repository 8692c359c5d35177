//! arrow-json, arrow-csv and arrow-avro alone: this program itself, started to decode files with
//! nothing around the decoder.

use std::env;
use std::path::Path;

use super::{Job, Program, Run, child, pinned, told_version};
use crate::bare_decoder;
use crate::failure::{During, Failure, Result};
use crate::settings::Settings;

/// The program. A job's sources are the folder, its query the table and the format.
#[derive(Debug)]
pub(crate) struct ArrowDecoders {
    cores: u32,
    version: String,
}

impl ArrowDecoders {
    /// Takes the cores.
    pub(crate) fn new(settings: &Settings) -> Self {
        Self {
            cores: settings.cores(),
            version: told_version(arrow::ARROW_VERSION, cfg!(debug_assertions)),
        }
    }

    fn decode(&self, job: &Job, into: Option<&Path>) -> Result<Run> {
        let this = env::current_exe().during("finding this program")?;
        let mut command = pinned(&this, self.cores);
        command.arg(bare_decoder::NAME).args(job.query.split(' '));
        command.arg(&job.sources);
        command.args(["--parallelism", &self.cores.to_string()]);
        if let Some(folder) = into {
            command.arg("--into").arg(folder);
        }
        let ended = child::run(command, "the decoder", None)?;
        let rows = ended.summary["rows"].as_u64();
        if rows < job.rows {
            let text = format!("the decoder read {rows:?} rows of {:?}", job.rows);
            return Err(Failure::new(text));
        }
        ended.run()
    }
}

impl Program for ArrowDecoders {
    fn version(&self) -> &str {
        &self.version
    }

    fn run(&mut self, job: &Job, _way: &str) -> Result<Run> {
        self.decode(job, None)
    }

    fn write(&mut self, job: &Job, folder: &Path) -> Result<String> {
        self.decode(job, Some(folder))?;
        Ok(format!("{}/*.parquet", folder.display()))
    }
}
