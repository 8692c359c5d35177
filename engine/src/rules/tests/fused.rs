//! What rules have in common is computed once, and only what is computed for every row anyway.

use std::sync::Arc;

use datafusion_expr::Operator;
use datafusion_physical_expr::PhysicalExpr;

use super::harness::{Row, batch, binary, column, greater, number, rule, schema, task};
use crate::rules::{Action, Judge, Origin, Rule};

fn sum() -> Arc<dyn PhysicalExpr> {
    binary(column("a"), Operator::Plus, column("b"))
}

fn share() -> Arc<dyn PhysicalExpr> {
    let quotient = binary(number(100), Operator::Divide, column("a"));
    binary(quotient, Operator::Gt, number(1))
}

fn shown(rules: &[Rule]) -> String {
    Judge::try_new("t", rules, &schema(), None)
        .unwrap()
        .to_string()
}

#[test]
fn what_two_rules_compute_is_computed_once() {
    let low = rule("low", binary(sum(), Operator::Gt, number(0)), Action::Drop);
    let high = rule(
        "high",
        binary(sum(), Operator::Lt, number(10)),
        Action::Drop,
    );
    let text = shown(&[low.clone(), high.clone()]);
    assert!(text.ends_with("shared=1"), "{text}");
    let (task, _) = task(&Arc::default());
    let judge = Judge::try_new("t", &[low.clone(), high], &schema(), None).unwrap();
    let rows = [(1, 2), (-9, 2), (9, 9)].map(|(a, b)| Row {
        id: a,
        a: Some(a),
        b: Some(b),
    });
    let judged = judge
        .judge(batch(&rows), &Origin::default(), &task)
        .unwrap();
    assert_eq!(judged.rows, batch(&rows).slice(0, 1));
    assert!(!shown(&[low]).contains("shared"));
}

#[test]
fn what_is_guarded_stays_behind_its_guard() {
    let nonzero = || binary(column("a"), Operator::NotEq, number(0));
    let both = || binary(nonzero(), Operator::And, share());
    // The whole of it is computed for each row of both, the quotient alone is not.
    let text = shown(&[
        rule("and", both(), Action::Drop),
        rule(
            "or",
            binary(greater("b", 0), Operator::Or, share()),
            Action::Drop,
        ),
    ]);
    assert!(!text.contains("shared"), "{text}");
    let guarded = [
        Rule {
            when: Some(nonzero()),
            ..rule("when", share(), Action::Drop)
        },
        Rule {
            when: Some(greater("a", 0)),
            ..rule("when_again", share(), Action::Drop)
        },
    ];
    let (task, _) = task(&Arc::default());
    let judge = Judge::try_new("t", &guarded, &schema(), None).unwrap();
    let rows = [Some(0), Some(5), None].map(|a| Row { id: 1, a, b: None });
    // Dividing by the zero of the first row would be an error.
    judge
        .judge(batch(&rows), &Origin::default(), &task)
        .unwrap();
    assert!(!judge.to_string().contains("shared"));
}
