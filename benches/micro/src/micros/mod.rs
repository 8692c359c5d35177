//! The micro-benchmarks, one per file. A new one is a file and its line in [`all`], and a figure:
//! `bash benches/micro/run renew "first figure" NAME`.

mod barrier_alignment;
mod decode;
mod encode;
mod hash_shuffle;
mod pane_aggregation;
mod rank;
mod updating_aggregation;
mod window_assignment;

use crate::work::{Micro, Result};

/// All, in the order of the table.
const ALL: &[Micro] = &[
    window_assignment::HOP,
    hash_shuffle::BY_KEY,
    pane_aggregation::ONE_PHASE,
    pane_aggregation::TWO_PHASES,
    updating_aggregation::BY_KEY,
    rank::FIRST_THREE,
    decode::JSON,
    decode::CSV,
    encode::JSON,
    encode::PARQUET,
    barrier_alignment::MESSAGES,
];

/// Gives all.
pub(crate) fn all() -> &'static [Micro] {
    ALL
}

/// Whether there is one of this name.
pub(crate) fn knows(name: &str) -> bool {
    ALL.iter().any(|micro| micro.name == name)
}

/// Gives the one of this name.
pub(crate) fn find(name: &str) -> Result<&'static Micro> {
    ALL.iter().find(|micro| micro.name == name).ok_or_else(|| {
        let names: Vec<&str> = ALL.iter().map(|micro| micro.name).collect();
        format!(
            "no micro-benchmark is named {name:?}; there are {}",
            names.join(", ")
        )
        .into()
    })
}

#[cfg(test)]
mod tests {
    #[test]
    fn each_gives_what_is_right_twice() {
        for micro in super::all() {
            let prepared = (micro.prepare)().unwrap();
            for _ in 0..2 {
                let given = prepared.start().unwrap()().unwrap();
                prepared
                    .check(given)
                    .unwrap_or_else(|e| panic!("{}: {e}", micro.name));
            }
        }
    }
}
