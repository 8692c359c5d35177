//! Whether a text holds what tells of a person: an address of mail, the number of a payment card or an
//! account, a social security number, a telephone number. By form and checksum alone: a name is not found.

use super::checksum::{is_credit_card, is_iban};
use super::formats::{is_email, is_phone};
use super::identities::is_us_ssn;

/// Marks around words that are no part of them.
const AROUND: &[char] = &[
    ',', ';', '.', '!', '?', '(', ')', '[', ']', '<', '>', '"', '\'', ':',
];

/// Whether one of its parts is such a thing.
pub(super) fn contains_pii(text: &str) -> bool {
    let words = text.split(|c: char| c.is_whitespace() || "<>,;()\"'".contains(c));
    let word = |word: &str| {
        let word = word.trim_matches(AROUND);
        let word = word.strip_prefix("mailto:").unwrap_or(word);
        is_email(word) || is_iban(word) || is_phone(word) || word.contains('-') && is_us_ssn(word)
    };
    words.into_iter().any(word) || numbers(text).any(is_number_of_person) || ibans(text)
}

/// Stretches of digits with spaces, hyphens and points between groups of them.
fn numbers(text: &str) -> impl Iterator<Item = &str> {
    let parts = text.split(|c: char| !(c.is_ascii_digit() || " -.+".contains(c)));
    parts.map(|part| part.trim_matches([' ', '-', '.']))
}

fn is_number_of_person(number: &str) -> bool {
    let digits: String = number.chars().filter(char::is_ascii_digit).collect();
    match number.strip_prefix('+') {
        Some(_) => is_phone(&format!("+{digits}")),
        None => digits.len() >= 13 && is_credit_card(&digits),
    }
}

/// An account number in groups of four.
fn ibans(text: &str) -> bool {
    let words: Vec<&str> = text.split_whitespace().collect();
    let starts = |word: &str| {
        let mark = |at: usize| word.as_bytes().get(at).copied().unwrap_or_default();
        word.len() == 4 && mark(0).is_ascii_uppercase() && mark(2).is_ascii_digit()
    };
    words.iter().enumerate().any(|(at, word)| {
        let rest = words.get(at..).unwrap_or_default();
        starts(word)
            && (4..=9).any(|count| {
                let group = rest.get(..count).unwrap_or_default();
                is_iban(group.concat().trim_matches(AROUND))
            })
    })
}
