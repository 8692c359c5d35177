//! The pattern of a text: its characters by their kinds.

/// Characters of a pattern at most; what is longer is cut.
const LENGTH_MAX: usize = 40;

/// Letters become `A` or `a`, digits `9`, all else stays: `AB-12` is `AA-99`.
pub(super) fn of(text: &str) -> String {
    let kind = |character: char| match character {
        c if c.is_numeric() => '9',
        c if c.is_uppercase() => 'A',
        c if c.is_alphabetic() => 'a',
        other => other,
    };
    let mut pattern: String = text.chars().take(LENGTH_MAX).map(kind).collect();
    if text.chars().nth(LENGTH_MAX).is_some() {
        pattern.push('…');
    }
    pattern
}

/// The regular expression of texts with a pattern; `None` for one that was cut.
pub(super) fn expression(pattern: &str) -> Option<String> {
    if pattern.ends_with('…') || pattern.is_empty() {
        return None;
    }
    let mut expression = "^".to_owned();
    let mut rest = pattern.chars().peekable();
    while let Some(kind) = rest.next() {
        let mut times = 1;
        while rest.peek() == Some(&kind) {
            rest.next();
            times += 1;
        }
        let class = match kind {
            '9' => "[0-9]".to_owned(),
            'A' => "[A-Z]".to_owned(),
            'a' => "[a-z]".to_owned(),
            other => regex::escape(&other.to_string()),
        };
        expression.push_str(&class);
        if times > 1 {
            expression.push_str(&format!("{{{times}}}"));
        }
    }
    expression.push('$');
    Some(expression)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pattern_fits_the_text_that_it_is_of() {
        for text in ["AB-12.c", "2026-01-02", "x", "a (b) [c]", "A1b2"] {
            let expression = expression(&of(text)).unwrap();
            assert!(
                regex::Regex::new(&expression).unwrap().is_match(text),
                "{expression}"
            );
        }
        assert_eq!(of("AB-12"), "AA-99");
        assert_eq!(expression("AA-99").unwrap(), "^[A-Z]{2}\\-[0-9]{2}$");
        assert_eq!(expression(&of(&"x".repeat(50))), None);
    }
}
