//! Damaged checkpoints: what is wrong is found at the start, an epoch before is used, and the files
//! that the pipeline has shown are still exact.

use std::path::Path;
use std::time::Duration;

use super::checker::{Checker, Output};
use super::kills::{FLAGS, Kills, number};
use super::log::Log;
use super::stateless::{prefix, script};
use crate::program::Place;

/// Damaged checkpoints when `CHAOS_DAMAGES` says nothing: one of each kind.
const DAMAGES: u32 = 4;
/// The longest wait for an epoch, in a debug build on a busy machine.
const WAIT_MAX: Duration = Duration::from_secs(60);

/// What is done to a file.
#[derive(Debug, Clone, Copy)]
enum Damage {
    Flip,
    Cut,
}

fn damage(kills: &mut Kills, file: &Path, how: Damage) {
    let mut bytes = std::fs::read(file).unwrap();
    let place = kills.below(bytes.len());
    match how {
        Damage::Flip => bytes[place] ^= 1 << kills.below(8),
        Damage::Cut => bytes.truncate(place),
    }
    std::fs::write(file, bytes).unwrap();
}

#[test]
fn damaged_checkpoints_are_found_and_passed_over() {
    let mut kills = Kills::plan("damage", number("CHAOS_DAMAGES", DAMAGES));
    let mut checker = Checker::start();
    while kills.left > 0 {
        round(&mut kills, &mut checker);
    }
    println!(
        "damage: {} checkpoints damaged, all found, files exact",
        kills.done
    );
}

/// Damages a few checkpoints of one run.
fn round(kills: &mut Kills, checker: &mut Checker) {
    let mut left = kills.left.min(DAMAGES);
    let place = Place::new();
    let log = Log::open(&place.path().join("state"));
    let out = place.path().join("out");
    let (seed, rows) = (kills.seed, 10_000 + 15_000 * u64::from(left));
    let script = script(seed, rows, "connector = 'file', path = 'out/'");
    let mut running = place.start(&script, &FLAGS);
    while left > 0 {
        // The start's own claim, and two epochs with something new: one to damage, one to use.
        let reached = log.newest() + 3;
        running.until(WAIT_MAX, "next epoch", || log.newest() >= reached);
        running.kill();
        assert!(!log.durable().over, "too few rows for so many damages");
        let newest = log.manifests().remove(0);
        let how = if kills.below(2) == 0 {
            Damage::Flip
        } else {
            Damage::Cut
        };
        let files = log.new_files(&newest);
        let manifests = log.manifest_files(newest.epoch);
        let passed_over = match left % 3 {
            0 => {
                // The mirror still has it, unless the kill came before it was written.
                damage(kills, &manifests[0], how);
                !manifests[1].exists()
            }
            1 if !files.is_empty() => {
                let file = &files[kills.below(files.len())];
                damage(kills, file, how);
                true
            }
            _ => {
                for manifest in manifests.iter().filter(|file| file.exists()) {
                    damage(kills, manifest, how);
                }
                true
            }
        };
        left -= 1;
        kills.left -= 1;
        kills.done += 1;
        let state = FLAGS[1];
        let told = place.weir(&["checkpoint", "list", "--state", state]);
        running = place.start(&script, &FLAGS);
        running.until(WAIT_MAX, "takeover", || log.newest() > newest.epoch);
        let used = log.manifests().remove(0).restored_from;
        let expected = if passed_over {
            used < Some(newest.epoch)
        } else {
            used == Some(newest.epoch)
        };
        assert!(
            expected,
            "{how:?} in epoch {}, used {used:?}\n{}",
            newest.epoch, told.out
        );
    }
    running.wait().ok();
    let durable = log.durable();
    assert!(durable.over);
    let found = checker.check(
        &Output::folder(&out),
        kills.done,
        true,
        prefix(seed, rows, &durable),
    );
    assert_eq!((found.rows, found.complete), (rows, true));
}
