//! The lexical state of a text: inside which string, comment or quoted name it ends.
//!
//! The tokenizer stops at the first thing it does not understand and knows where the text ends,
//! not where the open quote stands; the shell has to know whether to ask for another line. Both
//! questions are answered here, by the tokenizer's own rules.

use std::iter::Peekable;
use std::str::Chars;

use weir_engine::error::Place;

/// What a text ends inside of, with the place where that starts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Open {
    pub(super) kind: OpenKind,
    pub(super) place: Place,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum OpenKind {
    Text,
    QuotedName,
    Comment,
    DollarText,
}

/// How a text ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct End {
    /// What is not terminated.
    pub(super) open: Option<Open>,
    /// Whether the last thing that is neither a space nor a comment is a `;`.
    pub(super) semicolon: bool,
    /// Whether there is nothing but spaces and comments.
    pub(super) blank: bool,
}

/// Reads a text to its end.
pub(super) fn scan(text: &str) -> End {
    let mut scanner = Scanner::new(text);
    let mut end = End {
        open: None,
        semicolon: false,
        blank: true,
    };
    // The characters of a word before a quote tell `E'...'` from a name that ends in e, and
    // `$tag$` from a `$` inside a name.
    let mut word = String::new();
    loop {
        let place = scanner.place();
        let Some(c) = scanner.next() else { return end };
        let open = match c {
            '-' if scanner.peek() == Some('-') => {
                scanner.line_comment();
                word.clear();
                continue;
            }
            '/' if scanner.peek() == Some('*') => {
                scanner.next();
                word.clear();
                if scanner.block_comment() {
                    continue;
                }
                Some(OpenKind::Comment)
            }
            '\'' => {
                let escapes = word.eq_ignore_ascii_case("e");
                (!scanner.quoted('\'', escapes)).then_some(OpenKind::Text)
            }
            '"' => (!scanner.quoted('"', false)).then_some(OpenKind::QuotedName),
            '$' if word.is_empty() => (!scanner.dollar_quoted()).then_some(OpenKind::DollarText),
            _ => None,
        };
        if let Some(kind) = open {
            end.open = Some(Open { kind, place });
            return end;
        }
        if c.is_alphanumeric() || c == '_' || c == '$' {
            word.push(c);
        } else {
            word.clear();
        }
        if !c.is_whitespace() {
            end.semicolon = c == ';';
            end.blank = false;
        }
    }
}

/// Returns whether a text is worth running: it ends with a `;` that is not inside a string, a
/// quoted name or a comment. The shell asks for another line until then.
pub fn is_complete(text: &str) -> bool {
    let end = scan(text);
    end.open.is_none() && (end.semicolon || end.blank)
}

struct Scanner<'t> {
    chars: Peekable<Chars<'t>>,
    place: Place,
}

impl<'t> Scanner<'t> {
    fn new(text: &'t str) -> Self {
        Self {
            chars: text.chars().peekable(),
            place: Place { line: 1, column: 1 },
        }
    }

    fn place(&self) -> Place {
        self.place
    }

    fn peek(&mut self) -> Option<char> {
        self.chars.peek().copied()
    }

    fn next(&mut self) -> Option<char> {
        let c = self.chars.next()?;
        advance(&mut self.place, c);
        Some(c)
    }

    fn line_comment(&mut self) {
        while let Some(c) = self.next() {
            if matches!(c, '\n' | '\r') {
                return;
            }
        }
    }

    /// Reads to the end of a comment after its `/*`; comments nest. False if it has no end.
    fn block_comment(&mut self) -> bool {
        let mut depth = 1_usize;
        while let Some(c) = self.next() {
            match (c, self.peek()) {
                ('/', Some('*')) => {
                    self.next();
                    depth += 1;
                }
                ('*', Some('/')) => {
                    self.next();
                    depth -= 1;
                    if depth == 0 {
                        return true;
                    }
                }
                _ => {}
            }
        }
        false
    }

    /// Reads to the closing quote; a doubled one is part of the text. False if it has no end.
    fn quoted(&mut self, quote: char, escapes: bool) -> bool {
        while let Some(c) = self.next() {
            if c == '\\' && escapes {
                self.next();
            } else if c == quote {
                if self.peek() != Some(quote) {
                    return true;
                }
                self.next();
            }
        }
        false
    }

    /// Reads `$tag$...$tag$` after its first `$`. Anything else that starts with `$` is left to
    /// the tokenizer. False if it has no end.
    fn dollar_quoted(&mut self) -> bool {
        let mut end = String::from("$");
        loop {
            match self.peek() {
                Some('$') => {
                    self.next();
                    end.push('$');
                    break;
                }
                Some(c) if c.is_alphanumeric() || c == '_' => {
                    self.next();
                    end.push(c);
                }
                _ => return true,
            }
        }
        let mut read = String::new();
        while let Some(c) = self.next() {
            read.push(c);
            if c == '$' && read.ends_with(&end) {
                return true;
            }
        }
        false
    }
}

/// Moves a place behind a character, as the tokenizer counts.
pub(super) fn advance(place: &mut Place, c: char) {
    if c == '\n' {
        place.line += 1;
        place.column = 1;
    } else {
        place.column += 1;
    }
}
