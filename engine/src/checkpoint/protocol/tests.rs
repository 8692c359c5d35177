//! The machine fact by fact.

use super::Decision::*;
use super::*;

fn ack(task: usize, epoch: u64) -> Fact {
    Fact::Ack {
        task,
        epoch: Epoch(epoch),
    }
}

fn ended(task: usize) -> Fact {
    Fact::Ended { task }
}

/// Takes facts and compares what is decided at each.
fn check(mut machine: Machine, steps: &[(Fact, &[Decision])]) {
    for (at, (fact, decisions)) in steps.iter().enumerate() {
        assert_eq!(machine.take(*fact), *decisions, "step {at}: {fact:?}");
    }
}

#[test]
fn one_epoch_after_the_other() {
    let e = Epoch(8);
    check(
        Machine::new(2, Epoch(7), false),
        &[
            (Fact::Due, &[Inject(e)]),
            (ack(0, 8), &[]),
            (ack(0, 8), &[]),
            (ack(1, 7), &[]),
            (Fact::Due, &[]),
            (Fact::Due, &[]),
            (ack(1, 8), &[Write(e)]),
            (Fact::Published(e), &[]),
            (Fact::StateWritten(e), &[Publish(e, ManifestKind::Periodic)]),
            (Fact::StateWritten(e), &[]),
            (Fact::Published(e), &[Commit(e)]),
            (Fact::Savepoint, &[]),
            (Fact::Committed(e), &[Collect, Inject(Epoch(9))]),
            (ack(0, 9), &[]),
            (ack(1, 9), &[Write(Epoch(9))]),
            (
                Fact::StateWritten(Epoch(9)),
                &[Publish(Epoch(9), ManifestKind::Savepoint)],
            ),
            (Fact::Published(Epoch(9)), &[Commit(Epoch(9))]),
            (Fact::Committed(Epoch(9)), &[Collect]),
            (Fact::Due, &[Inject(Epoch(10))]),
        ],
    );
}

#[test]
fn the_last_epoch_is_written_when_all_have_ended() {
    let (e, last) = (Epoch(1), Epoch(2));
    check(
        Machine::new(2, Epoch(0), false),
        &[
            (ended(0), &[]),
            (Fact::Due, &[Inject(e)]),
            (ack(1, 1), &[Write(e)]),
            (ended(1), &[]),
            (Fact::StateWritten(e), &[Publish(e, ManifestKind::Periodic)]),
            (Fact::Published(e), &[Commit(e)]),
            (Fact::Committed(e), &[Collect, Write(last)]),
            (
                Fact::StateWritten(last),
                &[Publish(last, ManifestKind::Finished)],
            ),
            (Fact::Published(last), &[Commit(last)]),
            (Fact::Committed(last), &[Collect, Finish]),
            (Fact::Due, &[]),
        ],
    );
}

#[test]
fn held_tokens_are_committed_at_the_end_only() {
    let (e, last) = (Epoch(1), Epoch(2));
    check(
        Machine::new(1, Epoch(0), true),
        &[
            (Fact::Due, &[Inject(e)]),
            (ack(0, 1), &[Write(e)]),
            (Fact::StateWritten(e), &[Publish(e, ManifestKind::Periodic)]),
            (Fact::Published(e), &[Collect]),
            (ended(0), &[Write(last)]),
            (
                Fact::StateWritten(last),
                &[Publish(last, ManifestKind::Finished)],
            ),
            (Fact::Published(last), &[Commit(last)]),
            (Fact::Committed(last), &[Collect, Finish]),
        ],
    );
}

/// CK-3: whether tokens may be aborted, for each end at each point.
#[test]
fn tokens_are_aborted_only_while_no_manifest_can_name_them() {
    let e = Epoch(1);
    let facts = [
        Fact::Due,
        ack(0, 1),
        Fact::StateWritten(e),
        Fact::Published(e),
    ];
    let ends = [Fact::Failed, Fact::Fenced, Fact::OutcomeUnknown];
    let expected = [
        [true, true, false],
        [true, true, false],
        [true, true, false],
        [false, true, false],
        [false, false, false],
    ];
    for (steps, expected) in expected.iter().enumerate() {
        for (end, tokens) in ends.iter().zip(expected) {
            let mut machine = Machine::new(1, Epoch(0), false);
            for fact in facts.iter().take(steps) {
                machine.take(*fact);
            }
            let decided = machine.take(*end);
            assert_eq!(
                decided,
                [Discard { tokens: *tokens }],
                "{end:?} after {steps}"
            );
            for fact in facts.iter().chain(&ends).chain(&[Fact::Committed(e)]) {
                assert_eq!(machine.take(*fact), [], "{fact:?} after the end");
            }
        }
    }
}

#[test]
fn held_tokens_are_never_aborted() {
    let e = Epoch(1);
    for end in [Fact::Failed, Fact::Fenced] {
        check(
            Machine::new(1, Epoch(0), true),
            &[
                (Fact::Due, &[Inject(e)]),
                (ack(0, 1), &[Write(e)]),
                (Fact::StateWritten(e), &[Publish(e, ManifestKind::Periodic)]),
                (Fact::Published(e), &[Collect]),
                (end, &[Discard { tokens: false }]),
            ],
        );
    }
}
