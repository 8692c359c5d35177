//! The machine fact by fact.

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use super::Decision::*;
use super::*;
use crate::checkpoint::manifest::tests::seed;

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

/// Any facts in any order, also wrong ones: CK-1, CK-3, CK-4 and CK-5.
#[test]
fn any_order_of_facts_keeps_the_invariants() {
    let mut rng = StdRng::seed_from_u64(seed());
    let mut finished = 0;
    for _ in 0..20_000 {
        let hold = rng.random_bool(0.3);
        let mut machine = Machine::new(3, Epoch(5), hold);
        // The last epoch that was written, published and committed.
        let (mut begun, mut written, mut sent, mut durable) = (5, 5, 5, 5);
        let mut over = false;
        for _ in 0..60 {
            let epoch = Epoch(begun - u64::from(rng.random_bool(0.1)));
            let task = rng.random_range(0..3);
            let fact = match rng.random_range(0..40) {
                0..6 => Fact::Due,
                6..22 => Fact::Ack { task, epoch },
                22..24 => Fact::Ended { task },
                24..29 => Fact::StateWritten(epoch),
                29..34 => Fact::Published(epoch),
                34..38 => Fact::Committed(epoch),
                38 => Fact::Savepoint,
                _ if rng.random_bool(0.9) => Fact::Due,
                _ => [Fact::Failed, Fact::Fenced, Fact::OutcomeUnknown][task],
            };
            if fact == Fact::Published(Epoch(sent)) && !over {
                durable = sent;
            }
            for decision in machine.take(fact) {
                assert!(!over, "{decision:?} after the end");
                match decision {
                    Inject(epoch) => {
                        assert_eq!((epoch.0, begun), (begun + 1, sent));
                        assert_eq!(durable, sent);
                        begun += 1;
                    }
                    Write(epoch) => {
                        assert_eq!(epoch.0, written + 1);
                        begun = begun.max(epoch.0);
                        written += 1;
                    }
                    Publish(epoch, _) => {
                        assert_eq!((epoch.0, written), (sent + 1, sent + 1));
                        sent += 1;
                    }
                    Commit(epoch) => assert_eq!((epoch.0, fact), (sent, Fact::Published(epoch))),
                    Collect => assert_eq!(durable, sent),
                    Finish => {
                        finished += 1;
                        over = true;
                    }
                    Discard { tokens } => {
                        over = true;
                        let lost_its_place = fact == Fact::Fenced && durable < sent;
                        let in_doubt = durable < sent && !lost_its_place;
                        assert!(!(tokens && (in_doubt || fact == Fact::OutcomeUnknown)));
                        assert!(!(tokens && hold && durable > 5));
                    }
                }
            }
        }
    }
    println!("{finished} finished");
    assert!(finished > 100);
}
