//! The merge's laws, and the channel's bound.

use super::*;
use crate::message::{Epoch, EventTime, Message};

fn watermark(merge: &mut Merge, channel: usize, at: i64) -> Option<i64> {
    match merge.take(channel, Message::Watermark(EventTime(at))) {
        Event::Watermark(merged) => Some(merged.0),
        _ => None,
    }
}

#[test]
fn the_merged_watermark_is_the_least_and_never_goes_back() {
    let mut merge = Merge::new(2);
    assert_eq!(watermark(&mut merge, 0, 10), None);
    assert_eq!(watermark(&mut merge, 1, 5), Some(5));
    assert_eq!(watermark(&mut merge, 1, 3), None);
    assert_eq!(watermark(&mut merge, 1, 20), Some(10));
}

#[test]
fn an_idle_input_does_not_hold_the_others_back() {
    let mut merge = Merge::of(&[0, 1]);
    assert_eq!(watermark(&mut merge, 0, 10), None);
    assert!(matches!(
        merge.take(1, Message::Idle),
        Event::Watermark(EventTime(10))
    ));
    assert_eq!(
        watermark(&mut merge, 1, 7),
        None,
        "an idle channel that wakes up is behind"
    );
    assert_eq!(watermark(&mut merge, 0, 12), None);
    assert_eq!(watermark(&mut merge, 1, 11), Some(11));
    assert!(matches!(merge.take(0, Message::Idle), Event::Nothing));
    assert!(matches!(
        merge.take(1, Message::Idle),
        Event::Watermark(EventTime(12))
    ));
    assert!(matches!(merge.take(1, Message::Idle), Event::Idle));
}

/// A subtask that wakes up has rows on the way that another subtask's watermark knows of already.
#[test]
fn the_subtasks_of_an_input_are_idle_together() {
    let mut merge = Merge::of(&[0, 0, 1]);
    assert_eq!(watermark(&mut merge, 2, 50), None);
    assert!(matches!(merge.take(0, Message::Idle), Event::Nothing));
    assert!(matches!(
        merge.take(1, Message::Idle),
        Event::Watermark(EventTime(50))
    ));
    assert_eq!(watermark(&mut merge, 2, 60), Some(60));
    assert_eq!(watermark(&mut merge, 1, 70), None);
    assert_eq!(watermark(&mut merge, 2, 90), None, "the other has rows");
    assert_eq!(watermark(&mut merge, 0, 70), Some(70));
}

/// All are idle, one wakes up, and its watermark comes by another subtask before its rows do.
#[test]
fn idle_subtasks_do_not_overtake_each_other() {
    let mut merge = Merge::new(2);
    assert!(matches!(merge.take(0, Message::Idle), Event::Nothing));
    assert!(matches!(merge.take(1, Message::Idle), Event::Idle));
    assert_eq!(watermark(&mut merge, 1, 99), None);
    assert!(matches!(merge.take(1, Message::Idle), Event::Idle));
    assert_eq!(watermark(&mut merge, 0, 99), Some(99));
    assert!(matches!(merge.take(0, Message::Idle), Event::Idle));
}

#[test]
fn an_ended_channel_counts_as_the_end_of_time() {
    let mut merge = Merge::new(2);
    assert_eq!(watermark(&mut merge, 0, 10), None);
    assert!(matches!(
        merge.take(1, Message::End),
        Event::Watermark(EventTime(10))
    ));
    assert!(matches!(merge.take(0, Message::End), Event::End));
}

#[test]
fn a_barrier_waits_for_every_channel_that_has_not_ended() {
    let mut merge = Merge::new(3);
    let epoch = Epoch(1);
    assert!(matches!(
        merge.take(0, Message::Barrier(epoch)),
        Event::Block(0)
    ));
    assert!(matches!(merge.take(2, Message::End), Event::Nothing));
    assert!(matches!(
        merge.take(1, Message::Barrier(epoch)),
        Event::Barrier(Epoch(1))
    ));
    assert!(matches!(
        merge.take(0, Message::Barrier(Epoch(2))),
        Event::Block(0)
    ));
    assert!(matches!(
        merge.take(1, Message::End),
        Event::Barrier(Epoch(2))
    ));
}

#[tokio::test]
async fn rows_that_wait_are_taken_up_to_what_must_stay_in_order() {
    use arrow::array::{ArrayRef, Int64Array};
    use std::sync::Arc;
    let pool: Arc<dyn datafusion_execution::memory_pool::MemoryPool> = Arc::new(
        datafusion_execution::memory_pool::GreedyMemoryPool::new(1 << 30),
    );
    let (senders, mut inbox) = inbox(3, "test", &pool);
    let rows = |count: i64| {
        let column: ArrayRef = Arc::new(Int64Array::from_iter_values(0..count));
        let batch = arrow::record_batch::RecordBatch::try_from_iter([("a", column)]);
        Message::Batch(batch.unwrap())
    };
    for (channel, message) in [
        (0, rows(1)),
        (0, Message::Barrier(Epoch(1))),
        (0, rows(2)),
        (1, rows(3)),
        (1, Message::Watermark(EventTime(7))),
        (1, rows(4)),
        (2, rows(5)),
    ] {
        senders[channel].send(message).await.unwrap();
    }
    inbox.block(2);
    let mut found = Vec::new();
    let rows_of = |message| match message {
        Message::Batch(batch) => batch.num_rows(),
        _ => 0,
    };
    while let Some((channel, message)) = inbox.try_recv_flow(|channel| channel != 1) {
        found.push((channel, rows_of(message)));
    }
    assert_eq!(
        found,
        [(0, 1)],
        "a barrier, another input and a blocked channel"
    );
    while let Some((channel, message)) = inbox.try_recv_flow(|_| true) {
        found.push((channel, rows_of(message)));
    }
    assert_eq!(found, [(0, 1), (1, 3), (1, 0), (1, 4)]);
    assert!(matches!(inbox.recv().await, (0, Message::Barrier(_))));
    assert!(matches!(inbox.recv().await, (0, Message::Batch(_))));
}

#[tokio::test]
async fn a_full_channel_makes_its_sender_wait() {
    use arrow::array::{ArrayRef, Int64Array};
    use std::sync::Arc;
    let pool: Arc<dyn datafusion_execution::memory_pool::MemoryPool> = Arc::new(
        datafusion_execution::memory_pool::GreedyMemoryPool::new(1 << 30),
    );
    let (senders, mut inbox) = inbox(1, "test", &pool);
    let column: ArrayRef = Arc::new(Int64Array::from(vec![1; 300_000]));
    let batch = arrow::record_batch::RecordBatch::try_from_iter([("a", column)]).unwrap();
    senders[0]
        .send(Message::Batch(batch.clone()))
        .await
        .unwrap();
    let second = senders[0].send(Message::Batch(batch));
    tokio::pin!(second);
    tokio::select! {
        biased;
        _ = &mut second => panic!("2.4 MB and 2.4 MB are more than a channel holds"),
        () = std::future::ready(()) => {}
    }
    assert!(pool.reserved() >= 2_400_000);
    inbox.recv().await;
    second.await.unwrap();
    inbox.recv().await;
    assert_eq!(pool.reserved(), 0);
}
