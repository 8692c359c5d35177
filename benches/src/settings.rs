//! What holds for every suite: repetitions, cores, places.

use std::env;
use std::fs::{File, TryLockError};
use std::path::{Path, PathBuf};

use clap::Args;

use crate::failure::{During, Failure, Result};

/// Flags of every suite.
#[derive(Debug, Clone, Args)]
pub(crate) struct Settings {
    /// Timed runs per program; they alternate
    #[arg(long, global = true, default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..=100))]
    pub(crate) runs: u32,

    /// Cores that each program may use [default: all]
    #[arg(long, global = true, value_parser = clap::value_parser!(u32).range(1..=256))]
    parallelism: Option<u32>,

    /// Memory budget of Weir; half of it is for what its operators keep
    #[arg(long, global = true, default_value = "8GiB")]
    pub(crate) memory: String,

    /// Peers to measure beside Weir, or none [default: all that a suite knows]
    #[arg(long, global = true, value_delimiter = ',')]
    peers: Option<Vec<String>>,

    /// Only cases whose name has this in it
    #[arg(long, global = true)]
    pub(crate) only: Option<String>,
}

impl Settings {
    /// Cores that each program may use.
    pub(crate) fn cores(&self) -> u32 {
        let all = std::thread::available_parallelism().map_or(1, |n| n.get() as u32);
        self.parallelism.unwrap_or(all)
    }

    /// Whether a program is measured.
    pub(crate) fn wants(&self, program: &str) -> bool {
        let named = |peers: &Vec<String>| peers.iter().any(|peer| peer == program);
        program == "weir" || self.peers.as_ref().is_none_or(named)
    }

    /// Whether a case is measured.
    pub(crate) fn wants_case(&self, name: &str) -> bool {
        self.only
            .as_ref()
            .is_none_or(|part| name.contains(part.as_str()))
    }
}

/// The folder of this package, with its queries and peers.
pub(crate) fn home() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

/// A file of `queries`.
pub(crate) fn query(path: &str) -> Result<String> {
    let path = home().join("queries").join(path);
    std::fs::read_to_string(&path).during(format!("reading {}", path.display()))
}

/// Where generated inputs are kept from run to run.
pub(crate) fn data_root() -> Result<PathBuf> {
    place("WEIR_BENCH_DATA", "bench")
}

/// Where `peers/install.sh` puts the peers, a folder each.
pub(crate) fn peer_root() -> Result<PathBuf> {
    place("WEIR_BENCH_PEERS", "peers")
}

fn place(variable: &str, name: &str) -> Result<PathBuf> {
    if let Some(root) = env::var_os(variable) {
        return Ok(PathBuf::from(root));
    }
    let home = env::var_os("HOME").ok_or_else(|| {
        Failure::new(format!(
            "HOME is not set: name a folder with {variable}=<folder>"
        ))
    })?;
    Ok(Path::new(&home).join(".cache/weir").join(name))
}

/// Waits for nobody: two harnesses on one machine measure each other, and share their folders. The
/// file is held until it is dropped.
pub(crate) fn alone() -> Result<File> {
    let root = data_root()?;
    std::fs::create_dir_all(&root).during(format!("making {}", root.display()))?;
    let path = root.join("lock");
    let file = File::create(&path).during(format!("opening {}", path.display()))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(Failure::new(format!(
            "another weir-bench is measuring with {}: wait for its end",
            root.display()
        ))),
        Err(TryLockError::Error(error)) => Err(error).during(format!("locking {}", path.display())),
    }
}

/// An empty folder for the outputs of a case.
pub(crate) fn scratch(case: &str) -> Result<PathBuf> {
    let folder = data_root()?.join("scratch").join(case);
    if folder.exists() {
        std::fs::remove_dir_all(&folder).during(format!("emptying {}", folder.display()))?;
    }
    std::fs::create_dir_all(&folder).during(format!("making {}", folder.display()))?;
    Ok(folder)
}
