//! What a store's calls say of it, one by one: when it does not answer, when it does again, and when
//! much of what it is asked fails. Pure: the caller knows the time and tells people.

use std::time::Duration;

/// A store that does not answer for so long is told: shorter troubles nobody would notice.
const PATIENCE: Duration = Duration::from_secs(2);
/// How often it is told again.
const REPEAT: Duration = Duration::from_secs(10);
/// Fewer failed calls within [`REPEAT`] are not worth a word.
const SHAKY_CALLS_MIN: u32 = 10;
/// Nor are failed calls that are less than one in so many.
const SHAKY_SHARE: u32 = 10;

/// What is known of a store.
#[derive(Debug, Default)]
pub(super) struct Health {
    /// Since when no call has worked, and how many have failed.
    away: Option<(Duration, u32)>,
    /// When it was last told that the store is away.
    told: Option<Duration>,
    /// Since when calls are counted.
    since: Duration,
    calls: u32,
    failed: u32,
}

/// What people should know.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum News {
    /// No call has worked for so long.
    Away {
        /// Calls that have failed.
        failed: u32,
        /// Since the first of them.
        span: Duration,
    },
    /// It answers again, after so long.
    Back(Duration),
    /// Some calls work, and many do not.
    Shaky {
        /// Calls that have failed.
        failed: u32,
        /// All calls.
        calls: u32,
        /// The time in which they were made.
        span: Duration,
    },
}

impl Health {
    /// Takes a call that has worked or failed at this time.
    pub(super) fn heard(&mut self, now: Duration, works: bool) -> Option<News> {
        self.calls = self.calls.saturating_add(1);
        if works {
            let (since, _) = self.away.take()?;
            self.told.take()?;
            return Some(News::Back(now.saturating_sub(since)));
        }
        self.failed = self.failed.saturating_add(1);
        let (since, failed) = self.away.get_or_insert((now, 0));
        *failed = failed.saturating_add(1);
        let (span, failed) = (now.saturating_sub(*since), *failed);
        let due = |last: Duration| now.saturating_sub(last) >= REPEAT;
        if span >= PATIENCE && self.told.is_none_or(due) {
            self.told = Some(now);
            self.count_anew(now);
            return Some(News::Away { failed, span });
        }
        if !due(self.since) {
            return None;
        }
        let (failed, calls) = (self.failed, self.calls);
        let span = now.saturating_sub(self.since);
        self.count_anew(now);
        let shaky = failed >= SHAKY_CALLS_MIN && failed.saturating_mul(SHAKY_SHARE) >= calls;
        shaky.then_some(News::Shaky {
            failed,
            calls,
            span,
        })
    }

    fn count_anew(&mut self, now: Duration) {
        (self.since, self.calls, self.failed) = (now, 0, 0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Calls every 100 ms, `x` fails and `.` works; gives what is told, with its time.
    fn check(calls: &str, expected: &expect_test::Expect) {
        let mut health = Health::default();
        let mut text = String::new();
        for (number, call) in calls.chars().enumerate() {
            let now = Duration::from_millis(60_000 + 100 * number as u64);
            if let Some(news) = health.heard(now, call == '.') {
                text.push_str(&format!("{} ms: {news:?}\n", 100 * number));
            }
        }
        expected.assert_eq(&text);
    }

    #[test]
    fn what_nobody_would_notice_is_not_told() {
        check("..x...xx....xxxxx.....", &expect_test::expect![[""]]);
        check(&"x...........".repeat(100), &expect_test::expect![[""]]);
    }

    #[test]
    fn a_store_that_is_away_is_told_now_and_then_until_it_is_back() {
        let expected = expect_test::expect![[r#"
            2100 ms: Away { failed: 21, span: 2s }
            12100 ms: Away { failed: 121, span: 12s }
            15100 ms: Back(15s)
        "#]];
        check(&format!(".{}...", "x".repeat(150)), &expected);
    }

    #[test]
    fn many_failures_among_calls_that_work_are_told() {
        let expected = expect_test::expect![[r#"
            10400 ms: Shaky { failed: 34, calls: 102, span: 10.2s }
            20600 ms: Shaky { failed: 34, calls: 102, span: 10.2s }
        "#]];
        check(&"..x".repeat(80), &expected);
    }
}
