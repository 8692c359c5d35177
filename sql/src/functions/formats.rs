//! How texts of common kinds are written. What is checked is the form: not that an address can be reached.

/// The longest address of a mailbox, by RFC 5321.
const EMAIL_BYTES_MAX: usize = 254;
/// The longest part before the `@`.
const LOCAL_BYTES_MAX: usize = 64;

/// Whether it is `local@domain.tld`, without comments, quotes and addresses of numbers.
pub(super) fn is_email(text: &str) -> bool {
    let Some((local, domain)) = text.rsplit_once('@') else {
        return false;
    };
    let plain = |c: char| c.is_ascii_alphanumeric() || "!#$%&'*+/=?^_`{|}~-.".contains(c);
    let dots = !local.starts_with('.') && !local.ends_with('.') && !local.contains("..");
    text.len() <= EMAIL_BYTES_MAX
        && !local.is_empty()
        && local.len() <= LOCAL_BYTES_MAX
        && local.chars().all(plain)
        && dots
        && domain.contains('.')
        && is_host(domain)
}

/// Whether it is a name of a host: labels of letters, digits and hyphens.
pub(super) fn is_host(text: &str) -> bool {
    let label = |label: &str| {
        let inner = |b: u8| b.is_ascii_alphanumeric() || b == b'-';
        !label.is_empty()
            && label.len() <= 63
            && label.bytes().all(inner)
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    let last = text.rsplit('.').next().unwrap_or_default();
    let named = last.bytes().any(|b| b.is_ascii_alphabetic());
    text.len() <= 253 && named && text.split('.').all(label)
}

/// Whether it is `8-4-4-4-12` hexadecimal digits.
pub(super) fn is_uuid(text: &str) -> bool {
    let lengths = [8, 4, 4, 4, 12];
    let parts: Vec<&str> = text.split('-').collect();
    let fits = |(part, length): (&&str, usize)| {
        part.len() == length && part.bytes().all(|b| b.is_ascii_hexdigit())
    };
    parts.len() == lengths.len() && parts.iter().zip(lengths).all(fits)
}

/// Whether it is a telephone number as E.164 writes it: `+` and 7 to 15 digits, the first no 0.
pub(super) fn is_phone(text: &str) -> bool {
    let Some(digits) = text.strip_prefix('+') else {
        return false;
    };
    (7..=15).contains(&digits.len())
        && digits.bytes().all(|b| b.is_ascii_digit())
        && !digits.starts_with('0')
}

/// Whether it is base64 of the standard alphabet, padded.
pub(super) fn is_base64(text: &str) -> bool {
    let content = text.trim_end_matches('=');
    let padding = text.len() - content.len();
    !text.is_empty()
        && text.len().is_multiple_of(4)
        && padding <= 2
        && content
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b == b'+' || b == b'/')
}

/// Whether it is a version as Semantic Versioning 2.0 writes it.
pub(super) fn is_semver(text: &str) -> bool {
    let (rest, build) = cut(text, '+');
    let (core, before) = cut(rest, '-');
    let number = |part: &str| {
        !part.is_empty()
            && part.bytes().all(|b| b.is_ascii_digit())
            && (part == "0" || !part.starts_with('0'))
    };
    let word = |part: &str| {
        !part.is_empty() && part.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
    };
    let identifier =
        |part: &str| word(part) && (!part.bytes().all(|b| b.is_ascii_digit()) || number(part));
    core.split('.').count() == 3
        && core.split('.').all(number)
        && before.is_none_or(|before| before.split('.').all(identifier))
        && build.is_none_or(|build| build.split('.').all(word))
}

fn cut(text: &str, mark: char) -> (&str, Option<&str>) {
    match text.split_once(mark) {
        Some((before, behind)) => (before, Some(behind)),
        None => (text, None),
    }
}
