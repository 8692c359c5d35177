//! `distance_psi(distribution, 'REFERENCE baseline(column)')` and the like: what `psi(x, REFERENCE baseline)` becomes.

use std::hash::{Hash, Hasher};
use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, Float64Array};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Field, FieldRef};
use datafusion::common::{Result as DfResult, exec_err};
use datafusion::logical_expr::{
    ColumnarValue, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDFImpl, Signature, Volatility,
};

use weir_engine::error::{Error, Kind, codes};

use super::{Baselines, Distance, Distribution};

/// What the names of the functions begin with.
pub(crate) const PREFIX: &str = "distance_";

/// A distance to a distribution that is known by its name.
#[derive(Debug)]
pub(super) struct Compare {
    name: String,
    distance: Distance,
    baselines: Arc<Baselines>,
    signature: Signature,
}

impl Compare {
    pub(super) fn of(name: &str, distance: Distance, baselines: Arc<Baselines>) -> Self {
        Self {
            name: format!("{PREFIX}{name}"),
            distance,
            baselines,
            signature: Signature::any(2, Volatility::Immutable),
        }
    }
}

impl Compare {
    fn unlike(&self, now: bool, reference: bool, name: &str) -> Error {
        let kind = |numbers| if numbers { "numbers" } else { "no numbers" };
        let function = self.name.trim_start_matches(PREFIX);
        let message = match now == reference {
            true => format!("{function} compares numbers, and the values are none"),
            false => format!(
                "{function} compares {} with {}: {name}",
                kind(now),
                kind(reference)
            ),
        };
        let hint = "psi, kl, js, chi2 and l_inf compare texts too; both sides are numbers or times, or both are not";
        Error::new(Kind::Invalid, codes::TYPE, message).hint(hint)
    }
}

impl PartialEq for Compare {
    fn eq(&self, other: &Self) -> bool {
        self.distance == other.distance && Arc::ptr_eq(&self.baselines, &other.baselines)
    }
}

impl Eq for Compare {}

impl Hash for Compare {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.distance.hash(state);
    }
}

impl ScalarUDFImpl for Compare {
    fn name(&self) -> &str {
        &self.name
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _types: &[DataType]) -> DfResult<DataType> {
        Ok(DataType::Float64)
    }

    fn return_field_from_args(&self, args: ReturnFieldArgs<'_>) -> DfResult<FieldRef> {
        let is_of_numbers = args
            .arg_fields
            .first()
            .map(|field| *field.data_type() == DataType::Binary);
        let name = args.scalar_arguments.get(1).copied().flatten();
        let name = name
            .and_then(|name| name.try_as_str().flatten())
            .unwrap_or_default();
        if let (Some(now), Some(numbers)) = (is_of_numbers, self.baselines.numbers(name))
            && (now != numbers || (self.distance.is_of_numbers() && !now))
        {
            return Err(self.unlike(now, numbers, name).into());
        }
        // Null where nothing was compared, whatever the arguments are.
        Ok(Arc::new(Field::new(&self.name, DataType::Float64, true)))
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> DfResult<ColumnarValue> {
        let arrays = ColumnarValue::values_to_arrays(&args.args)?;
        let [now, names] = arrays.as_slice() else {
            return exec_err!("{} takes a distribution and a name", self.name);
        };
        let now = cast(now, &DataType::Binary)?;
        let (now, names) = (now.as_binary::<i32>(), names.as_string::<i32>());
        let mut reference = None;
        let mut answer = |now: Option<&[u8]>, name: Option<&str>| -> DfResult<Option<f64>> {
            let (Some(now), Some(name)) = (now, name) else {
                return Ok(None);
            };
            let now = Distribution::from_bytes(now)?;
            if now.is_empty() {
                return Ok(None);
            }
            let reference = match &mut reference {
                Some(reference) => reference,
                none => none.insert(Distribution::from_bytes(&self.baselines.value(name)?)?),
            };
            Ok(self.distance.between(reference, &now))
        };
        let answers = now.iter().zip(names.iter());
        let answers = answers.map(|(now, name)| answer(now, name));
        let answers = answers.collect::<DfResult<Float64Array>>()?;
        Ok(ColumnarValue::Array(Arc::new(answers) as ArrayRef))
    }
}
