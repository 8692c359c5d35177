//! `text ~ pattern` for patterns that begin with `^`: by a table of states, which is made once and not
//! for each batch.

use std::hash::{Hash, Hasher};
use std::sync::Arc;

use arrow::array::BooleanArray;
use arrow::buffer::BooleanBuffer;
use arrow::datatypes::DataType;
use datafusion::common::{DFSchema, Result as DfResult, exec_err};
use datafusion::logical_expr::{
    BinaryExpr, ColumnarValue, Expr, ExprSchemable, Operator, ScalarFunctionArgs, ScalarUDF,
    ScalarUDFImpl, Signature, Volatility, not,
};

use super::automaton::Automaton;
use super::text::Texts;
use super::text_of;

/// `regex_match(text, pattern)`, for one pattern.
#[derive(Debug)]
pub(super) struct RegexMatch {
    signature: Signature,
    pattern: String,
    automaton: Automaton,
}

impl PartialEq for RegexMatch {
    fn eq(&self, other: &Self) -> bool {
        self.pattern == other.pattern
    }
}

impl Eq for RegexMatch {}

impl Hash for RegexMatch {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.pattern.hash(state);
    }
}

impl RegexMatch {
    /// The same result as an expression that compares a text with a constant pattern. A pattern that
    /// does not compile is left to the operator, which says so.
    pub(super) fn of(expr: &Expr, schema: &DFSchema) -> Option<Expr> {
        let (left, op, right) = parts(expr)?;
        let pattern = text_of(right)?;
        let texts = [DataType::Utf8, DataType::Utf8View];
        if !texts.contains(&left.get_type(schema).ok()?) {
            return None;
        }
        let function = Self {
            signature: Signature::any(2, Volatility::Immutable),
            automaton: Automaton::of(pattern)?,
            pattern: pattern.to_owned(),
        };
        let arguments = vec![left.clone(), right.clone()];
        let call = ScalarUDF::from(function).call(arguments);
        Some(match op {
            Operator::RegexNotMatch => not(call),
            _ => call,
        })
    }

    /// Whether [`Self::of`] is worth a call.
    pub(super) fn may_be(expr: &Expr) -> bool {
        parts(expr).is_some_and(|(_, _, pattern)| text_of(pattern).is_some())
    }
}

fn parts(expr: &Expr) -> Option<(&Expr, Operator, &Expr)> {
    match expr {
        Expr::BinaryExpr(BinaryExpr { left, op, right }) => {
            let is_match = matches!(op, Operator::RegexMatch | Operator::RegexNotMatch);
            is_match.then_some((left, *op, right))
        }
        _ => None,
    }
}

impl ScalarUDFImpl for RegexMatch {
    fn name(&self) -> &'static str {
        "regex_match"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _types: &[DataType]) -> DfResult<DataType> {
        Ok(DataType::Boolean)
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> DfResult<ColumnarValue> {
        let Some(text) = args.args.first() else {
            return exec_err!("regex_match needs a text");
        };
        let texts = text.to_array(args.number_rows)?;
        let found = BooleanBuffer::from(self.automaton.matches(Texts::of(&texts)));
        let found = BooleanArray::new(found, texts.nulls().cloned());
        Ok(ColumnarValue::Array(Arc::new(found)))
    }
}
