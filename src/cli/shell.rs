//! The shell of `weir sql`: reads statements with history and several lines, and goes on after
//! errors.

use std::io::{self, Write as _};
use std::path::PathBuf;

use rustyline::config::Configurer as _;
use rustyline::error::ReadlineError;
use rustyline::history::FileHistory;
use rustyline::{Config, Editor};
use weir_engine::error::{Error, Kind, codes};

use super::complete::Helper;
use super::sql::Console;
use super::{Script, say, tell};
use crate::failure::Failure;

const PROMPT: &str = "weir> ";
/// Entries of the history file.
const HISTORY_MAX: usize = 1_000;

const HELP: &str = "\
Statements end with ; and may take several lines.
  CREATE SOURCE t WITH (connector = 'file', path = 'data/*.csv');   DESCRIBE t;
  SELECT ... ;   EXPLAIN SELECT ... ;   SHOW SOURCES;   SHOW SETTINGS;   SET name = value;
  CREATE SINK s WITH (connector = 'file', path = 'out/', format = 'parquet') AS SELECT ... ;

  \\?  help      \\q  quit (or Ctrl-D)      Ctrl-C  clears the line, or ends a query
";

/// Reads and executes until the end of input. Only a broken terminal is a failure.
pub(super) fn run(console: &mut Console) -> Result<(), Failure> {
    let mut editor = editor(console).map_err(|error| Failure::Job(terminal(error)))?;
    let history = history_file();
    if let Some(history) = &history {
        // The first run has none yet.
        drop(editor.load_history(history));
    }
    say(&format!(
        "weir {}. \\? for help, \\q to quit.\n",
        env!("CARGO_PKG_VERSION")
    ))?;
    loop {
        match editor.readline(PROMPT) {
            Ok(text) => {
                let trimmed = text.trim();

                if !trimmed.is_empty() {
                    // A history that cannot be kept is no reason to stop.
                    drop(editor.add_history_entry(trimmed));
                }
                match trimmed {
                    "" => {}
                    "\\q" | "quit" | "exit" | "quit;" | "exit;" => break,
                    "\\?" | "\\h" | "help" | "help;" => say(HELP)?,
                    _ => execute(console, text)?,
                }
                if let Some(helper) = editor.helper_mut() {
                    helper.names = console.program.names();
                }
            }
            Err(ReadlineError::Interrupted) => {}
            Err(ReadlineError::Eof) => break,
            Err(error) => return Err(Failure::Job(terminal(error))),
        }
    }
    if let Some(history) = &history {
        save(&mut editor, history);
    }
    Ok(())
}

/// Executes the statements of one input; the first that fails ends it, not the shell.
fn execute(console: &mut Console, text: String) -> Result<(), Failure> {
    let script = Script { name: None, text };
    if script.text.trim_start().starts_with('\\') {
        drop(writeln!(
            io::stderr().lock(),
            "unknown command: \\? shows what there is"
        ));
        return Ok(());
    }
    let result = console.program.parse(&script.text).and_then(|statements| {
        statements
            .iter()
            .try_for_each(|statement| console.execute(statement))
    });
    match result {
        Err(Failure::Closed) => Err(Failure::Closed),
        Err(Failure::Script(error) | Failure::Job(error)) => {
            tell(&error, &script);
            Ok(())
        }
        Ok(()) => Ok(()),
    }
}

fn editor(console: &mut Console) -> rustyline::Result<Editor<Helper, FileHistory>> {
    let config = Config::builder().auto_add_history(false).build();
    let mut editor = Editor::with_config(config)?;
    editor.set_max_history_size(HISTORY_MAX)?;
    editor.set_history_ignore_dups(true)?;
    // As in other shells: what starts with a space is not kept, for lines with a password.
    editor.set_history_ignore_space(true);
    editor.set_helper(Some(Helper {
        names: console.program.names(),
    }));
    Ok(editor)
}

/// The history is kept for the user, where the system has a place for such data.
fn history_file() -> Option<PathBuf> {
    Some(dirs::data_dir()?.join("weir").join("history"))
}

fn save(editor: &mut Editor<Helper, FileHistory>, history: &std::path::Path) {
    let folder = history.parent().map_or(Ok(()), std::fs::create_dir_all);
    let saved = folder
        .map_err(ReadlineError::from)
        .and_then(|()| editor.save_history(history));
    if let Err(error) = saved {
        tracing::warn!(%error, file = %history.display(), "the history could not be saved");
    }
}

fn terminal(error: ReadlineError) -> Error {
    Error::new(Kind::Limit, codes::LIMIT, "cannot read from the terminal").caused_by(error)
}
