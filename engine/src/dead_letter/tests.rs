//! Requests through the epochs of a pipeline: what a checkpoint says of them, and what is noted when
//! their rows are shown.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::Int64Array;
use arrow::record_batch::RecordBatch;
use parking_lot::Mutex;

use super::{DeadLetters, MemoryStore, Numbers};
use crate::error::Result;
use crate::quarantine::{Action, Kept, Quarantine, Request};
use crate::rules::Pause;

/// Requests in memory, of one row each.
#[derive(Debug, Default)]
struct Log {
    actions: Mutex<Vec<Action>>,
    applied: Mutex<BTreeMap<String, u64>>,
    paused: Mutex<Vec<Pause>>,
    resumed: Mutex<Vec<Pause>>,
}

impl Quarantine for Log {
    fn place(&self) -> String {
        "memory".to_owned()
    }

    fn tables(&self) -> Result<Vec<String>> {
        Ok(vec!["t".to_owned()])
    }

    fn open(&self, _table: &str) -> Result<Option<Arc<dyn Kept>>> {
        Ok(None)
    }

    fn ask(&self, _table: &str, request: &Request) -> Result<bool> {
        self.actions.lock().push(request.action);
        Ok(true)
    }

    fn request(&self, _table: &str, number: u64) -> Result<Option<Request>> {
        let at = usize::try_from(number).unwrap() - 1;
        let action = self.actions.lock().get(at).copied();
        let column = Arc::new(Int64Array::from(vec![i64::try_from(number).unwrap()]));
        Ok(action.map(|action| Request {
            number,
            action,
            rows: RecordBatch::try_from_iter([("n", column as _)]).unwrap(),
        }))
    }

    fn last(&self, _table: &str) -> Result<u64> {
        Ok(self.actions.lock().len() as u64)
    }

    fn applied(&self, table: &str) -> Result<u64> {
        Ok(self.applied.lock().get(table).copied().unwrap_or(0))
    }

    fn note_applied(&self, table: &str, number: u64) -> Result<()> {
        self.applied.lock().insert(table.to_owned(), number);
        Ok(())
    }

    fn expire(&self, _before: i64) -> Result<()> {
        Ok(())
    }

    fn note_paused(&self, pause: &Pause) -> Result<()> {
        self.paused.lock().push(pause.clone());
        Ok(())
    }

    fn paused(&self) -> Result<Vec<Pause>> {
        Ok(self.paused.lock().clone())
    }

    fn resume(&self, pause: &Pause) -> Result<()> {
        self.resumed.lock().push(pause.clone());
        Ok(())
    }

    fn is_resumed(&self, pause: &Pause) -> Result<bool> {
        Ok(self.resumed.lock().contains(pause))
    }
}

fn letters(log: &Arc<Log>) -> DeadLetters {
    let log: Arc<Log> = Arc::clone(log);
    DeadLetters::new(Arc::new(MemoryStore::default())).with_quarantine(log, None, true)
}

/// Takes all requests that there are behind one; gives the number of the last.
fn take(task: &DeadLetters, mut last: u64) -> u64 {
    while let Some(request) = task.request_after("t", last).unwrap() {
        last = request.number;
        task.took("t", &request);
    }
    last
}

fn numbers(last: u64) -> Option<Numbers> {
    Some(BTreeMap::from([("t".to_owned(), last)]))
}

#[test]
fn requests_go_with_the_epoch_in_which_they_are_taken() {
    let log = Arc::new(Log::default());
    log.actions.lock().extend([Action::Release, Action::Replay]);
    let job = letters(&log);
    job.begin(&[], (None, &[]), false).unwrap();
    let task = job.of_task(4);
    assert!(task.takes_requests());
    // Without checkpoints, and where a table is read anew at each start, nobody takes any.
    assert!(!job.takes_requests() && !task.without_requests().takes_requests());
    let last = take(&task, task.begun("t"));
    // A reader whose counts another one keeps sees the same rows, and says nothing of them.
    assert_eq!((last, take(&task.muted(), 0)), (2, 2));
    task.pass(5);
    log.actions
        .lock()
        .extend([Action::Discard, Action::Release]);
    assert_eq!(take(&task, last), 4);

    let fifth = job.prepare(5, false).unwrap();
    assert_eq!((job.applied(), log.applied("t").unwrap()), (numbers(2), 0));
    job.commit(&fifth).unwrap();
    assert_eq!(log.applied("t").unwrap(), 2);
    let sixth = job.prepare(6, false).unwrap();
    assert_eq!(job.applied(), numbers(4));
    assert!(job.prepare(7, false).unwrap().is_empty());
    let taken = [("released", 2), ("replayed", 1)].map(|(word, n)| (("t".to_owned(), word), n));
    assert_eq!(job.taken(), BTreeMap::from(taken));

    // It ends before it has shown the sixth: the next start does.
    let next = letters(&log);
    next.begin(&[], (numbers(4).as_ref(), &[]), false).unwrap();
    next.commit(&sixth).unwrap();
    next.commit(&sixth).unwrap();
    assert_eq!((next.begun("t"), log.applied("t").unwrap()), (4, 4));
    // One that goes on from the fifth takes them again; one without a checkpoint, none of them.
    let earlier = letters(&log);
    earlier
        .begin(&[], (numbers(2).as_ref(), &[]), false)
        .unwrap();
    assert_eq!(earlier.begun("t"), 2);
    let fresh = letters(&log);
    fresh.begin(&[], (None, &[]), false).unwrap();
    assert_eq!((fresh.begun("t"), fresh.applied()), (4, numbers(4)));
}

#[test]
fn all_tasks_of_a_run_that_ends_see_the_same_requests() {
    let log = Arc::new(Log::default());
    log.actions.lock().push(Action::Replay);
    let job = letters(&log);
    job.begin(&[], (None, &[]), true).unwrap();
    let task = job.of_task(0);
    assert_eq!(take(&task, 0), 1);
    log.actions.lock().push(Action::Replay);
    assert_eq!((take(&task, 1), take(&task.muted(), 0)), (1, 1));
}

fn pause(epoch: u64) -> Pause {
    Pause {
        source: "t".to_owned(),
        rule: "r".to_owned(),
        detail: "2 rows break it, 1 may".to_owned(),
        run: "run".to_owned(),
        epoch,
    }
}

#[test]
fn a_pause_goes_with_its_epoch_until_a_user_ends_it() {
    let log = Arc::new(Log::default());
    let job = letters(&log);
    job.begin(&[], (None, &[]), false).unwrap();
    let paused = pause(3);
    let mut state = job.inner.state.lock();
    state
        .ledger
        .halts
        .pauses
        .insert("t".to_owned(), paused.clone());
    drop(state);
    assert!(job.is_paused("t") && !job.is_paused("u"));
    // The epoch before it doesn't have it, so that a start from there reads its rows again.
    assert!(job.prepare(2, false).unwrap().is_empty() && job.paused_by(2).is_empty());
    let third = job.prepare(3, false).unwrap();
    let saved = [paused.clone()];
    assert_eq!(job.paused_by(3), saved);
    assert!(log.paused().unwrap().is_empty());
    job.commit(&third).unwrap();
    assert_eq!(log.paused().unwrap(), saved);
    assert!(!job.take_resumed("t").unwrap());

    // It outlives the run, and one that shows nothing before its end does not begin.
    let next = letters(&log);
    next.begin(&[], (None, &saved), false).unwrap();
    assert!(next.is_paused("t") && !next.take_resumed("t").unwrap());
    let batch = letters(&log).begin(&[], (None, &saved), true);
    let hint = batch.unwrap_err().hint_text().unwrap().to_owned();
    assert!(hint.contains("RESUME SOURCE t"));

    log.resume(&paused).unwrap();
    assert!(next.take_resumed("t").unwrap() && !next.is_paused("t"));
    assert!(next.paused_by(9).is_empty());
    // Who ends one pause does not end the next.
    let later = letters(&log);
    later
        .begin(&[], (None, &[paused, pause(5)]), false)
        .unwrap();
    assert_eq!(later.paused(), [pause(5)]);
}
