//! Window arithmetic against windows found by trying all of them.

use std::collections::BTreeSet;

use expect_test::{Expect, expect};
use rand::Rng;

use super::harness::{random_kind, rng, seeds, windows_of};
use crate::window::{Span, WindowKind, WindowSpec};

#[test]
fn windows_and_slices_of_a_time() {
    for seed in seeds(60) {
        let mut rng = rng("windows_and_slices_of_a_time", seed);
        let (kind, offset) = random_kind(&mut rng);
        let spec = WindowSpec::new(kind, offset).unwrap();
        for _ in 0..200 {
            let ts = rng.random_range(-5_000..5_000);
            let expected = windows_of(kind, offset, ts);
            let found: BTreeSet<_> = spec.windows(ts).map(|w| (w.start, w.end)).collect();
            assert_eq!(found, expected, "{spec} at {ts}");
            let ends = expected.iter().map(|w| w.1);
            assert_eq!(spec.first_end_after(ts), ends.clone().min().unwrap());
            assert_eq!(spec.last_end(ts), ends.max().unwrap());
            assert!(expected.len() as u64 <= spec.windows_per_row());

            // A slice has the same windows everywhere, and its neighbours have others.
            let slice = spec.slice(ts);
            assert!(slice.start <= ts && ts < slice.end);
            for inside in [slice.start, slice.end - 1] {
                assert_eq!(
                    windows_of(kind, offset, inside),
                    expected,
                    "{spec} {slice:?}"
                );
            }
            assert_ne!(
                windows_of(kind, offset, slice.end),
                expected,
                "{spec} {slice:?}"
            );
            let number = spec.slice_number(ts);
            assert_eq!(spec.slice_start(number), slice.start);
            assert_eq!(spec.slice_start(number + 1), slice.end);
        }
    }
}

#[test]
fn closed_windows_are_those_with_rows_between_two_watermarks() {
    for seed in seeds(60) {
        let mut rng = rng("closed_windows", seed);
        let (kind, offset) = random_kind(&mut rng);
        let spec = WindowSpec::new(kind, offset).unwrap();
        let mut times: Vec<i64> = (0..10).map(|_| rng.random_range(-3_000..3_000)).collect();
        times.push(rng.random_range(100_000_000..100_000_100));
        let slices: BTreeSet<Span> = times.iter().map(|t| spec.slice(*t)).collect();
        let slices: Vec<Span> = slices.into_iter().collect();
        let done = rng.random_range(-4_000..4_000);
        let watermark = [done + rng.random_range(0..2_000), i64::MAX][rng.random_range(0..2)];
        let mut expected: Vec<(i64, i64)> = times
            .iter()
            .flat_map(|t| windows_of(kind, offset, *t))
            .filter(|(_, end)| done < *end && *end <= watermark)
            .map(|(start, end)| (end, start))
            .collect();
        expected.sort_unstable();
        expected.dedup();
        let found: Vec<(i64, i64)> = spec
            .closed(&slices, done, watermark)
            .iter()
            .map(|w| (w.end, w.start))
            .collect();
        assert_eq!(found, expected, "{spec} {done} {watermark}");
    }
}

#[test]
fn extreme_times_do_not_overflow() {
    for kind in [
        WindowKind::Tumble { size: 1 << 60 },
        WindowKind::Hop {
            slide: (1 << 60) - 7,
            size: 1 << 60,
        },
        WindowKind::Cumulate {
            step: 1 << 59,
            size: 1 << 60,
        },
        WindowKind::Tumble { size: 1 },
    ] {
        let spec = WindowSpec::new(kind, i64::MIN).unwrap();
        for time in [-(1 << 62), 1 << 62, 0, -1] {
            assert!(WindowSpec::accepts(time));
            assert!(spec.windows(time).count() >= 1);
            assert!(spec.slice(time).end > time);
        }
        for time in [i64::MIN, i64::MAX] {
            assert!(!WindowSpec::accepts(time));
            spec.slice_number(time);
            spec.first_end_after(time);
            spec.window_ending(time);
        }
    }
}

fn check(kind: WindowKind, expected: Expect) {
    let text = match WindowSpec::new(kind, 0) {
        Ok(spec) => spec.to_string(),
        Err(error) => error.report(None),
    };
    expected.assert_eq(&text);
}

#[test]
fn lengths_are_checked_and_printed() {
    const S: i64 = 1_000_000;
    check(WindowKind::Tumble { size: 90 * S }, expect!["TUMBLE(90s)"]);
    check(WindowKind::Tumble { size: 1_500 }, expect!["TUMBLE(1.5ms)"]);
    check(
        WindowKind::Hop {
            slide: 60 * S,
            size: 3_600 * S,
        },
        expect!["HOP(1min, 1h)"],
    );
    check(
        WindowKind::Tumble { size: -5 * S },
        expect![[r#"
            error[E0111]: the size of TUMBLE must be positive
              detail: it is -5s
              hint: write an interval such as INTERVAL '1 minute'"#]],
    );
    check(
        WindowKind::Hop { slide: 0, size: S },
        expect![[r#"
            error[E0111]: the slide of HOP must be positive
              detail: it is 0s
              hint: write an interval such as INTERVAL '1 minute'"#]],
    );
    check(
        WindowKind::Hop {
            slide: 2 * S,
            size: S,
        },
        expect![[r#"
            error[E0111]: the size of HOP must not be less than its slide
              detail: the slide is 2s, the size is 1s
              hint: HOP takes the slide first, then the size"#]],
    );
    check(
        WindowKind::Cumulate {
            step: 7 * S,
            size: 60 * S,
        },
        expect![[r#"
            error[E0111]: the size of CUMULATE must be a multiple of its step
              detail: the step is 7s, the size is 1min
              hint: choose a step that divides the size"#]],
    );
    check(
        WindowKind::Hop { slide: 1, size: S },
        expect![[r#"
            error[E0111]: HOP puts each row into 1000000 windows
              detail: the slide is 1µs, the size is 1s; at most 100000 windows are allowed
              hint: choose a longer slide or a shorter size"#]],
    );
}
