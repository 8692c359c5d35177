//! The suites. Each is a file with a type that has flags and a `run`, and a line in [`all`].

use clap::{ArgMatches, Args, Command};

use crate::failure::{During, Result};
use crate::settings::Settings;

mod anomaly;
mod batch;
mod checkpoint;
mod decode;
mod latency;
mod memory;
mod nexmark;
mod parquet;
mod quality;
mod scale;
mod window;

/// A suite: its fields are its flags, its doc comment is what `--help` says.
pub(crate) trait Suite: Args {
    /// Names the command and the file with the results.
    const NAME: &'static str;
    /// One line for `--help`.
    const ABOUT: &'static str;

    /// Prepares inputs, measures, reports; false when an answer was wrong or a run failed.
    fn run(&self, settings: &Settings) -> Result<bool>;
}

/// A suite as the command line knows it.
pub(crate) struct Entry {
    /// Its name.
    pub(crate) name: &'static str,
    about: &'static str,
    flags: fn(Command) -> Command,
    start: fn(&ArgMatches, &Settings) -> Result<bool>,
}

impl Entry {
    /// Its command.
    pub(crate) fn command(&self) -> Command {
        (self.flags)(Command::new(self.name).about(self.about))
    }

    /// Runs it with flags.
    pub(crate) fn run(&self, matches: &ArgMatches, settings: &Settings) -> Result<bool> {
        (self.start)(matches, settings)
    }

    /// Runs it with the defaults of its flags.
    pub(crate) fn run_as_it_is(&self, settings: &Settings) -> Result<bool> {
        let matches = self.command().try_get_matches_from([self.name]);
        self.run(&matches.during("taking the defaults")?, settings)
    }
}

/// Every suite, in the order in which `all` runs them.
pub(crate) fn all() -> Vec<Entry> {
    vec![
        entry::<window::Window>(),
        entry::<nexmark::Nexmark>(),
        entry::<batch::Batch>(),
        entry::<parquet::Parquet>(),
        entry::<decode::Decode>(),
        entry::<memory::Memory>(),
        entry::<scale::Scale>(),
        entry::<checkpoint::Checkpoint>(),
        entry::<latency::Latency>(),
        entry::<quality::Quality>(),
        entry::<anomaly::Anomaly>(),
    ]
}

fn entry<S: Suite>() -> Entry {
    Entry {
        name: S::NAME,
        about: S::ABOUT,
        flags: |command| S::augment_args(command),
        start: |matches, settings| {
            let suite = S::from_arg_matches(matches).during("reading flags")?;
            suite.run(settings)
        },
    }
}
