//! Questions about a text that are answered by yes or no.

use std::hash::{Hash, Hasher};
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, BooleanArray};
use arrow::datatypes::DataType;
use datafusion::common::{DataFusionError, Result as DfResult, ScalarValue};
use datafusion::logical_expr::{
    ColumnarValue, ScalarFunctionArgs, ScalarUDFImpl, Signature, Volatility,
};

use super::{checksum, codes, formats, identities, json, network, personal};

/// A question.
type Test = fn(&str) -> bool;

/// A function of a text.
#[derive(Debug)]
pub(super) struct TextPredicate {
    name: &'static str,
    test: Test,
    signature: Signature,
}

/// The functions.
pub(super) fn predicates() -> impl Iterator<Item = TextPredicate> {
    let all: [(&'static str, Test); 24] = [
        ("not_blank", |text| !text.trim().is_empty()),
        ("is_email", formats::is_email),
        ("is_url", network::is_url),
        ("is_uuid", formats::is_uuid),
        ("is_ipv4", network::is_ipv4),
        ("is_ipv6", network::is_ipv6),
        ("is_cidr", network::is_cidr),
        ("is_mac", network::is_mac),
        ("is_phone_e164", formats::is_phone),
        ("is_iban", checksum::is_iban),
        ("luhn", checksum::luhn),
        ("is_credit_card", checksum::is_credit_card),
        ("is_country_code", codes::is_country),
        ("is_currency_code", codes::is_currency),
        ("is_language_code", codes::is_language),
        ("is_subdivision_code", identities::is_subdivision),
        ("is_us_ssn", identities::is_us_ssn),
        ("is_uk_nino", identities::is_uk_nino),
        ("is_in_aadhaar", identities::is_in_aadhaar),
        ("is_in_pan", identities::is_in_pan),
        ("is_base64", formats::is_base64),
        ("is_semver", formats::is_semver),
        ("json_valid", json::is_valid),
        ("contains_pii", personal::contains_pii),
    ];
    all.into_iter().map(|(name, test)| TextPredicate {
        name,
        test,
        signature: Signature::string(1, Volatility::Immutable),
    })
}

impl PartialEq for TextPredicate {
    fn eq(&self, other: &Self) -> bool {
        self.name == other.name
    }
}

impl Eq for TextPredicate {}

impl Hash for TextPredicate {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.name.hash(state);
    }
}

impl ScalarUDFImpl for TextPredicate {
    fn name(&self) -> &'static str {
        self.name
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _arg_types: &[DataType]) -> DfResult<DataType> {
        Ok(DataType::Boolean)
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> DfResult<ColumnarValue> {
        match args.args.first() {
            Some(ColumnarValue::Array(array)) => {
                Ok(ColumnarValue::Array(answer(array, self.test)?))
            }
            Some(ColumnarValue::Scalar(value)) => {
                let text = value.try_as_str().flatten();
                let answer = ScalarValue::Boolean(text.map(self.test));
                Ok(ColumnarValue::Scalar(answer))
            }
            None => Err(wrong(self.name)),
        }
    }
}

fn wrong(name: &str) -> DataFusionError {
    DataFusionError::Internal(format!("{name} takes one text"))
}

/// Asks of each text of an array.
fn answer(array: &ArrayRef, test: Test) -> DfResult<ArrayRef> {
    let answers: BooleanArray = match array.data_type() {
        DataType::Utf8 => array
            .as_string::<i32>()
            .iter()
            .map(|text| text.map(test))
            .collect(),
        DataType::LargeUtf8 => array
            .as_string::<i64>()
            .iter()
            .map(|text| text.map(test))
            .collect(),
        DataType::Utf8View => array
            .as_string_view()
            .iter()
            .map(|text| text.map(test))
            .collect(),
        other => return Err(DataFusionError::Internal(format!("{other} is no text"))),
    };
    Ok(Arc::new(answers))
}
