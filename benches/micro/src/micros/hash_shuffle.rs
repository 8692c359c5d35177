//! Batches divided over four subtasks by the hash of a key, through the channels between them.

use datafusion_physical_expr::expressions::col;
use weir_engine::exchange::{Inbox, Outlet, inbox};
use weir_engine::graph::Partitioning;
use weir_engine::message::Message;

use crate::input;
use crate::subtask::{memory, wait};
use crate::work::{Micro, Prepared, Result};

const ROWS: usize = 1 << 17;
const RECEIVERS: usize = 4;

pub(super) const BY_KEY: Micro = Micro {
    name: "hash_shuffle",
    prepare,
};

fn prepare() -> Result<Prepared> {
    let batches = input::measurements(ROWS, 1_000)?;
    Ok(Prepared::new(ROWS, ROWS, move || {
        let by = Partitioning::Hash(vec![col("key", &input::measurement())?]);
        let (mut senders, mut inboxes) = (Vec::new(), Vec::new());
        for _ in 0..RECEIVERS {
            let (ends, receiver) = inbox(1, "micro", &memory());
            senders.extend(ends);
            inboxes.push(receiver);
        }
        let mut outlet = Outlet::new(&by, senders, 0);
        let batches = batches.clone();
        Ok(Box::new(move || {
            let mut rows = 0;
            for (batch, _) in batches {
                wait(outlet.send(batch))??;
                rows += inboxes.iter_mut().map(received).sum::<usize>();
            }
            Ok(rows)
        }))
    }))
}

/// The rows that wait in an inbox.
fn received(inbox: &mut Inbox) -> usize {
    let mut rows = 0;
    while let Some((_, message)) = inbox.try_recv() {
        if let Message::Batch(batch) = message {
            rows += batch.num_rows();
        }
    }
    rows
}
