//! `EXPECT (column) REFERENCES table(column)`: the other table is found where the rule is declared, its
//! keys are read when a job starts, and the rule itself is a function over one row.

use std::collections::BTreeMap;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

use arrow::datatypes::DataType;
use datafusion::catalog::TableProvider;
use datafusion::common::{Column, Result as DfResult};
use datafusion::datasource::provider_as_source;
use datafusion::logical_expr::expr::ScalarFunction;
use datafusion::logical_expr::type_coercion::binary::comparison_coercion;
use datafusion::logical_expr::{
    ColumnarValue, Expr, LogicalPlan, LogicalPlanBuilder, ScalarFunctionArgs, ScalarUDF,
    ScalarUDFImpl, Signature, Volatility, cast,
};
use parking_lot::Mutex;
use weir_engine::error::{Error, Kind, Place, Result, codes};
use weir_engine::options::unknown;
use weir_engine::rules::Reference;

use super::planning::Ruled;
use crate::ast::{Name, list};
use crate::lower::{is_bounded, reads_changes};
use crate::plan::Planner;
use crate::statistics::Baselines;

/// The tables that the rules of a script refer to.
#[derive(Debug, Default)]
pub(crate) struct References {
    known: Mutex<BTreeMap<String, Referred>>,
    /// What distributions are compared with.
    pub(crate) baselines: Arc<Baselines>,
}

/// The columns of one table.
#[derive(Debug)]
struct Referred {
    plan: LogicalPlan,
    /// It has an end, and its rows are only added.
    ends: bool,
    place: Place,
    /// One for each list of types that rules compare them as.
    made: Vec<(Vec<DataType>, Arc<Reference>)>,
}

/// What a rule refers to.
pub(super) struct Found {
    /// The other table.
    pub(super) reference: Arc<Reference>,
    /// The columns of the row, in the types in which they are compared.
    pub(super) values: Vec<Expr>,
    /// Whether the other table has an end, and only rows that are added.
    pub(super) ends: bool,
}

impl Found {
    /// Whether the values are there, as an expression over a row.
    pub(super) fn expr(self) -> Expr {
        let function = Arc::new(ScalarUDF::from(IsThere::of(
            self.reference,
            self.values.len(),
        )));
        Expr::ScalarFunction(ScalarFunction::new_udf(function, self.values))
    }
}

/// Keys that a job has to read.
#[derive(Debug, Clone)]
pub(crate) struct Due {
    /// What gives them.
    pub(crate) plan: LogicalPlan,
    /// Whether they are all there at some time, and none is taken back.
    pub(crate) ends: bool,
    /// Where the rule stands.
    pub(crate) place: Place,
    /// What they are given to.
    pub(crate) reference: Arc<Reference>,
}

pub(crate) fn name_of(table: &Name, columns: &[Name]) -> String {
    format!("{}({})", table.text, list(columns))
}

/// Whether values of two types can be the same: a date is no number, and a number no text.
fn is_alike(one: &DataType, two: &DataType) -> bool {
    let both = |is: fn(&DataType) -> bool| is(one) && is(two);
    one == two
        || both(DataType::is_numeric)
        || both(DataType::is_temporal)
        || both(|of| {
            matches!(
                of,
                DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View
            )
        })
}

impl References {
    /// Notes columns of a table that a rule refers to.
    pub(crate) fn add(
        &self,
        planner: &Planner,
        (table, provider): (&Name, Arc<dyn TableProvider>),
        columns: &[Name],
        place: Place,
    ) -> Result<()> {
        let schema = provider.schema();
        for column in columns {
            if schema.field_with_name(&column.text).is_err() {
                let known = schema.fields().iter().map(|field| field.name().as_str());
                let error = unknown(codes::UNKNOWN_COLUMN, "column", &column.text, known);
                return Err(error.at(column.place));
            }
        }
        let picked = columns.iter().map(|column| {
            Expr::Column(Column::new(Some(table.text.as_str()), column.text.as_str()))
        });
        let source = provider_as_source(provider);
        let plan = LogicalPlanBuilder::scan(table.text.as_str(), source, None)?
            .project(picked)?
            .build()?;
        let plan = planner.analyze(plan, table.place)?;
        let place = table.place.unwrap_or(place);
        let ends = is_bounded(&plan)? && !reads_changes(&plan)?;
        let mut known = self.known.lock();
        let made = match known.remove(&name_of(table, columns)) {
            // The table may be another one of this name by now.
            Some(referred) => referred.made,
            None => Vec::new(),
        };
        let referred = Referred {
            plan,
            ends,
            place,
            made,
        };
        known.insert(name_of(table, columns), referred);
        Ok(())
    }

    /// The keys that jobs have to read for the rules so far.
    pub(crate) fn due(&self) -> Result<Vec<Due>> {
        let mut all = Vec::new();
        for referred in self.known.lock().values() {
            for (types, reference) in &referred.made {
                let columns = referred.plan.schema().columns().into_iter();
                let typed = columns.zip(types).map(|(column, data_type)| {
                    let name = column.name.clone();
                    cast(Expr::Column(column), data_type.clone()).alias(name)
                });
                let plan = LogicalPlanBuilder::from(referred.plan.clone());
                all.push(Due {
                    ends: referred.ends,
                    plan: plan.project(typed)?.build()?,
                    place: referred.place,
                    reference: Arc::clone(reference),
                });
            }
        }
        Ok(all)
    }

    /// What the columns of a row refer to.
    pub(super) fn found(
        &self,
        ruled: &Ruled<'_>,
        columns: &[Name],
        (table, to): (&Name, &[Name]),
        place: Place,
    ) -> Result<Found> {
        let name = name_of(table, to);
        let mut known = self.known.lock();
        let referred = known.get_mut(&name);
        let referred = referred.ok_or_else(|| Error::internal("a reference was not looked up"))?;
        if columns.len() != to.len() {
            let message = format!("{} columns refer to {}", columns.len(), to.len());
            return Err(Error::new(Kind::Invalid, codes::RULE, message).at(Some(place)));
        }
        let (mut values, mut types) = (Vec::new(), Vec::new());
        for (column, other) in columns.iter().zip(referred.plan.schema().fields()) {
            let Ok(own) = ruled.schema.field_with_name(&column.text) else {
                let known = ruled.schema.fields().iter().map(|f| f.name().as_str());
                let error = unknown(codes::UNKNOWN_COLUMN, "column", &column.text, known);
                return Err(error.at(column.place));
            };
            let (one, two) = (own.data_type(), other.data_type());
            let Some(both) = comparison_coercion(one, two).filter(|_| is_alike(one, two)) else {
                let message = format!(
                    "\"{}\" is {one} and \"{}\" of {} is {two}: they can't be compared",
                    column.text,
                    other.name(),
                    table.text
                );
                return Err(Error::new(Kind::Invalid, codes::TYPE, message)
                    .hint("declare both with one type, or cast one in a view")
                    .at(column.place));
            };
            let value = Expr::Column(Column::new_unqualified(&column.text));
            values.push(if *one == both {
                value
            } else {
                cast(value, both.clone())
            });
            types.push(both);
        }
        let made = referred.made.iter().find(|(known, _)| *known == types);
        let reference = match made {
            Some((_, reference)) => Arc::clone(reference),
            None => {
                let reference = Arc::new(Reference::new(name));
                referred.made.push((types, Arc::clone(&reference)));
                reference
            }
        };
        Ok(Found {
            reference,
            values,
            ends: referred.ends,
        })
    }
}

/// Whether values are among the keys of a table.
#[derive(Debug)]
struct IsThere {
    name: String,
    reference: Arc<Reference>,
    signature: Signature,
}

impl IsThere {
    fn of(reference: Arc<Reference>, columns: usize) -> Self {
        Self {
            name: format!("references {}", reference.name()),
            reference,
            signature: Signature::any(columns, Volatility::Immutable),
        }
    }
}

impl PartialEq for IsThere {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.reference, &other.reference)
    }
}

impl Eq for IsThere {}

impl Hash for IsThere {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.name.hash(state);
    }
}

impl ScalarUDFImpl for IsThere {
    fn name(&self) -> &str {
        &self.name
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _arg_types: &[DataType]) -> DfResult<DataType> {
        Ok(DataType::Boolean)
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> DfResult<ColumnarValue> {
        let rows = args.number_rows;
        let columns = args.args.into_iter().map(|value| value.into_array(rows));
        let columns = columns.collect::<DfResult<Vec<_>>>()?;
        let found = self.reference.holds(&columns, rows)?;
        Ok(ColumnarValue::Array(Arc::new(found)))
    }
}
