//! Round trips, and damage of every kind.

use std::sync::Arc;

use arrow::datatypes::{DataType, Field, Schema, TimeUnit};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use super::*;

pub(in crate::checkpoint) fn sample() -> Manifest {
    let file = |epoch: u64, full| StateFile {
        path: format!("state/0000000002-{epoch:020}/agg-0-0.state"),
        epoch,
        bytes: 4_711,
        rows: 99,
        checksum: u64::MAX - epoch,
        full,
    };
    let schema = Schema::new_with_metadata(
        vec![
            Field::new("id", DataType::Int64, false),
            Field::new(
                "at",
                DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into())),
                true,
            ),
        ],
        [("weir.version".to_owned(), "1".to_owned())].into(),
    );
    Manifest {
        format: FORMAT,
        pipeline: "orders \"ä\"\n".to_owned(),
        origin: "host-0".to_owned(),
        generation: 2,
        epoch: 41,
        writer: "host-1".to_owned(),
        created_micros: 1_700_000_000_000_000,
        restored_from: Some(39),
        kind: ManifestKind::Periodic,
        nodes: vec![NodeState {
            id: "agg/1".to_owned(),
            fingerprint: "f00".to_owned(),
            chains: vec![Chain {
                subtask: 0,
                files: vec![file(40, true), file(41, false)],
            }],
        }],
        commits: vec![SinkCommit {
            node: "sink/1".to_owned(),
            epoch: 41,
            tokens: vec![SavedToken {
                payload: "{\"a\":1}".to_owned(),
                rows: 3,
                bytes: 10,
                outbox: Some(file(41, true)),
            }],
        }],
        views: vec![ViewInfo {
            name: "v".to_owned(),
            node: "agg/1".to_owned(),
            schema: SavedSchema(Arc::new(schema)),
            key: vec![0],
        }],
        rows_in: 1 << 60,
        tallies: Vec::new(),
        requests: None,
        paused: Vec::new(),
    }
}

/// Changes bytes in one of the ways in which disks and networks do; never gives what it got.
pub(in crate::checkpoint) fn mutate(bytes: &[u8], rng: &mut StdRng) -> (String, Vec<u8>) {
    loop {
        let mut changed = bytes.to_vec();
        let at = rng.random_range(0..bytes.len());
        let length = rng.random_range(1..=64).min(bytes.len() - at);
        let what = match rng.random_range(0..7) {
            0 => {
                changed[at] ^= 1 << rng.random_range(0..8);
                "flip"
            }
            1 => {
                changed.truncate(at);
                "truncate"
            }
            2 => {
                changed[at..at + length].fill(0);
                "zero"
            }
            3 => {
                let added: Vec<u8> = (0..length).map(|_| rng.random()).collect();
                changed.splice(at..at, added);
                "insert"
            }
            4 => {
                let added: Vec<u8> = (0..length).map(|_| rng.random()).collect();
                changed.extend(added);
                "append"
            }
            5 => {
                changed.drain(at..at + length);
                "remove"
            }
            _ => {
                let other = rng.random_range(0..bytes.len());
                changed.swap(at, other);
                "swap"
            }
        };
        if changed != bytes {
            return (format!("{what} at {at}, length {length}"), changed);
        }
    }
}

pub(in crate::checkpoint) fn seed() -> u64 {
    let given = std::env::var("SEED")
        .ok()
        .and_then(|seed| seed.parse().ok());
    let seed = given.unwrap_or(20_251_121);
    println!("SEED={seed}");
    seed
}

#[test]
fn comes_back_as_it_was() {
    let manifest = sample();
    let bytes = manifest.encode().unwrap();
    assert_eq!(Manifest::decode(&bytes).unwrap(), manifest);
    assert_eq!(manifest.files().count(), 3);
    assert!(bytes.starts_with(b"weir-manifest 1 xxh3-64 "));
}

#[test]
fn every_single_bit_and_cut_is_detected() {
    let bytes = sample().encode().unwrap();
    for at in 0..bytes.len() {
        for bit in 0..8 {
            let mut changed = bytes.clone();
            changed[at] ^= 1 << bit;
            let error = Manifest::decode(&changed).unwrap_err();
            assert_eq!(error.code(), codes::CHECKPOINT_CORRUPT, "bit {bit} of {at}");
        }
        let error = Manifest::decode(&bytes[..at]).unwrap_err();
        assert_eq!(error.code(), codes::CHECKPOINT_CORRUPT, "cut at {at}");
    }
}

#[test]
fn random_damage_is_detected() {
    let bytes = sample().encode().unwrap();
    let mut rng = StdRng::seed_from_u64(seed());
    for _ in 0..2_000 {
        let (what, changed) = mutate(&bytes, &mut rng);
        let error = Manifest::decode(&changed).expect_err(&what);
        assert_eq!(error.code(), codes::CHECKPOINT_CORRUPT, "{what}");
    }
}

#[test]
fn a_newer_format_is_not_damage() {
    let mut manifest = sample();
    manifest.format = FORMAT + 1;
    let error = Manifest::decode(&manifest.encode().unwrap()).unwrap_err();
    assert_eq!(error.code(), codes::CHECKPOINT_FORMAT);
}
