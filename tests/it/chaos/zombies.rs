//! Instances that are frozen while another one takes their pipeline over, and then wake up: they end
//! with the error of one who is fenced, and nothing of theirs is ever visible.

use std::time::{Duration, Instant};

use super::checker::{Checker, Output};
use super::kills::{FLAGS, INTERVAL, Kills, number};
use super::log::Log;
use super::stateless::{prefix, script};
use crate::program::{Place, Running};

/// Frozen instances when `CHAOS_ZOMBIES` says nothing.
const ZOMBIES: u32 = 5;
/// Epochs that the new instance makes durable before the old one wakes up: its own claim is one.
const EPOCHS: u64 = 3;
/// The longest wait for an epoch, in a debug build on a busy machine.
const WAIT_MAX: Duration = Duration::from_secs(60);

/// Waits for the log to reach an epoch.
fn until_epoch(running: &mut Running, log: &Log, epoch: u64) {
    let reached = || log.newest() >= epoch;
    running.until(WAIT_MAX, "next epoch", reached);
}

#[test]
fn frozen_instances_commit_nothing() {
    let mut kills = Kills::plan("zombies", number("CHAOS_ZOMBIES", ZOMBIES));
    let mut checker = Checker::start();
    while kills.left > 0 {
        kills.left -= 1;
        one(&mut kills, &mut checker);
        kills.done += 1;
    }
    println!(
        "zombies: {} frozen, all fenced, nothing of theirs visible",
        kills.done
    );
}

fn one(kills: &mut Kills, checker: &mut Checker) {
    let place = Place::new();
    let log = Log::open(&place.path().join("state"));
    let output = Output::folder(&place.path().join("out"));
    let (seed, rows) = (kills.seed, 20_000);
    let script = script(seed, rows, "connector = 'file', path = 'out/'");
    // Frozen at any moment: while it reads, prepares, publishes or commits.
    let mut frozen = place.start(&script, &FLAGS);
    until_epoch(&mut frozen, &log, 2);
    let lives = Instant::now() + kills.moment(INTERVAL * 2);
    while Instant::now() < lives && frozen.is_running() {
        std::thread::sleep(Duration::from_millis(1));
    }
    frozen.signal("STOP");
    let before = log.newest();
    let mut next = place.start(&script, &FLAGS);
    until_epoch(&mut next, &log, before + EPOCHS);
    frozen.signal("CONT");
    let ended = frozen.wait();
    assert_eq!(ended.code, 1, "{}\n{}", ended.out, ended.err);
    assert!(ended.err.contains("error[E0601]"), "{}", ended.err);
    next.wait().ok();
    let durable = log.durable();
    assert!(durable.over);
    let found = checker.check(&output, kills.done, true, prefix(seed, rows, &durable));
    assert_eq!((found.rows, found.complete), (rows, true));
}
