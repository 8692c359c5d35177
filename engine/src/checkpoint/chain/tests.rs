//! Chains of thousands of epochs, replayed on paper.

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use super::*;
use crate::checkpoint::manifest::tests::seed;

fn file(bytes: u64, full: bool) -> StateFile {
    StateFile {
        path: String::new(),
        epoch: 0,
        bytes,
        rows: 0,
        checksum: 0,
        full,
    }
}

#[test]
fn asks_for_everything_when_changes_outgrow_it() {
    let mib = 1 << 20;
    let cases = [
        (vec![], Extent::All),
        (vec![file(mib, false)], Extent::Changes),
        (vec![file(mib, false), file(1, false)], Extent::All),
        (vec![file(10, true), file(mib, false)], Extent::Changes),
        (vec![file(10, true), file(mib + 1, false)], Extent::All),
        (
            vec![file(9 * mib, true), file(9 * mib, false)],
            Extent::Changes,
        ),
        (
            vec![file(9 * mib, true), file(9 * mib, false), file(1, false)],
            Extent::All,
        ),
        (vec![file(9 * mib, false), file(10, true)], Extent::Changes),
    ];
    for (files, expected) in cases {
        assert_eq!(next_extent(&files), expected, "{files:?}");
    }
}

#[test]
fn merges_runs_and_never_a_full_snapshot() {
    let sizes =
        |sizes: &[u64]| -> Vec<StateFile> { sizes.iter().map(|s| file(*s, false)).collect() };
    assert_eq!(plan(&[]), None);
    assert_eq!(plan(&[file(1, true)]), None);
    assert_eq!(plan(&sizes(&[10, 10, 10])), None);
    assert_eq!(plan(&sizes(&[10, 10, 10, 10])), Some(0..4));
    assert_eq!(plan(&sizes(&[99_999, 10, 10, 10, 10])), Some(1..5));
    assert_eq!(plan(&sizes(&[10, 99_999])), Some(0..2));
    let mut files = vec![file(10, true)];
    files.extend(sizes(&[10, 10, 10, 10]));
    assert_eq!(plan(&files), Some(1..5));
}

/// As a job does it: a file per epoch, merged as planned, begun anew as asked for.
#[test]
fn chains_stay_short_and_merging_cheap() {
    let mut rng = StdRng::seed_from_u64(seed());
    for typical in [300, 20_000, 3_000_000] {
        let state_bytes = 50_000_000;
        let (mut files, mut longest) = (Vec::<StateFile>::new(), 0);
        let (mut changed, mut copied, mut full, mut read) = (0, 0, 0, 0);
        for _ in 0..5_000 {
            let extent = next_extent(&files);
            if extent == Extent::All {
                files = vec![file(state_bytes, true)];
                full += state_bytes;
            } else {
                let bytes = rng.random_range(1..typical * 2);
                changed += bytes;
                files.push(file(bytes, false));
                if let Some(run) = plan(&files) {
                    let bytes: u64 = files[run.clone()].iter().map(|file| file.bytes).sum();
                    assert!(!files[run.clone()].iter().any(|file| file.full));
                    copied += bytes;
                    files.splice(run, [file(bytes, false)]);
                }
            }
            longest = longest.max(files.len());
            read = read.max(bytes(&files));
        }
        println!(
            "typical {typical}: longest {longest}, changed {changed}, copied {copied}, full {full}, read {read}"
        );
        assert!(longest <= 30, "{longest} files with changes of {typical}");
        assert!(copied <= changed * 8, "{copied} bytes copied for {changed}");
        assert!(
            full <= changed + state_bytes,
            "{full} bytes of full snapshots for {changed}"
        );
        assert!(read <= 2 * state_bytes + 2 * typical);
    }
}
