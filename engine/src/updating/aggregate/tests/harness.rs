//! Aggregations to test and the answer that they must give.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::{AsArray, RecordBatch};
use arrow::compute::{SortOptions, filter};
use arrow::datatypes::{Field, Schema, SchemaRef};
use datafusion_common::ScalarValue;
use datafusion_expr::AggregateUDF;
use datafusion_functions_aggregate::array_agg::array_agg_udaf;
use datafusion_functions_aggregate::average::avg_udaf;
use datafusion_functions_aggregate::bool_and_or::bool_and_udaf;
use datafusion_functions_aggregate::count::count_udaf;
use datafusion_functions_aggregate::first_last::{first_value_udaf, last_value_udaf};
use datafusion_functions_aggregate::median::median_udaf;
use datafusion_functions_aggregate::min_max::{max_udaf, min_udaf};
use datafusion_functions_aggregate::sum::sum_udaf;
use datafusion_physical_expr::aggregate::{AggregateExprBuilder, AggregateFunctionExpr};
use datafusion_physical_expr::expressions::{cast, lit};
use datafusion_physical_expr::{PhysicalExpr, PhysicalSortExpr};

use crate::changelog::changelog_schema;
use crate::updating::aggregate::{AggregateSpec, Emit, OutputColumn};
use crate::updating::harness::{Row, batch_of, column, rows_schema};

type Call = (Arc<AggregateFunctionExpr>, Option<Arc<dyn PhysicalExpr>>);

pub(super) fn call(
    function: Arc<AggregateUDF>,
    arg: Arc<dyn PhysicalExpr>,
    distinct: bool,
    order: &[(&str, bool)],
    filter: Option<&str>,
) -> Call {
    let name = format!("{}({arg}) {distinct} {order:?} {filter:?}", function.name());
    let order = order
        .iter()
        .map(|(name, descending)| PhysicalSortExpr {
            expr: column(name),
            options: SortOptions::new(*descending, false),
        })
        .collect();
    let expr = AggregateExprBuilder::new(function, vec![arg])
        .schema(rows_schema())
        .alias(name)
        .with_distinct(distinct)
        .order_by(order)
        .build()
        .unwrap();
    (Arc::new(expr), filter.map(column))
}

/// Aggregates of all methods; their answers do not depend on the order of rows.
pub(super) fn usual() -> Vec<Call> {
    let amount = || column("amount");
    let wide = || {
        cast(
            amount(),
            &rows_schema(),
            arrow::datatypes::DataType::Float64,
        )
        .unwrap()
    };
    let by_all = [("word", false), ("amount", true)];
    vec![
        call(count_udaf(), lit(1_i64), false, &[], None),
        call(count_udaf(), amount(), false, &[], None),
        call(count_udaf(), column("word"), true, &[], None),
        call(sum_udaf(), amount(), false, &[], None),
        call(sum_udaf(), amount(), false, &[], Some("flag")),
        call(sum_udaf(), amount(), true, &[], None),
        // These keep the same values as others do.
        call(count_udaf(), column("word"), true, &[], Some("flag")),
        call(count_udaf(), amount(), true, &[], Some("flag")),
        call(sum_udaf(), amount(), true, &[], Some("flag")),
        call(count_udaf(), amount(), true, &[], None),
        call(sum_udaf(), column("price"), false, &[], None),
        call(sum_udaf(), column("money"), false, &[], None),
        call(avg_udaf(), column("money"), false, &[], None),
        call(avg_udaf(), column("price"), false, &[], Some("flag")),
        call(avg_udaf(), wide(), false, &[], None),
        call(min_udaf(), amount(), false, &[], None),
        call(max_udaf(), amount(), false, &[], Some("flag")),
        call(min_udaf(), column("word"), false, &[], None),
        call(max_udaf(), column("price"), true, &[], None),
        call(bool_and_udaf(), column("flag"), false, &[], None),
        call(median_udaf(), amount(), false, &[], None),
        call(first_value_udaf(), column("word"), false, &by_all, None),
        call(last_value_udaf(), column("word"), false, &by_all, None),
        call(array_agg_udaf(), column("word"), false, &by_all[..1], None),
        call(array_agg_udaf(), column("word"), true, &by_all[..1], None),
    ]
}

pub(super) fn spec(keys: &[&str], calls: Vec<Call>, changelog: bool) -> AggregateSpec {
    let rows = rows_schema();
    let (aggregates, filters): (Vec<_>, Vec<_>) = calls.into_iter().unzip();
    let mut fields: Vec<Field> = keys
        .iter()
        .map(|key| rows.field_with_name(key).unwrap().clone())
        .collect();
    let mut output: Vec<OutputColumn> = (0..keys.len()).map(OutputColumn::Key).collect();
    for (i, aggregate) in aggregates.iter().enumerate() {
        fields.push(aggregate.field().as_ref().clone().with_nullable(true));
        output.push(OutputColumn::Aggregate(i));
    }
    AggregateSpec {
        keys: keys
            .iter()
            .map(|key| (column(key), (*key).to_owned()))
            .collect(),
        aggregates,
        filters,
        input: if changelog {
            changelog_schema(&rows)
        } else {
            rows
        },
        output,
        schema: Arc::new(Schema::new(fields)),
        emit: Emit::OnUpdate,
        ttl: None,
    }
}

/// The answer: each aggregate's own accumulator over all rows of a group at once.
pub(super) fn answer(spec: &AggregateSpec, live: &[Row]) -> Vec<RecordBatch> {
    let all = batch_of(live);
    let keys: Vec<_> = spec
        .keys
        .iter()
        .map(|(key, _)| key.evaluate(&all).unwrap().into_array(live.len()).unwrap())
        .collect();
    let mut groups: BTreeMap<String, (Vec<ScalarValue>, Vec<Row>)> = BTreeMap::new();
    if keys.is_empty() {
        groups.insert(String::new(), (Vec::new(), Vec::new()));
    }
    for (i, row) in live.iter().enumerate() {
        let key: Vec<_> = keys
            .iter()
            .map(|column| ScalarValue::try_from_array(column, i).unwrap())
            .collect();
        let group = groups.entry(if keys.is_empty() {
            String::new()
        } else {
            format!("{key:?}")
        });
        group.or_insert((key, Vec::new())).1.push(row.clone());
    }
    groups
        .into_values()
        .map(|(key, rows)| result(spec, key, &batch_of(&rows)))
        .collect()
}

fn result(spec: &AggregateSpec, key: Vec<ScalarValue>, rows: &RecordBatch) -> RecordBatch {
    let values = |expr: &Arc<dyn PhysicalExpr>, rows: &RecordBatch| {
        let value = expr.evaluate(rows).unwrap();
        value.into_array(rows.num_rows()).unwrap()
    };
    let mut scalars = key;
    for (expr, filtered) in spec.aggregates.iter().zip(&spec.filters) {
        let mut args = expr.expressions();
        args.extend(expr.order_bys().iter().map(|o| Arc::clone(&o.expr)));
        let mut args: Vec<_> = args.iter().map(|arg| values(arg, rows)).collect();
        if let Some(predicate) = filtered {
            let mask = values(predicate, rows);
            for arg in &mut args {
                *arg = filter(arg, mask.as_boolean()).unwrap();
            }
        }
        let mut accumulator = expr.create_accumulator().unwrap();
        accumulator.update_batch(&args).unwrap();
        scalars.push(accumulator.evaluate().unwrap());
    }
    let columns = scalars
        .iter()
        .zip(spec.schema.fields())
        .map(|(s, field)| {
            let array = s.to_array().unwrap();
            arrow::compute::cast(&array, field.data_type()).unwrap()
        })
        .collect();
    RecordBatch::try_new(Arc::clone(&spec.schema), columns).unwrap()
}

/// The exchange in front of the aggregation.
pub(super) fn exchange(spec: &AggregateSpec) -> Vec<Arc<dyn PhysicalExpr>> {
    spec.keys.iter().map(|(key, _)| Arc::clone(key)).collect()
}

pub(super) fn output(spec: &AggregateSpec) -> SchemaRef {
    changelog_schema(&spec.schema)
}
