//! What helps while a statement is typed: the end of a statement is known, and words complete.

use rustyline::Context;
use rustyline::completion::Completer;
use rustyline::highlight::Highlighter;
use rustyline::hint::Hinter;
use rustyline::validate::{ValidationContext, ValidationResult, Validator};
use weir_sql::parse::{KEYWORDS, is_complete};

/// Knows the names of the catalog.
#[derive(Debug)]
pub(super) struct Helper {
    pub(super) names: Vec<String>,
}

impl Validator for Helper {
    fn validate(&self, context: &mut ValidationContext<'_>) -> rustyline::Result<ValidationResult> {
        Ok(if ends(context.input()) {
            ValidationResult::Valid(None)
        } else {
            ValidationResult::Incomplete
        })
    }
}

/// Whether Enter runs what is typed, instead of starting a further line.
fn ends(input: &str) -> bool {
    let trimmed = input.trim();
    let is_word = trimmed.starts_with('\\') || matches!(trimmed, "" | "quit" | "exit" | "help");
    is_word || is_complete(input)
}

impl Completer for Helper {
    type Candidate = String;

    fn complete(
        &self,
        line: &str,
        position: usize,
        _: &Context<'_>,
    ) -> rustyline::Result<(usize, Vec<String>)> {
        let typed = line
            .split_at_checked(position)
            .map_or(line, |(typed, _)| typed);
        Ok(candidates(typed, &self.names))
    }
}

/// Gives the byte at which the last word starts, and what it may become.
fn candidates(typed: &str, names: &[String]) -> (usize, Vec<String>) {
    let is_word = |c: char| c.is_alphanumeric() || c == '_';
    let word = typed.rsplit(|c| !is_word(c)).next().unwrap_or_default();
    let start = typed.len() - word.len();
    if word.is_empty() {
        return (start, Vec::new());
    }
    let lower = word.to_lowercase();
    let fits = |known: &str| known.to_lowercase().starts_with(&lower);
    let mut found: Vec<String> = names.iter().filter(|name| fits(name)).cloned().collect();
    // Keywords follow the case in which the word was begun.
    let is_lower = word.chars().next().is_some_and(char::is_lowercase);
    let keywords = KEYWORDS.iter().filter(|keyword| fits(keyword));
    found.extend(keywords.map(|word| {
        if is_lower {
            word.to_lowercase()
        } else {
            (*word).into()
        }
    }));
    (start, found)
}

impl Hinter for Helper {
    type Hint = String;
}

impl Highlighter for Helper {}

impl rustyline::Helper for Helper {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_word_completes_to_names_and_keywords() {
        let names = ["trips".to_owned(), "Tweets".to_owned()];
        let found = |typed| candidates(typed, &names);
        let (start, words) = found("select * from t");
        assert_eq!(start, 14);
        assert_eq!(
            words.iter().take(2).collect::<Vec<_>>(),
            ["trips", "Tweets"]
        );
        assert!(words.contains(&"tumble".to_owned()), "{words:?}");
        assert_eq!(found("SELECT é, TRI"), (11, vec!["trips".to_owned()]));
        assert_eq!(found("SELECT "), (7, vec![]));
    }

    #[test]
    fn statements_end_with_a_semicolon() {
        for (input, expected) in [
            ("", true),
            ("\\q", true),
            ("SELECT 1", false),
            ("SELECT ';", false),
            ("SELECT ';';", true),
            ("SELECT 1; -- done", true),
        ] {
            assert_eq!(ends(input), expected, "{input}");
        }
    }
}
