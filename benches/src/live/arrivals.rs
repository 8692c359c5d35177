//! What has come: each row is compared with what must come, and its latency kept.

use std::collections::HashMap;

use super::events::{self, DELAY_US, Events, KEPT_FROM_KEY};

/// A query over the events.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Query {
    /// A filter and a computed column.
    Stateless,
    /// Count and sum per key and window of a second.
    Window,
}

/// A row that has come.
#[derive(Debug)]
pub(super) enum Row {
    /// Of [`Query::Stateless`].
    Event {
        id: u64,
        at_us: u64,
        key: u64,
        doubled: f64,
    },
    /// Of [`Query::Window`].
    Window {
        end_us: u64,
        key: u64,
        count: u64,
        sum: f64,
    },
    /// Of none.
    Odd,
}

/// The rows that have come, and those that are missing.
#[derive(Debug)]
pub(crate) struct Arrivals {
    events: Events,
    /// Latencies count of events that are due from then on.
    from_us: u64,
    missing: Missing,
    /// Latencies in microseconds.
    latencies: Vec<u32>,
    /// Rows that came again, or that there should not be.
    wrong: u64,
    /// Rows that came as they should.
    rows: u64,
    last_us: u64,
}

/// What has not come yet.
#[derive(Debug)]
enum Missing {
    /// A bit for each event, and how many rows are missing.
    Events(Vec<u64>, u64),
    /// Count and sum by window and key.
    Windows(HashMap<(u64, u64), (u64, f64)>),
}

impl Arrivals {
    /// Knows what must come of a query over events.
    pub(super) fn new(query: Query, events: Events, from_us: u64) -> Self {
        let missing = match query {
            Query::Stateless => {
                let words = events.count.div_ceil(64) as usize;
                Missing::Events(vec![0; words], events.kept())
            }
            Query::Window => Missing::Windows(events.windows()),
        };
        Self {
            events,
            from_us,
            missing,
            latencies: Vec::new(),
            wrong: 0,
            rows: 0,
            last_us: 0,
        }
    }

    /// Takes a row that came at a time.
    pub(super) fn take(&mut self, row: Row, now_us: u64) {
        match self.missed(&row) {
            None => self.wrong += 1,
            Some(ready_us) => {
                self.rows += 1;
                self.last_us = now_us;
                if ready_us >= self.from_us {
                    let late = now_us.saturating_sub(ready_us);
                    self.latencies.push(u32::try_from(late).unwrap_or(u32::MAX));
                }
            }
        }
    }

    /// Strikes a row off and says from when on it could be there; nothing when it was not missing.
    fn missed(&mut self, row: &Row) -> Option<u64> {
        match (row, &mut self.missing) {
            (
                Row::Event {
                    id,
                    at_us,
                    key,
                    doubled,
                },
                Missing::Events(seen, missing),
            ) => {
                let word = seen.get_mut((id / 64) as usize)?;
                let bit = 1 << (id % 64);
                let right = *id < self.events.count
                    && *at_us == self.events.due_us(*id)
                    && *key == events::key(*id)
                    && *key >= KEPT_FROM_KEY
                    && *doubled == 2.0 * events::value(*id)
                    && *word & bit == 0;
                if !right {
                    return None;
                }
                *word |= bit;
                *missing -= 1;
                Some(*at_us)
            }
            (
                Row::Window {
                    end_us,
                    key,
                    count,
                    sum,
                },
                Missing::Windows(windows),
            ) => {
                let of = (*end_us, *key);
                if windows.get(&of) != Some(&(*count, *sum)) {
                    return None;
                }
                windows.remove(&of);
                // The last windows are closed by what comes long after them.
                let ready_us = end_us + DELAY_US;
                Some(if ready_us <= self.events.end_us() {
                    ready_us
                } else {
                    0
                })
            }
            _ => None,
        }
    }

    /// How many rows are missing.
    pub(crate) fn missing(&self) -> u64 {
        match &self.missing {
            Missing::Events(_, missing) => *missing,
            Missing::Windows(windows) => windows.len() as u64,
        }
    }

    /// How many rows came that should not.
    pub(crate) fn wrong(&self) -> u64 {
        self.wrong
    }

    /// Whether every row has come.
    pub(super) fn is_complete(&self) -> bool {
        self.missing() == 0
    }

    /// How many right rows came.
    pub(crate) fn rows(&self) -> u64 {
        self.rows
    }

    /// When the last right row came.
    pub(crate) fn last_us(&self) -> u64 {
        self.last_us
    }

    /// The latencies, in order.
    pub(crate) fn latencies(mut self) -> Vec<u32> {
        self.latencies.sort_unstable();
        self.latencies
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const EVENTS: Events = Events {
        start_us: 1_000_000,
        rate: 1_000,
        count: 3_000,
    };

    fn event(id: u64) -> Row {
        Row::Event {
            id,
            at_us: EVENTS.due_us(id),
            key: events::key(id),
            doubled: 2.0 * events::value(id),
        }
    }

    #[test]
    fn every_event_comes_once_and_late_by_what_it_is() {
        let mut arrivals = Arrivals::new(Query::Stateless, EVENTS, EVENTS.due_us(1_000));
        for id in (0..3_000).filter(|id| events::key(*id) >= KEPT_FROM_KEY) {
            assert!(!arrivals.is_complete());
            arrivals.take(event(id), EVENTS.due_us(id) + id);
        }
        assert!(arrivals.is_complete());
        assert_eq!(arrivals.wrong(), 0);
        let filtered = (0..3_000)
            .find(|id| events::key(*id) < KEPT_FROM_KEY)
            .unwrap();
        for odd in [
            event(filtered),
            event(5),
            event(3_000),
            event(9_000),
            Row::Odd,
        ] {
            arrivals.take(odd, 0);
        }
        assert_eq!(arrivals.wrong(), 5);
        let latencies = arrivals.latencies();
        assert!(
            latencies
                .iter()
                .all(|latency| (1_000..3_000).contains(latency))
        );
    }

    #[test]
    fn a_window_comes_once_with_its_count_and_sum() {
        let mut arrivals = Arrivals::new(Query::Window, EVENTS, 0);
        let right = EVENTS.windows();
        for ((end_us, key), (count, sum)) in &right {
            let row = |count| Row::Window {
                end_us: *end_us,
                key: *key,
                count,
                sum: *sum,
            };
            arrivals.take(row(count + 1), 0);
            arrivals.take(row(*count), end_us + DELAY_US + 7);
            arrivals.take(row(*count), 0);
        }
        assert!(arrivals.is_complete());
        assert_eq!(arrivals.wrong(), 2 * right.len() as u64);
        // The last of the three windows is closed by what comes after the events.
        let latencies = arrivals.latencies();
        assert!(latencies.iter().filter(|latency| **latency == 7).count() > right.len() / 2);
    }
}
