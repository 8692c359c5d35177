//! `text IN ('a', 'b', ..)` for short texts: each is one word, found in a table without collisions.

use std::hash::{Hash, Hasher};
use std::sync::Arc;

use arrow::array::BooleanArray;
use arrow::buffer::BooleanBuffer;
use arrow::datatypes::DataType;
use datafusion::common::{DFSchema, Result as DfResult, exec_err};
use datafusion::logical_expr::expr::InList;
use datafusion::logical_expr::{
    ColumnarValue, Expr, ExprSchemable, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature,
    Volatility, not,
};

use super::text::{Text, Texts, WORD};
use super::text_of;

/// Texts of a list at most: the table of more would take long to make.
const TEXTS_MAX: usize = 64;
/// Factors that are tried for a table.
const TRIES: u64 = 1_000;
/// Slots of a table for each text at most.
const SLOTS_MAX: usize = 64;
/// In no text: a byte that none holds, and not as an end.
const EMPTY: u64 = u64::MAX >> 8;

/// `in_list(text)`, for one list.
#[derive(Debug, Clone)]
pub(super) struct ShortList {
    signature: Signature,
    texts: Vec<String>,
    slots: Vec<u64>,
    factor: u64,
    shift: u32,
}

impl PartialEq for ShortList {
    fn eq(&self, other: &Self) -> bool {
        self.texts == other.texts
    }
}

impl Eq for ShortList {}

impl Hash for ShortList {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.texts.hash(state);
    }
}

impl ShortList {
    /// The same result as an expression that looks for a text in a list of constants.
    pub(super) fn of(expr: &Expr, schema: &DFSchema) -> Option<Expr> {
        let Expr::InList(InList {
            expr: text,
            list,
            negated,
        }) = expr
        else {
            return None;
        };
        let texts = [DataType::Utf8, DataType::Utf8View];
        if !texts.contains(&text.get_type(schema).ok()?) {
            return None;
        }
        let list: Option<Vec<&str>> = list.iter().map(text_of).collect();
        let call = ScalarUDF::from(Self::try_new(&list?)?).call(vec![text.as_ref().clone()]);
        Some(if *negated { not(call) } else { call })
    }

    fn try_new(texts: &[&str]) -> Option<Self> {
        // A text of a whole word could be the beginning of a longer one.
        if texts.len() > TEXTS_MAX || texts.iter().any(|text| text.len() >= WORD) {
            return None;
        }
        let word = |text: &&str| {
            let (bytes, len) = (text.as_bytes(), text.len());
            Text { bytes, len }.word(0)
        };
        let mut words: Vec<u64> = texts.iter().map(word).collect();
        words.sort_unstable();
        words.dedup();
        let least = words.len().next_power_of_two().max(2);
        let sizes = std::iter::successors(Some(least), |size| Some(size * 2));
        let mut sizes = sizes.take_while(|size| *size <= least * SLOTS_MAX);
        let (factor, slots) = sizes.find_map(|size| table(&words, size))?;
        Some(Self {
            signature: Signature::any(1, Volatility::Immutable),
            texts: texts.iter().map(|text| (*text).to_owned()).collect(),
            shift: u64::BITS - slots.len().trailing_zeros(),
            slots,
            factor,
        })
    }

    fn has(&self, text: &Text<'_>) -> bool {
        let word = text.word(0);
        let slot = (word.wrapping_mul(self.factor) >> self.shift) as usize;
        self.slots.get(slot) == Some(&word)
    }
}

/// A table in which each word has a slot of its own, and the factor that leads there.
fn table(words: &[u64], size: usize) -> Option<(u64, Vec<u64>)> {
    let shift = u64::BITS - size.trailing_zeros();
    (0..TRIES).find_map(|number| {
        // Odd, and far apart.
        let factor = (2 * number + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        let mut slots = vec![EMPTY; size];
        for word in words {
            let slot = slots.get_mut((word.wrapping_mul(factor) >> shift) as usize)?;
            if *slot != EMPTY {
                return None;
            }
            *slot = *word;
        }
        Some((factor, slots))
    })
}

impl ScalarUDFImpl for ShortList {
    fn name(&self) -> &'static str {
        "in_list"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _types: &[DataType]) -> DfResult<DataType> {
        Ok(DataType::Boolean)
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> DfResult<ColumnarValue> {
        let Some(text) = args.args.first() else {
            return exec_err!("in_list needs a text");
        };
        let texts = text.to_array(args.number_rows)?;
        let mut rest = Texts::of(&texts);
        let found = BooleanBuffer::collect_bool(texts.len(), |_| {
            rest.next().is_some_and(|text| self.has(&text))
        });
        let found = BooleanArray::new(found, texts.nulls().cloned());
        Ok(ColumnarValue::Array(Arc::new(found)))
    }
}
