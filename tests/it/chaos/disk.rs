//! Disks without room: the job ends with a code, nothing half is visible, and it goes on when there
//! is room again. The state's, a sink's, that of dead letters, and that of spilled rows.

use std::path::PathBuf;
use std::process::Command;

use serde_json::json;

use super::checker::{Checker, Output};
use super::kills::{FLAGS, Kills};
use super::log::Log;
use super::stateless::{prefix, script};
use crate::program::Place;

/// The size of the file systems.
const DISK_BYTES: usize = 8 << 20;
/// What something else leaves of one.
const LEFT_BYTES: usize = 92 << 10;

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
            .args(["-t", "tmpfs", "-o"])
            .arg(format!("size={DISK_BYTES}"))
            .arg("tmpfs")
            .arg(&folder)
            .status()
            .ok()?;
        if !status.success() {
            println!("disk: this user may not mount: not tested here");
            return None;
        }
        Some(Self { folder })
    }

    /// Lets something else take nearly all of the room.
    fn fill(&self) {
        std::fs::write(self.ballast(), vec![1; DISK_BYTES - LEFT_BYTES]).unwrap();
    }

    /// Takes that away.
    fn make_room(&self) {
        std::fs::remove_file(self.ballast()).unwrap();
    }

    /// Hidden from readers of a sink's folder.
    fn ballast(&self) -> PathBuf {
        self.folder.join(".ballast")
    }
}

impl Drop for Small {
    fn drop(&mut self) {
        let mut umount = Command::new("umount");
        umount.arg("-l").arg(&self.folder).status().ok();
    }
}

/// Runs a pipeline of rows while the disk below `full` has no room, and then when it has.
fn rows_and_no_room(full: &str, rows: u64) {
    let place = Place::new();
    let Some(small) = Small::mount(place.path().join(full)) else {
        return;
    };
    let kills = Kills::plan(&format!("full disk of {full}"), 0);
    let mut checker = Checker::start();
    let seed = kills.seed;
    let script = script(seed, rows, "connector = 'file', path = 'out/'");
    small.fill();
    place.start(&script, &FLAGS).wait().fails(1, "E0502", &[]);
    let log = Log::open(&place.path().join("state"));
    let output = Output::folder(&place.path().join("out"));
    checker.check(&output, 0, false, prefix(seed, rows, &log.durable()));
    small.make_room();
    let begun = log.newest();
    place.start(&script, &FLAGS).wait().ok();
    let durable = log.durable();
    assert!(durable.over && begun > 0);
    log.check_chain();
    log.check_garbage();
    let found = checker.check(&output, 0, true, prefix(seed, rows, &durable));
    assert_eq!((found.rows, found.complete), (rows, true));
}

#[test]
fn full_disk_of_the_state() {
    rows_and_no_room("state", 20_000);
}

#[test]
fn full_disk_of_a_sink() {
    rows_and_no_room("out", 20_000);
}

/// Each eighth row is a dead letter, long and unlike the others: together they need more room.
#[test]
fn full_disk_of_dead_letters() {
    let place = Place::new();
    let Some(small) = Small::mount(place.path().join("state/dead_letters")) else {
        return;
    };
    let rows = 4_000_u64;
    let noise = |id: u64| (0..64).map(move |n| (id * 64 + n).wrapping_mul(0x9e37_79b9_7f4a_7c15));
    let lines: String = (0..rows)
        .map(|id| match id % 8 {
            0 => {
                noise(id)
                    .map(|word| format!("{word:x}"))
                    .collect::<String>()
                    + "\n"
            }
            _ => format!("{id}\n"),
        })
        .collect();
    place.write("in/rows.csv", format!("id\n{lines}"));
    let script = "SET pipeline.mode = 'streaming';
        SET pipeline.checkpoint_interval = '300 milliseconds';
        CREATE SOURCE made (id BIGINT) WITH (connector = 'file', path = 'in/', format = 'csv');
        CREATE SINK out WITH (connector = 'file', path = 'out/', format = 'parquet') AS
        SELECT id FROM made;";
    small.fill();
    place.start(script, &FLAGS).wait().fails(1, "E0502", &[]);
    let mut checker = Checker::start();
    let output = Output::folder(&place.path().join("out"));
    let question = json!({
        "check": "answer",
        "answer": format!("SELECT id FROM range({rows}) AS n(id) WHERE id % 8 <> 0"),
        "due": "true",
    });
    checker.check(&output, 0, false, question.clone());
    small.make_room();
    place.start(script, &FLAGS).wait().ok();
    let found = checker.check(&output, 0, true, question);
    assert!(found.complete);
    let letters = place.path().join("state/dead_letters/made");
    for found in crate::checker::read(&letters) {
        assert_eq!(found.rows(), rows / 8, "{}", found.reader);
    }
}

/// Keys that do not fit in memory go to temporary files.
#[test]
fn full_disk_of_spilled_rows() {
    let place = Place::new();
    let Some(small) = Small::mount(place.path().join("spill")) else {
        return;
    };
    let rows = 400_000_u64;
    let window = format!(
        "CREATE SOURCE made (seq BIGINT, at TIMESTAMP AS (to_timestamp_millis(seq)),
            WATERMARK FOR at AS at) WITH (connector = 'generator', rows = {rows}, splits = 1);
         CREATE SINK out WITH (connector = 'file', path = 'out/', format = 'parquet') AS
         SELECT seq AS key, count(*) AS n, char_length(max(repeat(md5(CAST(seq AS VARCHAR)), 4))) AS wide
         FROM TUMBLE(made, at, INTERVAL '1 hour') GROUP BY window_start, window_end, seq;"
    );
    let spill = place.path().join("spill");
    let spill = spill.to_str().unwrap();
    let run = |mode: &str, folder: &str| {
        let flags = ["--mode", mode, "--memory", "64MB", "--parallelism", "1"];
        place
            .start_with(&window, &flags, &[("TMPDIR", folder)])
            .wait()
    };
    small.fill();
    for mode in ["streaming", "batch"] {
        run(mode, spill).fails(1, "E0502", &["TMPDIR"]);
        assert!(
            place.files("out").is_empty(),
            "{mode}: {:?}",
            place.files("out")
        );
        let left = place.files("spill");
        assert_eq!(left, [".ballast"], "{mode}");
    }
    run("streaming", "/tmp").ok();
    for found in crate::checker::read(&place.path().join("out")) {
        assert_eq!(
            (found.rows(), found.sum("n")),
            (rows, rows as f64),
            "{}",
            found.reader
        );
    }
}
