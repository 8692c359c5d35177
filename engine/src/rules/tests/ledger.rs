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

fn rows(most: u64) -> Overflow {
    Overflow {
        most: Most::Rows(most),
        pauses: false,
    }
}

fn share(most: f64) -> Overflow {
    Overflow {
        most: Most::Share(most),
        pauses: false,
    }
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
    first.add(1, &table, &counts(10, 1, 2), 2, 0, None).unwrap();
    first.add(2, &table, &counts(5, 0, 1), 1, 0, None).unwrap();
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
    second.add(2, &table, &counts(5, 0, 1), 1, 0, None).unwrap();
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
        ledger.add(1, &table, counts, kept, 0, None).unwrap();
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
    let table = table(Some(rows(3)));
    let mut streaming = Ledger::default();
    for epoch in 1..5 {
        streaming
            .add(epoch, &table, &counts(10, 3, 0), 0, 0, None)
            .unwrap();
        streaming.settle(epoch, false).unwrap();
    }
    assert!(
        streaming
            .add(5, &table, &counts(10, 4, 0), 0, 0, None)
            .is_err()
    );

    let mut batch = Ledger::default();
    batch.begin(&[], true);
    batch.add(1, &table, &counts(10, 3, 0), 0, 0, None).unwrap();
    batch.settle(1, false).unwrap();
    batch.add(2, &table, &counts(10, 0, 0), 0, 0, None).unwrap();
    let saved = batch.settled();
    assert!(batch.add(2, &table, &counts(1, 1, 0), 0, 0, None).is_err());
    // So does a run that goes on from its checkpoint.
    let mut resumed = Ledger::default();
    resumed.begin(&saved, true);
    assert!(
        resumed
            .add(2, &table, &counts(1, 1, 0), 0, 0, None)
            .is_err()
    );
}

#[test]
fn a_share_is_looked_at_when_all_rows_are_there() {
    let table = table(Some(share(0.5)));
    let mut ledger = Ledger::default();
    ledger.begin(&[], true);
    ledger.add(1, &table, &counts(2, 2, 0), 0, 0, None).unwrap();
    ledger.settle(1, false).unwrap();
    ledger.add(2, &table, &counts(2, 0, 0), 0, 0, None).unwrap();
    ledger.settle(2, true).unwrap();

    let mut ledger = Ledger::default();
    ledger.add(1, &table, &counts(4, 3, 0), 0, 0, None).unwrap();
    let error = ledger.settle(1, false).unwrap_err();
    assert_eq!(error.code(), codes::RULE_BROKEN);
    assert_eq!(
        error.detail_text(),
        Some("3 of 4 rows break it, 0.5 of them may")
    );
}

fn pausing(limit: Overflow) -> Arc<Table> {
    table(Some(Overflow {
        pauses: true,
        ..limit
    }))
}

#[test]
fn a_source_pauses_once_where_it_can() {
    let run: Arc<str> = "run".into();
    let table = pausing(rows(3));
    let mut ledger = Ledger::default();
    let mut add = |epoch, bad| {
        let counts = counts(10, bad, 0);
        ledger
            .add(epoch, &table, &counts, 0, 0, Some(&run))
            .unwrap();
        let pause = ledger.halts.pauses.get("t");
        pause.map(|pause| (pause.id(), pause.detail.clone()))
    };
    assert_eq!(add(4, 3), None);
    let first = Some(("run-4".to_owned(), "4 rows break it, 3 may".to_owned()));
    assert_eq!(add(4, 1), first);
    // What was on its way when it paused is counted, and is no other pause.
    assert_eq!(add(5, 9), first);
    let results = ledger.settle(4, false).unwrap();
    assert_eq!(
        results[0].observed.as_deref(),
        Some(r#"{"paused":"4 rows break it, 3 may"}"#)
    );
    ledger.halts.pauses.clear();
    ledger.settle(5, false).unwrap();
    assert!(ledger.halts.pauses.is_empty());

    // Nobody could resume it in a run that shows nothing before its end, or without checkpoints.
    let hint = |mut ledger: Ledger, run: Option<&Arc<str>>| {
        let error = ledger
            .add(1, &table, &counts(9, 9, 0), 0, 0, run)
            .unwrap_err();
        assert_eq!(error.code(), codes::RULE_BROKEN);
        error.hint_text().unwrap().contains("--mode streaming")
    };
    let mut batch = Ledger::default();
    batch.begin(&[], true);
    assert!(hint(batch, Some(&run)) && hint(Ledger::default(), None));
}

#[test]
fn a_share_pauses_with_its_epoch() {
    let run: Arc<str> = "run".into();
    let table = pausing(share(0.5));
    let mut ledger = Ledger::default();
    ledger
        .add(3, &table, &counts(4, 3, 0), 0, 0, Some(&run))
        .unwrap();
    ledger
        .add(4, &table, &counts(4, 0, 0), 0, 0, Some(&run))
        .unwrap();
    assert!(ledger.halts.pauses.is_empty());
    let results = ledger.settle(3, false).unwrap();
    assert!(results[0].observed.is_some());
    let epochs: Vec<u64> = ledger
        .halts
        .pauses
        .values()
        .map(|pause| pause.epoch)
        .collect();
    assert_eq!(epochs, [3]);
}
