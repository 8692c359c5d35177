//! Numbers that carry their own check.

/// Whether the last digit checks the others by Luhn's rule. Spaces and hyphens don't count.
pub(super) fn luhn(text: &str) -> bool {
    match digits(text) {
        Some(digits) => digits.len() > 1 && luhn_sum(&digits).is_multiple_of(10),
        None => false,
    }
}

/// Whether it is a number of a payment card: 12 to 19 digits that Luhn's rule checks.
pub(super) fn is_credit_card(text: &str) -> bool {
    let Some(digits) = digits(text) else {
        return false;
    };
    (12..=19).contains(&digits.len())
        && digits.iter().any(|digit| *digit != 0)
        && luhn_sum(&digits).is_multiple_of(10)
}

fn digits(text: &str) -> Option<Vec<u32>> {
    let marks = text.chars().filter(|c| *c != ' ' && *c != '-');
    marks.map(|c| c.to_digit(10)).collect()
}

fn luhn_sum(digits: &[u32]) -> u32 {
    let doubled = |digit: u32| if digit > 4 { 2 * digit - 9 } else { 2 * digit };
    let each = digits.iter().rev().enumerate();
    each.map(|(at, digit)| if at % 2 == 1 { doubled(*digit) } else { *digit })
        .sum()
}

/// How long the numbers of each country are.
const IBAN_LENGTHS: &str = "AD24 AE23 AL28 AT20 AZ28 BA20 BE16 BG22 BH22 BI27 BR29 BY28 CH21 CR22 CY28 \
    CZ24 DE22 DJ27 DK18 DO28 EE20 EG29 ES24 FI18 FK18 FO18 FR27 GB22 GE22 GI23 GL18 GR27 GT28 HN28 \
    HR21 HU28 IE22 IL23 IQ23 IS26 IT27 JO30 KW30 KZ20 LB28 LC32 LI21 LT20 LU20 LV21 LY25 MC27 MD24 \
    ME22 MK19 MN20 MR27 MT31 MU30 NI28 NL18 NO15 OM23 PK24 PL28 PS29 PT25 QA29 RO24 RS22 RU33 SA24 \
    SC31 SD18 SE24 SI19 SK24 SM27 SO23 ST25 SV28 TL23 TN24 TR26 UA29 VA22 VG24 XK20 YE30";

/// Whether it is an account number by ISO 13616: of a known country, as long as there, and checked
/// by its second pair of characters. Spaces don't count.
pub(super) fn is_iban(text: &str) -> bool {
    let marks: Vec<u8> = text.bytes().filter(|b| *b != b' ').collect();
    let known = |entry: &str| {
        let (country, length) = entry.split_at_checked(2).unwrap_or_default();
        marks.starts_with(country.as_bytes()) && length.parse() == Ok(marks.len())
    };
    let upper = marks
        .iter()
        .all(|b| b.is_ascii_digit() || b.is_ascii_uppercase());
    let checks = marks.iter().skip(2).take(2).all(u8::is_ascii_digit);
    if !(upper && checks && IBAN_LENGTHS.split_whitespace().any(known)) {
        return false;
    }
    let turned = marks.iter().skip(4).chain(marks.iter().take(4));
    let rest = turned.fold(0_u32, |rest, mark| match mark {
        b'0'..=b'9' => (rest * 10 + u32::from(mark - b'0')) % 97,
        letter => (rest * 100 + u32::from(letter - b'A') + 10) % 97,
    });
    rest == 1
}
