//! A disk without room: the job ends with a code, nothing half is visible, and it goes on when there
//! is room again.

use std::path::PathBuf;
use std::process::Command;

use super::checker::{Checker, Output};
use super::kills::{FLAGS, Kills};
use super::log::Log;
use super::stateless::{prefix, script};
use crate::program::Place;

/// A small file system in memory, taken away at the end.
#[derive(Debug)]
struct Small {
    folder: PathBuf,
}

impl Small {
    /// Mounts it; `None` where this user may not mount.
    fn mount(folder: PathBuf) -> Option<Self> {
        std::fs::create_dir_all(&folder).unwrap();
        let status = Command::new("mount")
            .args(["-t", "tmpfs", "-o", "size=8m", "tmpfs"])
            .arg(&folder)
            .status()
            .ok()?;
        status.success().then_some(Self { folder })
    }
}

impl Drop for Small {
    fn drop(&mut self) {
        let mut umount = Command::new("umount");
        umount.arg("-l").arg(&self.folder).status().ok();
    }
}

#[test]
fn full_disk_ends_the_job_and_room_lets_it_go_on() {
    let place = Place::new();
    let state = place.path().join("state");
    let Some(_small) = Small::mount(state.clone()) else {
        println!("disk: this user may not mount: not tested here");
        return;
    };
    let kills = Kills::plan("disk", 0);
    let mut checker = Checker::start();
    let (seed, rows) = (kills.seed, 20_000);
    let script = script(seed, rows, "connector = 'file', path = 'out/'");
    // Something else takes nearly all of the room.
    let ballast = state.join("ballast");
    std::fs::write(&ballast, vec![1; 8_100 << 10]).unwrap();
    place.start(&script, &FLAGS).wait().fails(1, "E0502", &[]);
    let log = Log::open(&state);
    let output = Output::folder(&place.path().join("out"));
    checker.check(&output, 0, false, prefix(seed, rows, &log.durable()));
    std::fs::remove_file(&ballast).unwrap();
    let begun = log.newest();
    place.start(&script, &FLAGS).wait().ok();
    let durable = log.durable();
    assert!(durable.over && begun > 0);
    let found = checker.check(&output, 0, true, prefix(seed, rows, &durable));
    assert_eq!((found.rows, found.complete), (rows, true));
}
