//! The account: sums by epoch, over restarts, and what it refuses.

use super::*;
use crate::rules::rule::{Action, Grade, Rule, Switch};
use datafusion_common::ScalarValue;
use datafusion_physical_expr::expressions::Literal;

fn table(overflow: Option<Overflow>) -> Arc<Table> {
    let rule = Rule {
        name: "r".to_owned(),
        text: "r".to_owned(),
        when: None,
        expect: Arc::new(Literal::new(ScalarValue::Boolean(Some(true)))),
        keyed: None,
        gate: None,
        action: Action::Drop,
        unknown_violates: false,
        overflow,
        grade: Grade {
            dimension: "validity".to_owned(),
            severity: "warning".to_owned(),
            weight: 1.0,
        },
        switch: Switch::On,
    };
    Arc::new(Table::new("t", &[rule]))
}

fn counts(rows_in: u64, dropped: u64, quarantined: u64) -> Counts {
    let bad = dropped + quarantined;
    Counts {
        rows_in,
        published: rows_in - bad,
        dropped,
        quarantined,
        repaired: 0,
        rules: vec![[rows_in, bad, 0]],
        samples: Vec::new(),
    }
}

#[test]
fn a_checkpoint_keeps_what_its_epochs_have_counted() {
    let table = table(None);
    let mut first = Ledger::default();
    first.begin(&[], false);
    first.add(1, &table, &counts(10, 1, 2), 2, 0).unwrap();
    first.add(2, &table, &counts(5, 0, 1), 1, 0).unwrap();
    first.settle(1, false).unwrap();
    let saved = first.settled();
    assert_eq!(
        saved.iter().map(|tally| tally.rows_in).collect::<Vec<_>>(),
        [10]
    );
    assert_eq!(first.now()[0].rows_in, 15);
    assert_eq!(first.kept_back("t"), 4);

    // Its second epoch never became durable: the next run counts its rows again.
    let mut second = Ledger::default();
    second.begin(&saved, false);
    second.add(2, &table, &counts(5, 0, 1), 1, 0).unwrap();
    second.settle(2, true).unwrap();
    let tally = second.settled().remove(0);
    assert_eq!(
        (tally.rows_in, tally.dropped, tally.quarantined),
        (15, 1, 3)
    );
    assert_eq!(tally.rules[0].violated, 4);
    assert_eq!(second.kept_back("t"), 1);
}

#[test]
fn a_row_that_is_lost_is_a_bug_that_is_told() {
    let table = table(None);
    let lost = |counts: &Counts, kept| {
        let mut ledger = Ledger::default();
        ledger.add(1, &table, counts, kept, 0).unwrap();
        ledger.settle(1, true).unwrap_err().message().to_owned()
    };
    assert!(lost(&counts(10, 0, 2), 1).starts_with("QU-1"));
    let gone = Counts {
        published: 3,
        ..counts(10, 1, 2)
    };
    assert!(lost(&gone, 2).starts_with("QU-1"));
}

#[test]
fn a_bound_counts_what_becomes_visible_at_once() {
    let table = table(Some(Overflow::Count(3)));
    let mut streaming = Ledger::default();
    for epoch in 1..5 {
        streaming
            .add(epoch, &table, &counts(10, 3, 0), 0, 0)
            .unwrap();
        streaming.settle(epoch, false).unwrap();
    }
    assert!(streaming.add(5, &table, &counts(10, 4, 0), 0, 0).is_err());

    let mut batch = Ledger::default();
    batch.begin(&[], true);
    batch.add(1, &table, &counts(10, 3, 0), 0, 0).unwrap();
    batch.settle(1, false).unwrap();
    batch.add(2, &table, &counts(10, 0, 0), 0, 0).unwrap();
    let saved = batch.settled();
    assert!(batch.add(2, &table, &counts(1, 1, 0), 0, 0).is_err());
    // So does a run that goes on from its checkpoint.
    let mut resumed = Ledger::default();
    resumed.begin(&saved, true);
    assert!(resumed.add(2, &table, &counts(1, 1, 0), 0, 0).is_err());
}

#[test]
fn a_share_is_looked_at_when_all_rows_are_there() {
    let table = table(Some(Overflow::Ratio(0.5)));
    let mut ledger = Ledger::default();
    ledger.begin(&[], true);
    ledger.add(1, &table, &counts(2, 2, 0), 0, 0).unwrap();
    ledger.settle(1, false).unwrap();
    ledger.add(2, &table, &counts(2, 0, 0), 0, 0).unwrap();
    ledger.settle(2, true).unwrap();

    let mut ledger = Ledger::default();
    ledger.add(1, &table, &counts(4, 3, 0), 0, 0).unwrap();
    let error = ledger.settle(1, false).unwrap_err();
    assert_eq!(error.code(), codes::RULE_BROKEN);
    assert_eq!(
        error.detail_text(),
        Some("3 of 4 rows break it, 0.5 of them may")
    );
}
