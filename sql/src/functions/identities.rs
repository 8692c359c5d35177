//! Numbers by which states know persons, and the parts of countries. What is checked is the form and, where the
//! number carries one, its own check: not that it was given to somebody.

use super::codes;

fn is_digits(text: &str) -> bool {
    text.bytes().all(|b| b.is_ascii_digit())
}

/// A number of the social security of the United States: `123-45-6789`, or nine digits.
pub(super) fn is_us_ssn(text: &str) -> bool {
    let digits = match text.split('-').collect::<Vec<_>>().as_slice() {
        [whole] => (*whole).to_owned(),
        [area, group, serial] if [area.len(), group.len(), serial.len()] == [3, 2, 4] => {
            [*area, *group, *serial].concat()
        }
        _ => return false,
    };
    let (Some(area), Some(group), Some(serial)) =
        (digits.get(..3), digits.get(3..5), digits.get(5..))
    else {
        return false;
    };
    digits.len() == 9
        && is_digits(&digits)
        && area != "000"
        && area != "666"
        && !area.starts_with('9')
        && group != "00"
        && serial != "0000"
}

/// A National Insurance number of the United Kingdom: two letters, six digits, A to D. Spaces don't count.
pub(super) fn is_uk_nino(text: &str) -> bool {
    let marks: String = text.chars().filter(|c| *c != ' ').collect();
    let (Some(prefix), Some(digits), Some(suffix)) =
        (marks.get(..2), marks.get(2..8), marks.get(8..))
    else {
        return false;
    };
    let letter = |c: char, no: &str| c.is_ascii_uppercase() && !no.contains(c);
    let mut letters = prefix.chars();
    letters.next().is_some_and(|c| letter(c, "DFIQUV"))
        && letters.next().is_some_and(|c| letter(c, "DFIOQUV"))
        && !["BG", "GB", "KN", "NK", "NT", "TN", "ZZ"].contains(&prefix)
        && is_digits(digits)
        && ["A", "B", "C", "D"].contains(&suffix)
}

/// An Aadhaar number of India: twelve digits, the first from 2 on, checked by Verhoeff's rule. Spaces and hyphens
/// don't count.
pub(super) fn is_in_aadhaar(text: &str) -> bool {
    let marks: String = text.chars().filter(|c| *c != ' ' && *c != '-').collect();
    marks.len() == 12 && is_digits(&marks) && !marks.starts_with(['0', '1']) && verhoeff(&marks)
}

/// A permanent account number of India: five letters, the fourth of which says what the holder is, four digits, a
/// letter.
pub(super) fn is_in_pan(text: &str) -> bool {
    let (Some(letters), Some(digits), Some(last)) = (text.get(..5), text.get(5..9), text.get(9..))
    else {
        return false;
    };
    let upper = |text: &str| text.bytes().all(|b| b.is_ascii_uppercase());
    upper(letters)
        && letters
            .chars()
            .nth(3)
            .is_some_and(|c| "ABCFGHJLPT".contains(c))
        && is_digits(digits)
        && last.len() == 1
        && upper(last)
}

/// A code of the form of ISO 3166-2: a country of ISO 3166-1, a hyphen, one to three letters or digits.
pub(super) fn is_subdivision(text: &str) -> bool {
    let Some((country, part)) = text.split_once('-') else {
        return false;
    };
    let mark = |b: u8| b.is_ascii_uppercase() || b.is_ascii_digit();
    country.len() == 2
        && codes::is_country(country)
        && (1..=3).contains(&part.len())
        && part.bytes().all(mark)
}

/// Whether the last digit checks the others: a product in the dihedral group of ten elements is its unit.
fn verhoeff(digits: &str) -> bool {
    // A digit is moved by its place, counted from the right.
    let moved = |digit: u8, times: usize| {
        const TURN: [u8; 10] = [1, 5, 7, 6, 2, 8, 3, 0, 9, 4];
        (0..times % 8).fold(digit, |digit, _| {
            TURN.get(usize::from(digit)).copied().unwrap_or(0)
        })
    };
    let product = |a: u8, b: u8| match (a < 5, b < 5) {
        (true, true) => (a + b) % 5,
        (true, false) => (a + b - 5) % 5 + 5,
        (false, true) => (a + 5 - b) % 5 + 5,
        (false, false) => (a + 5 - b) % 5,
    };
    let places = digits.bytes().rev().enumerate();
    places.fold(0, |sum, (at, byte)| product(sum, moved(byte - b'0', at))) == 0
}
