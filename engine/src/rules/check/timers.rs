//! When rules are asked that the clock decides: they have to say something also when no row comes.

use super::Ask;

/// Parts of the time within which a table has to be fresh, after each of which it is looked at.
const LOOKS_PER_TIME: i64 = 20;
/// The least time between two looks, in microseconds.
const LOOK_MIN: i64 = 100_000;
/// Microseconds of a day.
const DAY: i64 = 86_400_000_000;

/// When a rule is asked next.
#[derive(Debug)]
pub(super) struct Timer {
    /// When it is looked at.
    look: i64,
    /// When its verdict is told again, though it has not changed.
    tell: i64,
}

impl Timer {
    pub(super) fn new(ask: &Ask, now: i64) -> Self {
        match ask {
            Ask::Fresh { within, .. } => Self {
                look: now.saturating_add(*within),
                tell: now.saturating_add(*within),
            },
            Ask::Daily { at, .. } => {
                let next = next_day(*at, now);
                Self {
                    look: next,
                    tell: next,
                }
            }
            Ask::Truth(_) | Ask::Past(_) | Ask::Share { .. } => Self {
                look: i64::MAX,
                tell: i64::MAX,
            },
        }
    }

    /// Whether it is time to look; `Some(true)` when the verdict is to be told whatever it is.
    pub(super) fn due(&mut self, ask: &Ask, now: i64) -> Option<bool> {
        if now < self.look {
            return None;
        }
        let tells = now >= self.tell;
        match ask {
            Ask::Fresh { within, .. } => {
                self.look = now.saturating_add((within / LOOKS_PER_TIME).max(LOOK_MIN));
                if tells {
                    self.tell = now.saturating_add(*within);
                }
            }
            _ => {
                let at = match ask {
                    Ask::Daily { at, .. } => *at,
                    _ => 0,
                };
                self.look = next_day(at, now);
                self.tell = self.look;
            }
        }
        Some(tells)
    }
}

/// The next moment at this time of the day.
fn next_day(at: i64, now: i64) -> i64 {
    let today = now.div_euclid(DAY) * DAY + at;
    match today > now {
        true => today,
        false => today + DAY,
    }
}

/// The last moment at this time of the day.
pub(super) fn last_day(at: i64, now: i64) -> i64 {
    next_day(at, now) - DAY
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_day_has_one_deadline() {
        let at = 7 * 3_600_000_000;
        let midnight = 20_000 * DAY;
        assert_eq!(next_day(at, midnight), midnight + at);
        assert_eq!(next_day(at, midnight + at), midnight + at + DAY);
        assert_eq!(last_day(at, midnight), midnight + at - DAY);
        let ask = Ask::Daily { rows: 0, at };
        let mut timer = Timer::new(&ask, midnight);
        assert_eq!(timer.due(&ask, midnight + at - 1), None);
        assert_eq!(timer.due(&ask, midnight + at), Some(true));
        assert_eq!(timer.due(&ask, midnight + at + 1), None);
    }

    #[test]
    fn freshness_is_looked_at_more_often_than_it_is_told() {
        let ask = Ask::Fresh {
            newest: 0,
            within: 20_000_000,
        };
        let mut timer = Timer::new(&ask, 0);
        assert_eq!(timer.due(&ask, 19_999_999), None);
        assert_eq!(timer.due(&ask, 20_000_000), Some(true));
        assert_eq!(timer.due(&ask, 21_000_000), Some(false));
        assert_eq!(timer.due(&ask, 40_000_000), Some(true));
    }
}
