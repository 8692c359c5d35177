//! A pause in which other threads may take tasks over.

use std::future::poll_fn;
use std::task::Poll;

/// Lets another thread take this task over. Those who have waited for it are woken on this thread,
/// which reads on for long without a pause; tokio's own yield would leave this task waiting for them.
pub(super) async fn make() {
    let mut waits = true;
    poll_fn(|context| {
        if std::mem::take(&mut waits) {
            context.waker().wake_by_ref();
            return Poll::Pending;
        }
        Poll::Ready(())
    })
    .await;
}
