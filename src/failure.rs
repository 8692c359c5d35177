//! How a command fails: what is told and with which exit code.

use std::fmt::Write as _;
use std::io;

use weir_engine::error::{Error, Kind, Place, codes};

/// Why a command ended early.
#[derive(Debug)]
pub enum Failure {
    /// Before a job ran: reading, parsing, planning.
    Script(Error),
    /// While a job or a query ran.
    Job(Error),
    /// The reader of the output went away (`weir sql ... | head`): a quiet end.
    Closed,
}

impl Failure {
    /// Gives the exit code: 0 done, 1 the job failed, 2 the command or the script is wrong.
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Closed => 0,
            Self::Script(error) if error.kind() == Kind::Invalid => 2,
            Self::Script(_) | Self::Job(_) => 1,
        }
    }

    /// Gives the error, unless it is a quiet end.
    pub fn error(&self) -> Option<&Error> {
        match self {
            Self::Script(error) | Self::Job(error) => Some(error),
            Self::Closed => None,
        }
    }

    /// Makes the failure of writing the output.
    pub fn output(error: io::Error) -> Self {
        if error.kind() == io::ErrorKind::BrokenPipe {
            return Self::Closed;
        }
        let message = "cannot write the output";
        Self::Job(Error::new(Kind::Limit, codes::DISK, message).caused_by(error))
    }
}

/// Renders an error for a terminal: the report, then the script's line with a caret under the
/// place, when it is known.
pub fn render(error: &Error, name: Option<&str>, script: Option<&str>) -> String {
    let mut text = error.report(name);
    let excerpt = script
        .zip(error.place())
        .and_then(|(script, place)| excerpt(script, place));
    if let Some(excerpt) = excerpt {
        text.push('\n');
        text.push_str(&excerpt);
    }
    text
}

/// Characters of a script line that are shown around the place.
const EXCERPT_CHARS_MAX: usize = 120;

fn excerpt(script: &str, place: Place) -> Option<String> {
    let line = script
        .lines()
        .nth(usize::try_from(place.line.checked_sub(1)?).ok()?)?;
    let column = usize::try_from(place.column.checked_sub(1)?).ok()?;
    if column > line.chars().count() {
        return None;
    }
    // A very long line is shown around the place only.
    let skipped = column.saturating_sub(EXCERPT_CHARS_MAX / 2);
    let shown: String = line.chars().skip(skipped).take(EXCERPT_CHARS_MAX).collect();
    // Tabs stay tabs, so that the caret stands under its character at any tab width.
    let lead: String = shown
        .chars()
        .take(column - skipped)
        .map(|c| if c == '\t' { '\t' } else { ' ' })
        .collect();
    let number = place.line.to_string();
    let gutter = " ".repeat(number.len());
    let mut text = String::new();
    // Writing into a String cannot fail.
    write!(
        text,
        " {gutter} |\n {number} | {shown}\n {gutter} | {lead}^"
    )
    .ok()?;
    Some(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error(line: u64, column: u64) -> Error {
        Error::new(Kind::Invalid, codes::SYNTAX, "expected a name")
            .hint("quote it")
            .at(Some(Place { line, column }))
    }

    #[test]
    fn the_place_is_shown_under_its_line() {
        let text = render(&error(2, 8), Some("a.sql"), Some("SELECT 1;\nSELECT\t;\n"));
        let expected = "error[E0101]: a.sql:2:8: expected a name\n  hint: quote it\n   |\n 2 | \
                        SELECT\t;\n   |       \t^";
        assert_eq!(text, expected);
    }

    #[test]
    fn a_place_outside_the_script_is_left_out() {
        for (line, column) in [(9, 1), (0, 0), (1, 99)] {
            let text = render(&error(line, column), None, Some("SELECT 1;"));
            assert!(!text.contains('^'), "{text}");
        }
    }

    #[test]
    fn a_long_line_is_cut_around_the_place() {
        let script = format!("SELECT {};", "é".repeat(5000));
        let text = render(&error(1, 4000), None, Some(&script));
        assert!(
            text.lines().all(|line| line.chars().count() < 140),
            "{text}"
        );
    }

    #[test]
    fn exit_codes_tell_the_script_from_the_job() {
        let invalid = || Error::new(Kind::Invalid, codes::SYNTAX, "no");
        let away = Error::new(Kind::Unavailable, codes::UNAVAILABLE, "no");
        assert_eq!(Failure::Script(invalid()).exit_code(), 2);
        assert_eq!(Failure::Script(away).exit_code(), 1);
        assert_eq!(Failure::Job(invalid()).exit_code(), 1);
        assert_eq!(
            Failure::output(io::ErrorKind::BrokenPipe.into()).exit_code(),
            0
        );
    }
}
