//! Walks over one text of JSON by the letter of the standard.
//!
//! `None` means that the text is not plain here: arrow's decoder, which takes more than the
//! standard, then decides about it alone. What is read here it would read the same.

use std::borrow::Cow;

use memchr::memchr2;

/// How deep values that nobody asked for may lie in each other.
const DEPTH_MAX: u32 = 64;
/// Bytes that are compared at once.
const WORD: usize = 8;
/// So often, before a text counts as long.
const WORDS_MAX: usize = 2;

/// A place in a text.
#[derive(Debug)]
pub(super) struct Cursor<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Cursor<'a> {
    /// Stands at the start of a text, which is UTF-8.
    pub(super) fn new(text: &'a [u8]) -> Self {
        Self { bytes: text, at: 0 }
    }

    /// The byte here.
    #[inline]
    pub(super) fn peek(&self) -> Option<u8> {
        self.bytes.get(self.at).copied()
    }

    /// Whether nothing more comes.
    pub(super) fn is_at_end(&self) -> bool {
        self.at == self.bytes.len()
    }

    /// Goes over a byte if it is the one here.
    #[inline]
    pub(super) fn eat(&mut self, byte: u8) -> bool {
        let found = self.peek() == Some(byte);
        self.at += usize::from(found);
        found
    }

    /// Goes over a byte that must be here.
    #[inline]
    pub(super) fn must(&mut self, byte: u8) -> Option<()> {
        self.eat(byte).then_some(())
    }

    /// Goes over a byte that must be here, or behind blanks, which most producers leave out.
    #[inline]
    pub(super) fn must_after_blanks(&mut self, byte: u8) -> Option<()> {
        if self.eat(byte) {
            return Some(());
        }
        self.blanks();
        self.must(byte)
    }

    /// Goes over blanks.
    #[inline]
    pub(super) fn blanks(&mut self) {
        while matches!(self.peek(), Some(b' ' | b'\n' | b'\r' | b'\t')) {
            self.at += 1;
        }
    }

    /// Goes over `null`, `true`, `false` or other bytes that must be here.
    #[inline]
    pub(super) fn word(&mut self, word: &[u8]) -> Option<()> {
        let end = self.at + word.len();
        let is_here = are_same(self.bytes.get(self.at..end)?, word);
        is_here.then(|| self.at = end)
    }

    /// The text in the quotes that open here, as it is written; and whether it has escapes.
    #[inline]
    pub(super) fn quoted(&mut self) -> Option<(&'a [u8], bool)> {
        self.must(b'"')?;
        let start = self.at;
        let mut is_escaped = false;
        loop {
            let found = quote_or_escape(self.bytes, self.at)?;
            if self.bytes.get(found) == Some(&b'"') {
                self.at = found + 1;
                return Some((self.bytes.get(start..found)?, is_escaped));
            }
            is_escaped = true;
            self.at = found + 2;
        }
    }

    /// The text in the quotes that open here.
    #[inline]
    pub(super) fn string(&mut self) -> Option<Cow<'a, [u8]>> {
        let (raw, is_escaped) = self.quoted()?;
        if is_escaped {
            return unescape(raw).map(|text| Cow::Owned(text.into_bytes()));
        }
        Some(Cow::Borrowed(raw))
    }

    /// A number without fraction and exponent.
    #[inline]
    pub(super) fn integer(&mut self) -> Option<i64> {
        let is_negative = self.eat(b'-');
        let start = self.at;
        let (mut value, count) = self.bytes.get(start..).map_or((0, 0), leading_digits);
        self.at += count;
        while let Some(digit @ b'0'..=b'9') = self.peek() {
            value = value.wrapping_mul(10).wrapping_add(u64::from(digit - b'0'));
            self.at += 1;
        }
        let digits = self.at - start;
        // Nineteen digits fit; a leading zero is not JSON.
        let is_plain = (1..=19).contains(&digits)
            && (digits == 1 || self.bytes.get(start) != Some(&b'0'))
            && !self.is_in_number();
        if !is_plain {
            return None;
        }
        if is_negative {
            return 0_i64.checked_sub_unsigned(value);
        }
        i64::try_from(value).ok()
    }

    /// A number as it is written.
    pub(super) fn number(&mut self) -> Option<&'a [u8]> {
        let start = self.at;
        self.eat(b'-');
        if !self.eat(b'0') {
            self.digits()?;
        }
        if self.eat(b'.') {
            self.digits()?;
        }
        if self.eat(b'e') || self.eat(b'E') {
            if !self.eat(b'-') {
                self.eat(b'+');
            }
            self.digits()?;
        }
        if self.is_in_number() {
            return None;
        }
        self.bytes.get(start..self.at)
    }

    fn digits(&mut self) -> Option<()> {
        let start = self.at;
        while self.peek().is_some_and(|byte| byte.is_ascii_digit()) {
            self.at += 1;
        }
        (self.at > start).then_some(())
    }

    /// Whether the byte here would still be one of a number for arrow's decoder.
    fn is_in_number(&self) -> bool {
        matches!(
            self.peek(),
            Some(b'0'..=b'9' | b'-' | b'+' | b'.' | b'e' | b'E')
        )
    }

    /// Goes over a value that nobody asked for.
    pub(super) fn skip(&mut self) -> Option<()> {
        self.skip_at(DEPTH_MAX)
    }

    fn skip_at(&mut self, depth: u32) -> Option<()> {
        match self.peek()? {
            b'"' => self.skip_string(),
            b'{' => self.skip_members(depth, b'}'),
            b'[' => self.skip_members(depth, b']'),
            b'n' => self.word(b"null"),
            b't' => self.word(b"true"),
            b'f' => self.word(b"false"),
            _ => self.number().map(drop),
        }
    }

    fn skip_string(&mut self) -> Option<()> {
        let (raw, is_escaped) = self.quoted()?;
        // A wrong escape is wrong in a value that nobody asked for too.
        if is_escaped {
            unescape(raw).map(drop)
        } else {
            Some(())
        }
    }

    fn skip_members(&mut self, depth: u32, close: u8) -> Option<()> {
        let depth = depth.checked_sub(1)?;
        self.at += 1;
        self.blanks();
        if self.eat(close) {
            return Some(());
        }
        loop {
            if close == b'}' {
                self.skip_string()?;
                self.blanks();
                self.must(b':')?;
                self.blanks();
            }
            self.skip_at(depth)?;
            self.blanks();
            if self.eat(close) {
                return Some(());
            }
            self.must(b',')?;
            self.blanks();
        }
    }
}

/// Whether two slices of one length are the same. Keys are short: for them two comparisons, of the
/// first bytes and of the last, which may overlap, cost less than a call.
#[inline]
fn are_same(one: &[u8], other: &[u8]) -> bool {
    const HALF: usize = WORD / 2;
    match one.len() {
        HALF..WORD => {
            one.first_chunk::<HALF>() == other.first_chunk::<HALF>()
                && one.last_chunk::<HALF>() == other.last_chunk::<HALF>()
        }
        WORD..=16 => {
            one.first_chunk::<WORD>() == other.first_chunk::<WORD>()
                && one.last_chunk::<WORD>() == other.last_chunk::<WORD>()
        }
        _ => one == other,
    }
}

/// The number that up to eight digits at the start make, and how many they are; none near the end
/// of the bytes. Eight are looked at together, since a branch for each costs more.
#[inline]
fn leading_digits(bytes: &[u8]) -> (u64, usize) {
    const ZEROS: u64 = u64::from_ne_bytes([b'0'; WORD]);
    const UPPER: u64 = u64::from_ne_bytes([0xF0; WORD]);
    const SIX: u64 = u64::from_ne_bytes([6; WORD]);
    let Some(word) = bytes.first_chunk::<WORD>() else {
        return (0, 0);
    };
    // Of digits the upper half becomes zero, and stays so when six is added; all others set a bit
    // there. A carry only reaches bytes behind the first that is no digit.
    let word = u64::from_le_bytes(*word) ^ ZEROS;
    let other = (word | word.wrapping_add(SIX)) & UPPER;
    let count = other.trailing_zeros() / 8;
    if count == 0 {
        return (0, 0);
    }
    // The first digit is the lowest byte; before it zeros are put. Then neighbours are added up:
    // pairs of digits, pairs of those, and so on.
    let digits = word << (64 - 8 * count);
    let pairs = digits.wrapping_mul(10).wrapping_add(digits >> 8) & 0x00FF_00FF_00FF_00FF;
    let fours = pairs.wrapping_mul(100).wrapping_add(pairs >> 16) & 0x0000_FFFF_0000_FFFF;
    let value = fours.wrapping_mul(10_000).wrapping_add(fours >> 32) & 0xFFFF_FFFF;
    (value, count as usize)
}

/// Where the next quote or backslash is. Most texts are short: for them some bytes at a time cost
/// less than a call that is made for long ones.
#[inline]
fn quote_or_escape(bytes: &[u8], mut at: usize) -> Option<usize> {
    const ONES: u64 = u64::from_ne_bytes([1; WORD]);
    const HIGH: u64 = u64::from_ne_bytes([0x80; WORD]);
    const QUOTES: u64 = u64::from_ne_bytes([b'"'; WORD]);
    const ESCAPES: u64 = u64::from_ne_bytes([b'\\'; WORD]);
    // The lowest bit that this sets is of the first byte that is zero.
    let zeros = |word: u64| word.wrapping_sub(ONES) & !word & HIGH;
    for _ in 0..WORDS_MAX {
        let Some(word) = bytes.get(at..)?.first_chunk::<WORD>() else {
            break;
        };
        let word = u64::from_le_bytes(*word);
        let found = zeros(word ^ QUOTES) | zeros(word ^ ESCAPES);
        if found != 0 {
            return Some(at + found.trailing_zeros() as usize / 8);
        }
        at += WORD;
    }
    Some(at + memchr2(b'"', b'\\', bytes.get(at..)?)?)
}

/// The text that is written with escapes.
fn unescape(raw: &[u8]) -> Option<String> {
    let raw = std::str::from_utf8(raw).ok()?;
    let mut text = String::with_capacity(raw.len());
    let mut rest = raw;
    while let Some((plain, escape)) = rest.split_once('\\') {
        text.push_str(plain);
        let mut signs = escape.chars();
        let sign = match signs.next()? {
            sign @ ('"' | '\\' | '/') => sign,
            'b' => '\u{8}',
            'f' => '\u{c}',
            'n' => '\n',
            'r' => '\r',
            't' => '\t',
            'u' => {
                let (sign, after) = unicode(signs.as_str())?;
                signs = after.chars();
                sign
            }
            _ => return None,
        };
        text.push(sign);
        rest = signs.as_str();
    }
    text.push_str(rest);
    Some(text)
}

/// The sign of the digits behind `\u`, and what comes after them.
fn unicode(text: &str) -> Option<(char, &str)> {
    let (first, rest) = hex(text)?;
    if let Some(sign) = char::from_u32(first) {
        return Some((sign, rest));
    }
    let (second, rest) = hex(rest.strip_prefix("\\u")?)?;
    let is_pair = (0xD800..0xDC00).contains(&first) && (0xDC00..0xE000).contains(&second);
    let number = 0x1_0000 + ((first & 0x3FF) << 10) + (second & 0x3FF);
    Some((char::from_u32(number).filter(|_| is_pair)?, rest))
}

fn hex(text: &str) -> Option<(u32, &str)> {
    let (digits, rest) = text.split_at_checked(4)?;
    let are_digits = digits.bytes().all(|digit| digit.is_ascii_hexdigit());
    let number = u32::from_str_radix(digits, 16)
        .ok()
        .filter(|_| are_digits)?;
    Some((number, rest))
}
