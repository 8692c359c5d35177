//! Processor time and memory of a process and all that it started, as Linux tells them in `/proc`.

use std::fs;
use std::time::Duration;

/// Clock ticks per second of the times in `/proc/PID/stat`: the same on all Linux machines of today.
const TICKS_PER_SECOND: u64 = 100;

/// What a process and its descendants have used.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Usage {
    /// Processor time, that of children that have ended included.
    pub(crate) cpu: Duration,
    /// The sum of the most memory that each had resident.
    pub(crate) peak_bytes: u64,
}

/// Looks at a process; nothing where the system does not tell.
pub(crate) fn of_tree(pid: u32) -> Option<Usage> {
    let mut all = of_one(pid)?;
    for child in children(pid) {
        if let Some(usage) = of_tree(child) {
            all.cpu += usage.cpu;
            all.peak_bytes += usage.peak_bytes;
        }
    }
    Some(all)
}

/// Looks at one process, which may have ended and not been waited for.
fn of_one(pid: u32) -> Option<Usage> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    Some(Usage {
        cpu: cpu_of(&stat)?,
        peak_bytes: peak_of(&status).unwrap_or(0),
    })
}

/// User and system time, own and of children: fields 14 to 17, counted after the name in brackets.
fn cpu_of(stat: &str) -> Option<Duration> {
    let (_, rest) = stat.rsplit_once(')')?;
    let ticks = rest.split_whitespace().skip(11).take(4);
    let sum: u64 = ticks.map_while(|ticks| ticks.parse::<u64>().ok()).sum();
    Some(Duration::from_millis(sum * 1_000 / TICKS_PER_SECOND))
}

fn peak_of(status: &str) -> Option<u64> {
    let line = status.lines().find(|line| line.starts_with("VmHWM:"))?;
    let kib: u64 = line.split_whitespace().nth(1)?.parse().ok()?;
    Some(kib << 10)
}

fn children(pid: u32) -> Vec<u32> {
    let Ok(threads) = fs::read_dir(format!("/proc/{pid}/task")) else {
        return Vec::new();
    };
    let lists = threads
        .flatten()
        .map(|thread| thread.path().join("children"));
    let texts = lists.filter_map(|list| fs::read_to_string(list).ok());
    let mut found = Vec::new();
    for text in texts {
        found.extend(
            text.split_whitespace()
                .filter_map(|pid| pid.parse::<u32>().ok()),
        );
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_and_memory_are_found_behind_odd_names() {
        let stat = "7 (a) b (c)) S 1 7 7 0 -1 4194560 100 0 0 0 150 50 20 5 20 0 8 0 1 2 3";
        assert_eq!(cpu_of(stat), Some(Duration::from_millis(2_250)));
        assert_eq!(peak_of("Name:\tx\nVmHWM:\t  2048 kB\n"), Some(2 << 20));
        assert_eq!(peak_of("Name:\tx\n"), None);
    }

    #[test]
    fn this_process_uses_memory() {
        assert!(of_tree(std::process::id()).unwrap().peak_bytes > 0);
    }
}
