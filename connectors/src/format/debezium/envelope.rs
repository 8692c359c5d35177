//! Finds the parts of Debezium's messages: `{"schema":...,"payload":{...}}`, or the payload alone.
//!
//! Only the outermost members are looked at, and nothing is checked but what it takes to find where
//! each ends: what is inside is checked by who decodes it.

use memchr::memchr2;

/// The parts of a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Envelope<'a> {
    /// The description of the columns, if it is there.
    pub(super) schema: Option<&'a [u8]>,
    /// The event: `op`, `before`, `after`.
    pub(super) payload: &'a [u8],
}

impl<'a> Envelope<'a> {
    /// Finds the parts; `None` when the message is not an object.
    pub(super) fn find(message: &'a [u8]) -> Option<Self> {
        let (mut schema, mut payload, mut is_event) = (None, None, false);
        let mut at = skip_blanks(message, 0);
        if message.get(at) != Some(&b'{') {
            return None;
        }
        at = skip_blanks(message, at + 1);
        while message.get(at) != Some(&b'}') {
            let key_end = end_of_text(message, at)?;
            let key = message.get(at + 1..key_end - 1)?;
            at = skip_blanks(message, key_end);
            if message.get(at) != Some(&b':') {
                return None;
            }
            at = skip_blanks(message, at + 1);
            let end = end_of_value(message, at)?;
            let value = message.get(at..end)?;
            match key {
                b"schema" => schema = Some(value),
                b"payload" => payload = Some(value),
                b"op" => is_event = true,
                _ => {}
            }
            at = skip_blanks(message, end);
            match message.get(at)? {
                b',' => at = skip_blanks(message, at + 1),
                b'}' => {}
                _ => return None,
            }
        }
        if skip_blanks(message, at + 1) < message.len() {
            return None;
        }
        Some(match payload.filter(|_| !is_event) {
            Some(payload) => Self {
                schema: schema.filter(|schema| schema.starts_with(b"{")),
                payload,
            },
            None => Self {
                schema: None,
                payload: message,
            },
        })
    }
}

fn skip_blanks(text: &[u8], start: usize) -> usize {
    let rest = text.get(start..).unwrap_or_default();
    let blanks = rest.iter().take_while(|byte| byte.is_ascii_whitespace());
    start + blanks.count()
}

/// Where the text in quotes that starts at `start` ends.
fn end_of_text(text: &[u8], start: usize) -> Option<usize> {
    if text.get(start) != Some(&b'"') {
        return None;
    }
    let mut at = start + 1;
    loop {
        let found = at + memchr2(b'"', b'\\', text.get(at..)?)?;
        if text.get(found) == Some(&b'"') {
            return Some(found + 1);
        }
        at = found + 2;
    }
}

/// Where the value that starts at `start` ends.
fn end_of_value(text: &[u8], start: usize) -> Option<usize> {
    let mut depth = 0_usize;
    let mut at = start;
    loop {
        match text.get(at)? {
            b'"' => at = end_of_text(text, at)?,
            b'{' | b'[' => {
                depth += 1;
                at += 1;
                continue;
            }
            b'}' | b']' => {
                depth = depth.checked_sub(1)?;
                at += 1;
            }
            _ if depth > 0 => {
                at += 1;
                continue;
            }
            _ => {
                let rest = text.get(at..)?;
                let ends =
                    |byte: &u8| matches!(byte, b',' | b'}' | b']') || byte.is_ascii_whitespace();
                let length = rest.iter().position(ends)?;
                return (length > 0).then_some(at + length);
            }
        }
        if depth == 0 {
            return Some(at);
        }
    }
}
