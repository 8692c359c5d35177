//! `profile(column)`: the profile of a column as JSON; `profile_sketch(column)`: as bytes that can be merged later.

use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray};
use arrow::datatypes::{DataType, Field, FieldRef};
use datafusion::common::{DataFusionError, Result as DfResult, ScalarValue};
use datafusion::logical_expr::function::{AccumulatorArgs, StateFieldsArgs};
use datafusion::logical_expr::{Accumulator, AggregateUDFImpl, Signature, Volatility};

use super::Profile;
use super::column::Shape;

/// The aggregates.
#[derive(Debug, PartialEq, Eq, Hash)]
pub(crate) struct ProfileOf {
    bytes: bool,
    signature: Signature,
}

impl ProfileOf {
    pub(crate) fn json() -> Self {
        Self {
            bytes: false,
            signature: Signature::any(1, Volatility::Immutable),
        }
    }

    pub(crate) fn sketch() -> Self {
        Self {
            bytes: true,
            ..Self::json()
        }
    }
}

impl AggregateUDFImpl for ProfileOf {
    fn name(&self) -> &'static str {
        match self.bytes {
            true => "profile_sketch",
            false => "profile",
        }
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _types: &[DataType]) -> DfResult<DataType> {
        Ok(match self.bytes {
            true => DataType::Binary,
            false => DataType::Utf8,
        })
    }

    fn state_fields(&self, args: StateFieldsArgs<'_>) -> DfResult<Vec<FieldRef>> {
        let name = format!("{}[profile]", args.name);
        Ok(vec![Arc::new(Field::new(name, DataType::Binary, true))])
    }

    fn accumulator(&self, args: AccumulatorArgs<'_>) -> DfResult<Box<dyn Accumulator>> {
        let first = args.expr_fields.first();
        let shape = first.map_or(Shape::Other, |field| Shape::of(field.data_type()));
        Ok(Box::new(Profiling {
            profile: Profile::new()?,
            shape: (!self.bytes).then_some(shape),
        }))
    }
}

#[derive(Debug)]
struct Profiling {
    profile: Profile,
    /// How it is told; as bytes without it.
    shape: Option<Shape>,
}

impl Accumulator for Profiling {
    fn update_batch(&mut self, values: &[ArrayRef]) -> DfResult<()> {
        values
            .first()
            .map_or(Ok(()), |column| Ok(self.profile.add(column)?))
    }

    fn merge_batch(&mut self, states: &[ArrayRef]) -> DfResult<()> {
        let Some(states) = states
            .first()
            .and_then(|states| states.as_binary_opt::<i32>())
        else {
            let message = "the state of a profile is not bytes".to_owned();
            return Err(DataFusionError::Internal(message));
        };
        for state in states.iter().flatten() {
            self.profile.merge(&Profile::from_bytes(state)?)?;
        }
        Ok(())
    }

    fn state(&mut self) -> DfResult<Vec<ScalarValue>> {
        Ok(vec![ScalarValue::Binary(Some(self.profile.to_bytes()?))])
    }

    fn evaluate(&mut self) -> DfResult<ScalarValue> {
        Ok(match self.shape {
            Some(shape) => ScalarValue::Utf8(Some(self.profile.describe(shape).to_string())),
            None => ScalarValue::Binary(Some(self.profile.to_bytes()?)),
        })
    }

    fn size(&self) -> usize {
        self.profile.held()
    }
}
