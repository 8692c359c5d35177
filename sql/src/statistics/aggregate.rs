//! The statistics as DataFusion's aggregates: their types, their states that merge, and their answers.

use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray};
use arrow::datatypes::{DataType, Field, FieldRef, Float64Type, UInt64Type};
use datafusion::common::{
    Result as DfResult, ScalarValue, exec_datafusion_err, exec_err, plan_err,
};
use datafusion::logical_expr::function::{AccumulatorArgs, StateFieldsArgs};
use datafusion::logical_expr::{Accumulator, AggregateUDFImpl, Signature, Volatility};
use datafusion::physical_expr::expressions::Literal;

use super::counted::{Counted, Counts};
use super::distribution::Distribution;
use super::moments::Moments;
use super::numbers::Numbers;

/// A statistic of one or two columns.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Statistic {
    Skewness,
    Kurtosis,
    Mode,
    TopShare,
    Entropy,
    Uniqueness,
    UniqueValueRatio,
    MutualInformation,
    CramersV,
    Quantile,
    /// The distribution itself, as bytes.
    Distribution,
}

use Statistic as S;

/// Their names.
pub(super) const NAMES: [(&str, Statistic); 12] = [
    ("skewness", S::Skewness),
    ("kurtosis", S::Kurtosis),
    ("mode", S::Mode),
    ("most_common", S::Mode),
    ("top_share", S::TopShare),
    ("entropy", S::Entropy),
    ("uniqueness", S::Uniqueness),
    ("unique_value_ratio", S::UniqueValueRatio),
    ("mutual_information", S::MutualInformation),
    ("cramers_v", S::CramersV),
    ("quantile", S::Quantile),
    ("distribution", S::Distribution),
];

/// A statistic under a name.
#[derive(Debug, PartialEq, Eq, Hash)]
pub(super) struct Aggregate {
    name: &'static str,
    statistic: Statistic,
    signature: Signature,
}

impl Aggregate {
    pub(super) fn of(name: &'static str, statistic: Statistic) -> Self {
        Self {
            name,
            statistic,
            signature: Signature::user_defined(Volatility::Immutable),
        }
    }

    /// Whether its state is how often each value comes.
    fn counts(&self, distinct: bool) -> bool {
        let numbers = matches!(
            self.statistic,
            S::Skewness | S::Kurtosis | S::Quantile | S::Distribution
        );
        distinct || !numbers
    }
}

impl AggregateUDFImpl for Aggregate {
    fn name(&self) -> &'static str {
        self.name
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn coerce_types(&self, types: &[DataType]) -> DfResult<Vec<DataType>> {
        let takes = match self.statistic {
            S::MutualInformation | S::CramersV | S::Quantile => 2,
            _ => 1,
        };
        if types.len() != takes {
            let values = if takes == 1 { "value" } else { "values" };
            return plan_err!("{} takes {takes} {values}, not {}", self.name, types.len());
        }
        if !matches!(self.statistic, S::Skewness | S::Kurtosis | S::Quantile) {
            return Ok(types.to_vec());
        }
        let other = types.iter().find(|t| !t.is_numeric() && !t.is_null());
        match other {
            Some(other) => plan_err!("{} takes numbers, not {other}", self.name),
            None => Ok(vec![DataType::Float64; takes]),
        }
    }

    fn return_type(&self, types: &[DataType]) -> DfResult<DataType> {
        Ok(match self.statistic {
            S::Mode => types.first().cloned().unwrap_or(DataType::Null),
            // The type says what it holds, so that what is compared is checked before anything runs.
            S::Distribution => match types.first().is_some_and(Distribution::is_of_numbers) {
                true => DataType::Binary,
                false => DataType::LargeBinary,
            },
            _ => DataType::Float64,
        })
    }

    fn state_fields(&self, args: StateFieldsArgs<'_>) -> DfResult<Vec<FieldRef>> {
        let field = |part: &str, data_type| {
            let name = format!("{}[{part}]", args.name);
            Arc::new(Field::new(name, data_type, true)) as FieldRef
        };
        if !self.counts(args.is_distinct) {
            return Ok(vec![field("sums", DataType::Binary)]);
        }
        let list = |data_type: &DataType| {
            let item = Field::new_list_field(data_type.clone(), true);
            DataType::List(Arc::new(item))
        };
        let columns = args.input_fields.iter().enumerate();
        let columns = columns.map(|(at, f)| field(&at.to_string(), list(f.data_type())));
        let counts = field("counts", list(&DataType::UInt64));
        Ok(columns.chain([counts]).collect())
    }

    fn accumulator(&self, args: AccumulatorArgs<'_>) -> DfResult<Box<dyn Accumulator>> {
        let types = args
            .expr_fields
            .iter()
            .map(|field| field.data_type().clone());
        let types: Vec<DataType> = types.collect();
        let share = match self.statistic {
            S::Quantile => Some(share(&args)?),
            _ => None,
        };
        let ask = Asked {
            statistic: self.statistic,
            result: args.return_field.data_type().clone(),
            share,
        };
        if self.counts(args.is_distinct) {
            return Ok(Box::new(OfCounts {
                ask,
                counted: Counted::new(&types)?,
                distinct: args.is_distinct,
            }));
        }
        if matches!(self.statistic, S::Skewness | S::Kurtosis) {
            let moments = Moments::default();
            return Ok(Box::new(OfMoments { ask, moments }));
        }
        let values = Distribution::of(types.first().unwrap_or(&DataType::Null));
        Ok(Box::new(OfValues { ask, values }))
    }
}

/// The share of `quantile(x, share)`.
fn share(args: &AccumulatorArgs<'_>) -> DfResult<f64> {
    let second = args.exprs.get(1);
    let literal = second.and_then(|expr| expr.downcast_ref::<Literal>());
    match literal.map(Literal::value) {
        Some(ScalarValue::Float64(Some(share))) if (0.0..=1.0).contains(share) => Ok(*share),
        _ => exec_err!("the share of quantile(x, share) is a number from 0 to 1"),
    }
}

/// What is asked.
#[derive(Debug)]
struct Asked {
    statistic: Statistic,
    result: DataType,
    share: Option<f64>,
}

impl Asked {
    fn of_moments(&self, moments: &Moments) -> ScalarValue {
        ScalarValue::Float64(match self.statistic {
            S::Kurtosis => moments.kurtosis(),
            _ => moments.skewness(),
        })
    }

    fn of_values(&self, values: &Distribution) -> ScalarValue {
        match (self.share, values) {
            (Some(share), Distribution::Numbers(numbers)) => {
                ScalarValue::Float64(numbers.quantile(share))
            }
            (_, Distribution::Numbers(_)) => ScalarValue::Binary(Some(values.to_bytes())),
            (_, Distribution::Categories(_)) => ScalarValue::LargeBinary(Some(values.to_bytes())),
        }
    }

    fn of_counts(&self, counts: &Counts) -> DfResult<ScalarValue> {
        let number = |value: Option<f64>| Ok(ScalarValue::Float64(value));
        match self.statistic {
            S::Mode => match (counts.most(), counts.columns.first()) {
                (Some((at, _)), Some(column)) => ScalarValue::try_from_array(column, at),
                _ => ScalarValue::try_from(&self.result),
            },
            S::TopShare => number(counts.top_share()),
            S::Entropy => number(counts.entropy()),
            S::Uniqueness => number(counts.once().map(|(of_all, _)| of_all)),
            S::UniqueValueRatio => number(counts.once().map(|(_, of_different)| of_different)),
            S::MutualInformation => number(counts.mutual_information()?),
            S::CramersV => number(counts.cramers_v()?),
            // Of different values, which were counted for that alone.
            S::Skewness | S::Kurtosis => {
                let mut moments = Moments::default();
                let numbers = counts.numbers()?.into_iter();
                let numbers = numbers.filter(|(value, _)| value.is_finite());
                numbers.for_each(|(value, _)| moments.add(value));
                Ok(self.of_moments(&moments))
            }
            S::Quantile => {
                let mut numbers = Numbers::default();
                let all = counts.numbers()?.into_iter();
                all.for_each(|(value, count)| numbers.add(value, count));
                Ok(self.of_values(&Distribution::Numbers(numbers)))
            }
            S::Distribution => {
                let column = counts.columns.first();
                let column = column.ok_or_else(|| exec_datafusion_err!("no column is counted"))?;
                let mut values = Distribution::of(column.data_type());
                values.add(column)?;
                Ok(self.of_values(&values))
            }
        }
    }
}

/// Over the first four moments.
#[derive(Debug)]
struct OfMoments {
    ask: Asked,
    moments: Moments,
}

impl Accumulator for OfMoments {
    fn update_batch(&mut self, values: &[ArrayRef]) -> DfResult<()> {
        let numbers = values
            .first()
            .and_then(|v| v.as_primitive_opt::<Float64Type>());
        let numbers = numbers.into_iter().flatten().flatten();
        let finite = numbers.filter(|value| value.is_finite());
        finite.for_each(|value| self.moments.add(value));
        Ok(())
    }

    fn merge_batch(&mut self, states: &[ArrayRef]) -> DfResult<()> {
        for state in sums(states)? {
            let other = Moments::from_bytes(state);
            let other = other.ok_or_else(|| exec_datafusion_err!("moments cannot be read"))?;
            self.moments.merge(&other);
        }
        Ok(())
    }

    fn state(&mut self) -> DfResult<Vec<ScalarValue>> {
        let bytes = self.moments.to_bytes().to_vec();
        Ok(vec![ScalarValue::Binary(Some(bytes))])
    }

    fn evaluate(&mut self) -> DfResult<ScalarValue> {
        Ok(self.ask.of_moments(&self.moments))
    }

    fn size(&self) -> usize {
        size_of::<Self>()
    }
}

/// Over the distribution of values.
#[derive(Debug)]
struct OfValues {
    ask: Asked,
    values: Distribution,
}

impl Accumulator for OfValues {
    fn update_batch(&mut self, values: &[ArrayRef]) -> DfResult<()> {
        let column = values.first();
        column.map_or(Ok(()), |column| Ok(self.values.add(column)?))
    }

    fn merge_batch(&mut self, states: &[ArrayRef]) -> DfResult<()> {
        for state in sums(states)? {
            self.values.merge(&Distribution::from_bytes(state)?)?;
        }
        Ok(())
    }

    fn state(&mut self) -> DfResult<Vec<ScalarValue>> {
        Ok(vec![ScalarValue::Binary(Some(self.values.to_bytes()))])
    }

    fn evaluate(&mut self) -> DfResult<ScalarValue> {
        Ok(self.ask.of_values(&self.values))
    }

    fn size(&self) -> usize {
        self.values.held()
    }
}

fn sums(states: &[ArrayRef]) -> DfResult<impl Iterator<Item = &[u8]>> {
    let states = states.first().and_then(|s| s.as_binary_opt::<i32>());
    let states = states.ok_or_else(|| exec_datafusion_err!("the state is not bytes"))?;
    Ok(states.iter().flatten())
}

/// Over how often each value comes.
#[derive(Debug)]
struct OfCounts {
    ask: Asked,
    counted: Counted,
    /// Each value counts once.
    distinct: bool,
}

impl Accumulator for OfCounts {
    fn update_batch(&mut self, values: &[ArrayRef]) -> DfResult<()> {
        self.counted.add(values)
    }

    fn merge_batch(&mut self, states: &[ArrayRef]) -> DfResult<()> {
        let lists = states.iter().map(|state| state.as_list_opt::<i32>());
        let lists: Option<Vec<_>> = lists.collect();
        let lists = lists.ok_or_else(|| exec_datafusion_err!("the state is not lists"))?;
        let Some((counts, columns)) = lists.split_last() else {
            return Ok(());
        };
        for (row, counts) in counts.iter().enumerate() {
            let Some(counts) = counts else { continue };
            let columns: Vec<ArrayRef> = columns.iter().map(|list| list.value(row)).collect();
            let counts = counts.as_primitive::<UInt64Type>();
            self.counted.merge(&columns, Some(counts.values()))?;
        }
        Ok(())
    }

    fn state(&mut self) -> DfResult<Vec<ScalarValue>> {
        let Counts { columns, counts } = self.counted.counts()?;
        let counts: ArrayRef = Arc::new(arrow::array::UInt64Array::from(counts));
        let lists = columns.into_iter().chain([counts]).map(|values| {
            let list = datafusion::common::utils::SingleRowListArrayBuilder::new(values);
            list.build_list_scalar()
        });
        Ok(lists.collect())
    }

    fn evaluate(&mut self) -> DfResult<ScalarValue> {
        let counts = self.counted.counts()?;
        match self.distinct {
            true => self.ask.of_counts(&counts.distinct()),
            false => self.ask.of_counts(&counts),
        }
    }

    fn size(&self) -> usize {
        self.counted.held()
    }
}
