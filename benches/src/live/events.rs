//! The events of a live stream, each made from its number, and the rows that must come of them.

use std::collections::HashMap;
use std::io::Write;

/// Keys of events.
pub(crate) const KEYS: u64 = 1_000;
/// The key of what is sent to see whether the pipeline runs, and to close the last windows.
pub(crate) const PROBE_KEY: u64 = 1_000_000;
/// Events with lower keys are filtered out: one of ten.
pub(crate) const KEPT_FROM_KEY: u64 = 100;
/// Length of the windows.
pub(crate) const WINDOW_US: u64 = 1_000_000;
/// How far the watermark is behind the events.
pub(crate) const DELAY_US: u64 = 100_000;

/// Events at a steady rate.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Events {
    /// When the first is due, in microseconds since 1970.
    pub(crate) start_us: u64,
    /// How many are due in a second.
    pub(crate) rate: u64,
    /// How many there are.
    pub(crate) count: u64,
}

impl Events {
    /// When an event is due, which is its time as well.
    pub(crate) fn due_us(&self, id: u64) -> u64 {
        self.start_us + (u128::from(id) * 1_000_000 / u128::from(self.rate)) as u64
    }

    /// How many of them are due by a time.
    pub(crate) fn due_by(&self, now_us: u64) -> u64 {
        let since = now_us.saturating_sub(self.start_us);
        // An event is due in the microsecond that `due_us` gives.
        let whole = ((u128::from(since) + 1) * u128::from(self.rate)).div_ceil(1_000_000) as u64;
        if now_us < self.start_us {
            0
        } else {
            whole.min(self.count)
        }
    }

    /// When the last has been due.
    pub(crate) fn end_us(&self) -> u64 {
        self.due_us(self.count)
    }

    /// How many rows the filter leaves.
    pub(crate) fn kept(&self) -> u64 {
        let is_kept = |id: &u64| key(*id) >= KEPT_FROM_KEY;
        (0..self.count).filter(is_kept).count() as u64
    }

    /// Count and sum per end of a window and key, of the windows that the events close.
    pub(crate) fn windows(&self) -> HashMap<(u64, u64), (u64, f64)> {
        let mut windows = HashMap::new();
        for id in 0..self.count {
            let end_us = (self.due_us(id) / WINDOW_US + 1) * WINDOW_US;
            let (count, sum) = windows.entry((end_us, key(id))).or_insert((0, 0.0));
            *count += 1;
            *sum += value(id);
        }
        windows
    }
}

/// The key of an event: spread over all of them, and the same in every run.
pub(crate) fn key(id: u64) -> u64 {
    id.wrapping_mul(0x9E37_79B9_7F4A_7C15) % (1 << 32) % KEYS
}

/// The value of an event: sums of it are exact in any order.
pub(crate) fn value(id: u64) -> f64 {
    (id % 4_096) as f64 / 4.0
}

/// Writes an event as JSON, in place of what the buffer held.
pub(crate) fn write_json(buffer: &mut Vec<u8>, id: u64, at_us: u64) {
    write(buffer, id, at_us, key(id));
}

/// Writes an event that no result counts.
pub(crate) fn write_probe(buffer: &mut Vec<u8>, at_us: u64) {
    write(buffer, 0, at_us, PROBE_KEY);
}

fn write(buffer: &mut Vec<u8>, id: u64, at_us: u64, key: u64) {
    buffer.clear();
    let value = value(id);
    // Writing into memory does not fail.
    drop(write!(
        buffer,
        r#"{{"id":{id},"at":{at_us},"key":{key},"value":{value:.2},"note":"reading of sensor {key}"}}"#
    ));
}

#[cfg(test)]
mod tests {
    use super::*;

    const EVENTS: Events = Events {
        start_us: 1_500_000,
        rate: 3_000,
        count: 7_000,
    };

    #[test]
    fn an_event_is_sent_in_the_microsecond_in_which_it_is_due() {
        assert_eq!(EVENTS.due_by(EVENTS.start_us - 1), 0);
        assert_eq!(EVENTS.due_by(EVENTS.start_us), 1);
        for id in [1, 2, 3, 2_999, 3_000, 6_999] {
            let due = EVENTS.due_us(id);
            assert!(EVENTS.due_by(due) > id, "{id}");
            assert!(EVENTS.due_by(due - 1) <= id, "{id}");
        }
        assert_eq!(EVENTS.due_by(u64::MAX / 2), 7_000);
    }

    #[test]
    fn windows_hold_every_event_once() {
        let windows = EVENTS.windows();
        let count: u64 = windows.values().map(|(count, _)| count).sum();
        let sum: f64 = windows.values().map(|(_, sum)| sum).sum();
        assert_eq!(count, 7_000);
        assert_eq!(sum, (0..7_000).map(value).sum::<f64>());
        assert!(
            windows
                .keys()
                .all(|(end, _)| (2_000_000..=4_000_000).contains(end))
        );
    }

    #[test]
    fn the_filter_leaves_nine_of_ten() {
        let share = EVENTS.kept() as f64 / EVENTS.count as f64;
        assert!((share - 0.9).abs() < 0.02, "{share}");
    }

    #[test]
    fn events_are_json() {
        let mut buffer = Vec::new();
        write_json(&mut buffer, 7, 8);
        let event: serde_json::Value = serde_json::from_slice(&buffer).unwrap();
        assert_eq!(event["id"], 7);
        assert_eq!(event["at"], 8);
        assert_eq!(event["value"], 1.75);
    }
}
