//! Questions about JSON. A text is read once and not kept.

use std::fmt;
use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, BooleanArray};
use arrow::compute::cast;
use arrow::datatypes::DataType;
use datafusion::common::{Result as DfResult, plan_err};
use datafusion::logical_expr::{
    ColumnarValue, ScalarFunctionArgs, ScalarUDFImpl, Signature, Volatility,
};
use serde::de::{Deserializer as _, IgnoredAny, MapAccess, Visitor};

/// Whether a text is one value of JSON.
pub(super) fn is_valid(text: &str) -> bool {
    serde_json::from_str::<IgnoredAny>(text).is_ok()
}

/// `json_has_keys(text, key, ...)`: whether it is an object with these keys, whatever their values are.
#[derive(Debug, PartialEq, Eq, Hash)]
pub(super) struct HasKeys {
    signature: Signature,
}

impl Default for HasKeys {
    fn default() -> Self {
        Self {
            signature: Signature::variadic(vec![DataType::Utf8], Volatility::Immutable),
        }
    }
}

impl ScalarUDFImpl for HasKeys {
    fn name(&self) -> &'static str {
        "json_has_keys"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, types: &[DataType]) -> DfResult<DataType> {
        if types.len() < 2 {
            return plan_err!("json_has_keys takes a text and one key or more");
        }
        Ok(DataType::Boolean)
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> DfResult<ColumnarValue> {
        let rows = args.number_rows;
        let arrays = args.args.into_iter().map(|value| {
            let array = value.into_array(rows)?;
            Ok(cast(&array, &DataType::Utf8)?)
        });
        let arrays = arrays.collect::<DfResult<Vec<ArrayRef>>>()?;
        let Some((text, keys)) = arrays.split_first() else {
            return plan_err!("json_has_keys takes a text and one key or more");
        };
        let texts = text.as_string::<i32>().iter().enumerate();
        let answers: BooleanArray = texts
            .map(|(row, text)| {
                let wanted = keys.iter().map(|key| {
                    let key = key.as_string::<i32>();
                    arrow::array::Array::is_valid(key, row).then(|| key.value(row))
                });
                let wanted = wanted.collect::<Option<Vec<&str>>>()?;
                Some(has_keys(text?, &wanted))
            })
            .collect();
        Ok(ColumnarValue::Array(Arc::new(answers)))
    }
}

fn has_keys(text: &str, wanted: &[&str]) -> bool {
    let mut reader = serde_json::Deserializer::from_str(text);
    let missing = reader.deserialize_map(Keys(wanted));
    missing.is_ok_and(|missing| missing == 0) && reader.end().is_ok()
}

/// Counts the wanted keys that an object does not have.
struct Keys<'a>(&'a [&'a str]);

impl<'de> Visitor<'de> for Keys<'_> {
    type Value = usize;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<usize, A::Error> {
        let mut found = vec![false; self.0.len()];
        while let Some(key) = map.next_key::<String>()? {
            map.next_value::<IgnoredAny>()?;
            for (found, wanted) in found.iter_mut().zip(self.0) {
                *found |= key == *wanted;
            }
        }
        Ok(found.iter().filter(|found| !**found).count())
    }
}
