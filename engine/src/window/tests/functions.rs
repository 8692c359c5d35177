//! Every aggregate function of DataFusion: the answer of its plain accumulator over all rows of a
//! group is the oracle for slices, merging, partial states and restarts.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef};
use arrow::compute::{
    SortColumn, SortOptions, filter_record_batch, lexsort_to_indices, take_record_batch,
};
use arrow::datatypes::DataType;
use arrow::util::display::array_value_to_string;
use datafusion_functions_aggregate::all_default_aggregate_functions;
use datafusion_functions_aggregate::array_agg::array_agg_udaf;
use datafusion_functions_aggregate::first_last::{first_value_udaf, last_value_udaf};
use datafusion_functions_aggregate::nth_value::nth_value_udaf;
use datafusion_functions_aggregate::string_agg::string_agg_udaf;
use datafusion_physical_expr::aggregate::{AggregateExprBuilder, AggregateFunctionExpr};
use datafusion_physical_expr::expressions::{cast, lit};
use datafusion_physical_expr::{PhysicalExpr, PhysicalSortExpr};

use super::harness::*;
use crate::window::{
    Assign, Phase, WindowAggregateFactory, WindowKind, WindowSpec, needs_single_phase,
};

type Expr = Arc<dyn PhysicalExpr>;

fn args_of(function: &str) -> Option<Vec<Expr>> {
    let int = || cast(column("key"), &input(), DataType::Int64).unwrap();
    Some(match function {
        // GROUPING is for grouping sets; DataFusion rewrites it before it is run.
        "grouping" => return None,
        "covar_samp" | "covar_pop" | "corr" => vec![column("value"), cast_value()],
        name if name.starts_with("regr_") => vec![column("value"), cast_value()],
        "approx_percentile_cont" | "percentile_cont" => vec![column("value"), lit(0.25_f64)],
        "approx_percentile_cont_with_weight" => vec![column("value"), lit(1.0_f64), lit(0.5_f64)],
        "string_agg" => vec![column("name"), lit(",")],
        "approx_distinct" | "bit_and" | "bit_or" | "bit_xor" => vec![int()],
        "bool_and" | "bool_or" => vec![column("flag")],
        "nth_value" => vec![column("value"), lit(2_i64)],
        _ => vec![column("value")],
    })
}

fn cast_value() -> Expr {
    cast(column("key"), &input(), DataType::Float64).unwrap()
}

/// The answer of a plain accumulator per window and key, over rows in order of `sort`.
fn oracle(
    steps: &[Step],
    kind: WindowKind,
    aggregate: &AggregateFunctionExpr,
    filter: Option<&Expr>,
) -> Vec<String> {
    let mut groups: BTreeMap<_, Vec<Row>> = BTreeMap::new();
    for (row, window) in in_windows(steps, kind, 0) {
        groups.entry((window, row.name)).or_default().push(row);
    }
    let mut lines: Vec<String> = groups
        .into_iter()
        .map(|(((start, end), name), rows)| {
            let mut rows = batch(&rows);
            if let Some(filter) = filter {
                let keep = filter
                    .evaluate(&rows)
                    .unwrap()
                    .into_array(rows.num_rows())
                    .unwrap();
                rows = filter_record_batch(&rows, keep.as_any().downcast_ref().unwrap()).unwrap();
            }
            let get = |e: &Expr, rows: &arrow::record_batch::RecordBatch| -> ArrayRef {
                e.evaluate(rows)
                    .unwrap()
                    .into_array(rows.num_rows())
                    .unwrap()
            };
            let order = aggregate.order_bys();
            if !order.is_empty() {
                let by: Vec<SortColumn> = order
                    .iter()
                    .map(|o| SortColumn {
                        values: get(&o.expr, &rows),
                        options: Some(o.options),
                    })
                    .collect();
                rows = take_record_batch(&rows, &lexsort_to_indices(&by, None).unwrap()).unwrap();
            }
            let args = aggregate.expressions();
            let args = args.iter().chain(order.iter().map(|o| &o.expr));
            let args: Vec<ArrayRef> = args.map(|e| get(e, &rows)).collect();
            let mut accumulator = aggregate.create_accumulator().unwrap();
            accumulator.update_batch(&args).unwrap();
            let result = accumulator.evaluate().unwrap().to_array().unwrap();
            let window = arrow::array::TimestampMicrosecondArray::from(vec![start, end]);
            format!(
                "{} | {} | {name} | {}",
                array_value_to_string(&window, 0).unwrap(),
                array_value_to_string(&window, 1).unwrap(),
                array_value_to_string(&result, 0).unwrap()
            )
        })
        .collect();
    lines.sort();
    lines
}

/// Floats to some digits: variances differ in the last ones by the order of merging.
fn rounded(lines: Vec<String>) -> Vec<String> {
    let round = |line: String| {
        let parts = line.split(" | ").map(|part| match part.parse::<f64>() {
            Ok(number) => format!("{:.6}", number + 0.0),
            Err(_) => part.to_owned(),
        });
        parts.collect::<Vec<_>>().join(" | ")
    };
    let mut lines: Vec<String> = lines.into_iter().map(round).collect();
    lines.sort();
    lines
}

/// Compares results; those of sketches, which depend on how rows are dealt, within some of 100.
fn alike(found: Vec<String>, expected: &[String], what: &str) {
    let found = rounded(found);
    if !what.starts_with("approx_percentile") && !what.starts_with("approx_median") {
        return same(&found, expected, what);
    }
    assert_eq!(found.len(), expected.len(), "{what}");
    for (found, expected) in found.iter().zip(expected) {
        let (group, value) = found.rsplit_once(" | ").unwrap();
        let (expected_group, expected_value) = expected.rsplit_once(" | ").unwrap();
        assert_eq!(group, expected_group, "{what}");
        let number = |text: &str| text.parse::<f64>().unwrap_or(f64::MAX);
        let distance = (number(value) - number(expected_value)).abs();
        assert!(distance <= 8.0, "{what}: {found}, not {expected}");
    }
}

fn check(aggregate: AggregateFunctionExpr, filter: Option<Expr>, single_only: bool) {
    let mut rng = rng(aggregate.name(), 5);
    // In order of time, so that arrays without ORDER BY have one answer: that of arrival.
    let mut rows: Vec<Row> = random_steps(&mut rng, 400, 40, 7)
        .into_iter()
        .flat_map(|step| match step {
            Step::Rows(rows) => rows,
            Step::Watermark(_) => Vec::new(),
        })
        .collect();
    rows.sort_by_key(|row| row.ts);
    let step = |rows: &[Row]| {
        let watermark = Step::Watermark(rows.iter().filter_map(|r| r.ts).max().unwrap());
        [Step::Rows(rows.to_vec()), watermark]
    };
    let steps: Vec<Step> = rows.chunks(37).flat_map(step).collect();
    for kind in [
        WindowKind::Tumble { size: 900 },
        WindowKind::Hop {
            slide: 300,
            size: 1_500,
        },
    ] {
        let expected = rounded(oracle(&steps, kind, &aggregate, filter.as_ref()));
        let assign = Assign::Time {
            column: 0,
            spec: WindowSpec::new(kind, 0).unwrap(),
        };
        let spec = spec_of(
            assign,
            &["name"],
            vec![Arc::new(aggregate.clone())],
            vec![filter.clone()],
        );
        let found = run_single(&spec, &steps, 50, None);
        alike(
            lines(&found),
            &expected,
            &format!("{} {kind:?}", aggregate.name()),
        );
        let found = run_single(&spec, &steps, 50, Some(&mut rng));
        alike(
            lines(&found),
            &expected,
            &format!("{} {kind:?} restarted", aggregate.name()),
        );
        assert_eq!(
            needs_single_phase(&spec),
            single_only,
            "{}",
            aggregate.name()
        );
        if single_only {
            assert!(WindowAggregateFactory::try_new(spec, Phase::Local).is_err());
            continue;
        }
        let found = run_phases(&spec, &steps, 50, 1, &mut rng, true);
        alike(
            lines(&found),
            &expected,
            &format!("{} {kind:?} phases", aggregate.name()),
        );
    }
}

#[test]
fn every_function_of_datafusion() {
    let mut tried = 0;
    for function in all_default_aggregate_functions() {
        let Some(args) = args_of(function.name()) else {
            continue;
        };
        let name = function.name().to_owned();
        let built = AggregateExprBuilder::new(function, args)
            .schema(input())
            .alias(name)
            .build();
        for filter in [None, Some(column("flag"))] {
            check(built.as_ref().unwrap().clone(), filter, false);
        }
        tried += 1;
    }
    assert!(tried > 30);
}

#[test]
fn distinct() {
    for name in ["count", "sum", "avg", "median", "array_agg"] {
        let all = all_default_aggregate_functions();
        let function = all.into_iter().find(|f| f.name() == name).unwrap();
        let args = vec![column("value")];
        let built = AggregateExprBuilder::new(function, args)
            .schema(input())
            .distinct();
        let built = built.alias(format!("{name}_distinct"));
        // The elements of array_agg(DISTINCT x) have no order unless one is asked for.
        let built = if name == "array_agg" {
            let options = SortOptions {
                descending: true,
                nulls_first: false,
            };
            built.order_by(vec![PhysicalSortExpr {
                expr: column("value"),
                options,
            }])
        } else {
            built
        };
        check(built.build().unwrap(), Some(column("flag")), false);
    }
}

#[test]
fn order_by_inside_an_aggregate() {
    let options = SortOptions {
        descending: true,
        nulls_first: false,
    };
    // Rows are told apart by their time and value together: ties would have any order.
    let order = || {
        vec![
            PhysicalSortExpr {
                expr: column("value"),
                options,
            },
            PhysicalSortExpr {
                expr: column("ts"),
                options: SortOptions::default(),
            },
            PhysicalSortExpr {
                expr: column("key"),
                options: SortOptions::default(),
            },
            PhysicalSortExpr {
                expr: column("flag"),
                options: SortOptions::default(),
            },
        ]
    };
    for (function, args, single_only) in [
        (array_agg_udaf(), vec![column("value")], false),
        (first_value_udaf(), vec![column("ts")], false),
        (last_value_udaf(), vec![column("ts")], false),
        (nth_value_udaf(), vec![column("ts"), lit(3_i64)], true),
        (
            string_agg_udaf(),
            vec![
                cast(column("ts"), &input(), DataType::Utf8).unwrap(),
                lit("-"),
            ],
            true,
        ),
    ] {
        let name = format!("{}_ordered", function.name());
        let built = AggregateExprBuilder::new(function, args)
            .schema(input())
            .order_by(order());
        check(built.alias(name).build().unwrap(), None, single_only);
    }
}

#[test]
fn keys_of_null_are_a_group() {
    let mut node = Node::new(
        &usual(
            Assign::Time {
                column: 0,
                spec: WindowSpec::tumble(10).unwrap(),
            },
            &["key"],
        ),
        Phase::Single,
        10,
    );
    let row = Row {
        ts: Some(1),
        key: None,
        name: "a",
        value: None,
        flag: true,
    };
    node.rows(batch(&[row.clone(), row]));
    node.end();
    let found = node.take();
    assert_eq!(found.len(), 1);
    assert!(found[0].column(2).is_null(0));
}
