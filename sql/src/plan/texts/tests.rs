//! The rows are those of the functions that are rewritten.

use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch, StringArray, StringViewArray};
use arrow::util::pretty::pretty_format_batches;
use datafusion::common::DFSchema;
use datafusion::datasource::MemTable;
use datafusion::execution::session_state::SessionStateBuilder;
use datafusion::logical_expr::Expr;
use datafusion::prelude::{SessionContext, col, lit};

use super::super::rules;
use super::rewritten;

/// More than a few.
const NUMBERS: [&str; 12] = ["a", "b", "1", "2", "3", "4", "5", "6", "7", "8", "9", "10"];

/// Rows of texts that are awkward to split and to match.
fn texts() -> Vec<Option<String>> {
    let mut texts: Vec<Option<String>> = [
        "",
        "/",
        "//",
        "a",
        "a/",
        "/a",
        "a/b",
        "a/b/c",
        "a/b/c/d/e",
        "ä/ö/ü",
        "日本/語",
        "///x",
        "a//c",
        "channel_id=7",
        "&channel_id=",
        "x?y=1&channel_id=12&z",
        "xchannel_id=3",
        "k1k2k3",
        "K1",
    ]
    .iter()
    .map(|text| Some((*text).to_owned()))
    .collect();
    texts.push(None);
    texts.extend((0..200).map(|i| {
        Some(format!(
            "https://h/{}/{}/i?x=1&channel_id={}",
            i % 7,
            i,
            i % 5
        ))
    }));
    texts.extend((0..3).map(|_| None));
    texts
}

fn context(ours: bool) -> SessionContext {
    let column: ArrayRef = Arc::new(StringArray::from(texts()));
    let batch = RecordBatch::try_from_iter([("t", column)]).unwrap();
    // Slices: offsets that do not begin at zero.
    let parts: Vec<_> = (0..batch.num_rows())
        .step_by(30)
        .map(|start| batch.slice(start, 30.min(batch.num_rows() - start)))
        .collect();
    let table = MemTable::try_new(batch.schema(), vec![parts]).unwrap();
    let mut state = SessionStateBuilder::new_with_default_features();
    if ours {
        state = state.with_optimizer_rules(rules());
    }
    let context = SessionContext::new_with_state(state.build());
    context.register_table("x", Arc::new(table)).unwrap();
    context
}

/// The rows of a query, and its plan.
async fn run(query: &str, ours: bool) -> (String, String) {
    let frame = context(ours).sql(query).await.unwrap();
    let plan = frame.clone().into_optimized_plan().unwrap().to_string();
    let rows = frame.collect().await.unwrap();
    (pretty_format_batches(&rows).unwrap().to_string(), plan)
}

/// The same rows with and without the rule, which finds something to do.
async fn same(query: &str) {
    let ((rows, plan), (expected, _)) = (run(query, true).await, run(query, false).await);
    assert_eq!(rows, expected, "{query}");
    let ours = ["split_nth", "regexp_match_nth", "regex_match("];
    assert!(ours.iter().any(|name| plan.contains(name)), "{plan}");
    assert!(
        plan.matches("split_positions(").count() < 2,
        "found once: {plan}"
    );
}

#[tokio::test]
async fn parts_are_those_of_split_part() {
    same("SELECT t, split_part(t, '/', 1), split_part(t, '/', 2) b, split_part(t, '/', 3) FROM x")
        .await;
    same("SELECT split_part(t, '/', 9) || split_part(t, '/', 1), upper(split_part(t, '/', 2)) FROM x").await;
    same("SELECT t FROM x WHERE split_part(t, '/', 4) > '2' AND split_part(t, '/', 3) = 'h'").await;
    same("SELECT split_part(lower(t), 'k', 2), split_part(lower(t), 'k', 3) FROM x").await;
}

#[tokio::test]
async fn elements_are_those_of_regexp_match() {
    for (pattern, number) in [
        ("(&|^)channel_id=([^&]*)", 2),
        ("(&|^)channel_id=([^&]*)", 1),
        ("(&|^)channel_id=([^&]*)", 3),
        ("k([0-9])|([a-z])/", 1),
        ("k([0-9])|([a-z])/", 2),
        ("[a-z]+", 1),
        ("[a-z]+", 2),
        ("(?i)K([0-9])", 1),
        ("(.)/(.)?", 2),
    ] {
        same(&format!(
            "SELECT t, (regexp_match(t, '{pattern}'))[{number}] FROM x"
        ))
        .await;
    }
    same("SELECT t FROM x WHERE (regexp_match(t, '([0-9])$'))[1] IS NOT NULL").await;
}

#[tokio::test]
async fn matches_are_those_of_the_operator() {
    for pattern in [
        "^h.*=[0-3]$",
        "^(a|k1)[/k]",
        "^https?://h/[0-9]+/1?2",
        "^$|^ä",
    ] {
        same(&format!("SELECT t, t ~ '{pattern}' FROM x")).await;
        same(&format!("SELECT t FROM x WHERE t !~ '{pattern}'")).await;
        same(&format!(
            "SELECT t FROM x WHERE arrow_cast(t, 'Utf8View') ~ '{pattern}'"
        ))
        .await;
    }
    for pattern in ["[0-9]$", "/", "^ab*", r"^\\w+$"] {
        let query = format!("SELECT t FROM x WHERE t ~ '{pattern}' OR lower(t) ~* '{pattern}'");
        let ((rows, _), (expected, _)) = (run(&query, true).await, run(&query, false).await);
        assert_eq!(rows, expected, "{pattern}");
    }
}

#[test]
fn lists_are_those_of_the_operator() {
    let cut = "seven__and more";
    let texts: Vec<Option<&str>> = vec![
        Some(""),
        Some("a"),
        None,
        Some("ab"),
        Some("seven__"),
        Some("a\0"),
        Some("\0"),
        Some("\0\0\0\0\0\0\0\0"),
        Some(cut),
        Some("eight___"),
        Some("ä"),
        Some("日本"),
        Some("b"),
    ];
    let plain: ArrayRef = Arc::new(StringArray::from(texts.clone()));
    let views: ArrayRef = Arc::new(StringViewArray::from(texts));
    let lists: [&[&str]; 6] = [
        &["a"],
        &["", "a\0", "seven__", "seven__"],
        &["ä", "日本", "ab", "b"],
        &["eight___", "a"],
        &["x", "y"],
        &NUMBERS,
    ];
    for column in [plain.slice(1, 11), plain, views.slice(2, 9), views] {
        let batch = RecordBatch::try_from_iter([("t", column)]).unwrap();
        let schema = DFSchema::try_from(batch.schema()).unwrap();
        for (list, negated) in lists.iter().flat_map(|list| [(list, false), (list, true)]) {
            let list: Vec<Expr> = list.iter().map(|text| lit(*text)).collect();
            let expr = col("t").in_list(list.clone(), negated);
            let ours = rewritten(expr.clone(), &schema).unwrap();
            let short = list.iter().all(|text| *text != lit("eight___"));
            assert_eq!(ours.to_string().contains("in_list("), short, "{ours}");
            let [found, expected] = [ours, expr].map(|expr| {
                let expr = SessionContext::new()
                    .create_physical_expr(expr, &schema)
                    .unwrap();
                expr.evaluate(&batch)
                    .unwrap()
                    .into_array(batch.num_rows())
                    .unwrap()
            });
            assert_eq!(&found, &expected, "{list:?}");
        }
    }
}

#[tokio::test]
async fn what_is_not_such_a_pair_stays() {
    for query in [
        "SELECT split_part(t, '/', 2) FROM x",
        "SELECT split_part(t, '/', 2), split_part(t, '//', 2), split_part(t, 'a', 2) FROM x",
        "SELECT split_part(t, '/', -1), split_part(t, '/', -2) FROM x",
        "SELECT regexp_match(t, 'a'), (regexp_match(t, ''))[1], (regexp_match(t, 'a'))[-1] FROM x",
        "SELECT (regexp_match(t, 'A', 'i'))[1] FROM x",
    ] {
        let (_, plan) = run(query, true).await;
        assert!(!plan.contains("_nth"), "{plan}");
    }
}
