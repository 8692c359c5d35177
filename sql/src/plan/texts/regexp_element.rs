//! `(regexp_match(text, pattern))[n]` without the list: one group of each match is copied, the
//! pattern is compiled once and not for each batch, and texts that come again are remembered.

use std::collections::HashMap;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

use arrow::array::{Array, AsArray, StringArray, StringBuilder};
use arrow::datatypes::DataType;
use datafusion::common::hash_utils::RandomState;
use datafusion::common::{DFSchema, Result as DfResult, exec_err};
use datafusion::logical_expr::{
    ColumnarValue, Expr, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility,
};
use parking_lot::Mutex;
use regex::{CaptureLocations, Regex};

use super::{arguments, is_text, number_of, text_of};

/// Texts that one thread remembers of a pattern, with their bytes.
const TEXTS_KEPT_MAX: usize = 1 << 14;
const BYTES_KEPT_MAX: usize = 4 << 20;
/// Texts that are looked up before it is judged whether remembering them pays.
const LOOKED_UP_MIN: u64 = 1 << 15;
/// One of so many must have been there already.
const FOUND_SHARE: u64 = 4;

/// `regexp_match_nth(text, pattern, n)`, for one pattern and number.
#[derive(Debug)]
pub(super) struct RegexpElement {
    signature: Signature,
    regex: Regex,
    number: usize,
    /// One for each thread that has called it at the same time as others.
    matchers: Mutex<Vec<Matcher>>,
}

impl PartialEq for RegexpElement {
    fn eq(&self, other: &Self) -> bool {
        self.regex.as_str() == other.regex.as_str() && self.number == other.number
    }
}

impl Eq for RegexpElement {}

impl Hash for RegexpElement {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.regex.as_str().hash(state);
        self.number.hash(state);
    }
}

impl RegexpElement {
    /// The same result as an expression that takes one element of a match with a constant pattern.
    /// A pattern that does not compile is left to the function that says so.
    pub(super) fn of(expr: &Expr, schema: &DFSchema) -> Option<Expr> {
        let [call, nth] = arguments(expr, "array_element")? else {
            return None;
        };
        let [text, regexp] = arguments(call, "regexp_match")? else {
            return None;
        };
        let number = number_of(nth).filter(|number| *number > 0)?;
        // An empty pattern matches in a way of its own.
        let pattern = text_of(regexp).filter(|pattern| !pattern.is_empty())?;
        if !is_text(text, schema) {
            return None;
        }
        let function = Self {
            signature: Signature::any(3, Volatility::Immutable),
            regex: Regex::new(pattern).ok()?,
            number,
            matchers: Mutex::default(),
        };
        Some(ScalarUDF::from(function).call(vec![text.clone(), regexp.clone(), nth.clone()]))
    }
}

impl ScalarUDFImpl for RegexpElement {
    fn name(&self) -> &'static str {
        "regexp_match_nth"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _types: &[DataType]) -> DfResult<DataType> {
        Ok(DataType::Utf8)
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> DfResult<ColumnarValue> {
        let Some(text) = args.args.first() else {
            return exec_err!("regexp_match_nth needs a text");
        };
        let texts = text.to_array(args.number_rows)?;
        let kept = self.matchers.lock().pop();
        let mut matcher = kept.unwrap_or_else(|| Matcher::new(&self.regex, self.number));
        let found = matcher.elements(texts.as_string());
        self.matchers.lock().push(matcher);
        Ok(ColumnarValue::Array(Arc::new(found)))
    }
}

/// Where in a text the element is, in bytes.
type Place = Option<(u32, u32)>;

/// What a thread needs to match texts.
#[derive(Debug)]
struct Matcher {
    regex: Regex,
    number: usize,
    groups: CaptureLocations,
    /// `None` once it has shown not to pay.
    kept: Option<HashMap<Box<str>, Place, RandomState>>,
    bytes: usize,
    looked_up: u64,
    found: u64,
}

impl Matcher {
    fn new(regex: &Regex, number: usize) -> Self {
        Self {
            regex: regex.clone(),
            number,
            groups: regex.capture_locations(),
            kept: Some(HashMap::default()),
            bytes: 0,
            looked_up: 0,
            found: 0,
        }
    }

    fn elements(&mut self, texts: &StringArray) -> StringArray {
        if self.looked_up >= LOOKED_UP_MIN && self.found < self.looked_up / FOUND_SHARE {
            self.kept = None;
        }
        let mut elements = StringBuilder::with_capacity(texts.len(), texts.len() * 8);
        for text in texts {
            let element = text.and_then(|text| {
                let (start, end) = self.place(text)?;
                text.get(start as usize..end as usize)
            });
            elements.append_option(element);
        }
        elements.finish()
    }

    fn place(&mut self, text: &str) -> Place {
        let Some(kept) = &mut self.kept else {
            return self.find(text);
        };
        self.looked_up += 1;
        if let Some(place) = kept.get(text) {
            self.found += 1;
            return *place;
        }
        if kept.len() >= TEXTS_KEPT_MAX || self.bytes + text.len() > BYTES_KEPT_MAX {
            kept.clear();
            self.bytes = 0;
        }
        let place = self.find(text);
        if let Some(kept) = &mut self.kept {
            kept.insert(text.into(), place);
            self.bytes += text.len();
        }
        place
    }

    /// As `regexp_match` has it, groups that took no part are left out, and a pattern without groups
    /// gives the whole match.
    fn find(&mut self, text: &str) -> Place {
        self.regex.captures_read(&mut self.groups, text)?;
        let first = usize::from(self.groups.len() > 1);
        let groups = (first..self.groups.len()).filter_map(|group| self.groups.get(group));
        let (start, end) = groups.into_iter().nth(self.number - 1)?;
        Some((u32::try_from(start).ok()?, u32::try_from(end).ok()?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn matcher() -> Matcher {
        Matcher::new(&Regex::new("([0-9]+)x").unwrap(), 1)
    }

    fn check(matcher: &mut Matcher, numbers: impl Iterator<Item = usize>) {
        let numbers: Vec<String> = numbers.map(|number| number.to_string()).collect();
        let texts: StringArray = numbers.iter().map(|n| Some(format!("a{n}x"))).collect();
        let expected: StringArray = numbers.iter().map(Some).collect();
        assert_eq!(matcher.elements(&texts), expected);
    }

    #[test]
    fn texts_that_come_again_are_remembered_within_bounds() {
        let mut matcher = matcher();
        for round in 0..10 {
            check(&mut matcher, (0..20_000).map(|n| (n * 7 + round) % 5_000));
        }
        assert_eq!(matcher.kept.as_ref().map(HashMap::len), Some(5_000));
        check(&mut matcher, 10_000..10_000 + TEXTS_KEPT_MAX);
        let kept = matcher.kept.as_ref().unwrap();
        let bytes: usize = kept.keys().map(|text| text.len()).sum();
        assert!(kept.len() <= TEXTS_KEPT_MAX && matcher.bytes == bytes);
    }

    #[test]
    fn texts_that_never_come_again_are_not() {
        let mut matcher = matcher();
        for round in 0..10 {
            check(&mut matcher, round * 10_000..(round + 1) * 10_000);
        }
        assert!(matcher.kept.is_none());
    }
}
