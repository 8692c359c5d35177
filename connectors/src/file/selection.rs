//! What a path selects: one file, a folder, or the files that match a glob.

use std::path::{Path as FsPath, PathBuf};

use glob::{MatchOptions, Pattern};
use object_store::path::Path;
use weir_engine::Result;
use weir_engine::error::{Error, Kind, codes};

use crate::store::Location;

use super::config::Format;

/// A star does not cross folders, two do; hidden files are never matched.
const MATCH: MatchOptions = MatchOptions {
    case_sensitive: true,
    require_literal_separator: true,
    require_literal_leading_dot: true,
};

/// The parts of a path before and after its first glob sign.
#[derive(Debug, Clone)]
pub(super) struct Selection {
    /// The key of the deepest folder without glob signs, or the whole key. No leading slash.
    pub(super) base: String,
    /// The base as the script has it, for people.
    pub(super) shown: String,
    /// What follows, when it is a glob.
    pub(super) pattern: Option<Pattern>,
    /// Folders that the pattern spans; `None` when it has no bound (`**`).
    pub(super) depth: Option<usize>,
}

impl Selection {
    /// Reads the glob in a location's path.
    pub(super) fn new(location: &Location) -> Result<Self> {
        let key = location.path.as_ref();
        let exists = location.local_root.as_deref().is_some_and(FsPath::exists);
        let parts: Vec<&str> = key.split('/').collect();
        let first = parts
            .iter()
            .position(|part| has_glob(part))
            .filter(|_| !exists);
        let Some(first) = first else {
            return Ok(Self {
                base: key.to_owned(),
                shown: location.url.trim_end_matches('/').to_owned(),
                pattern: None,
                depth: None,
            });
        };
        let (base, rest) = parts.split_at(first);
        let pattern =
            Pattern::new(&rest.join("/")).map_err(|error| {
                Error::new(
                Kind::Invalid,
                codes::OPTION,
                format!("the glob in path '{}' is wrong: {}", location.url, error.msg),
            )
            .hint("* matches within a folder, ** any folders, [abc] one of these, ? one character")
            })?;
        Ok(Self {
            base: base.join("/"),
            shown: shown_base(&location.url),
            depth: (!rest.contains(&"**")).then_some(rest.len()),
            pattern: Some(pattern),
        })
    }

    /// Whether a file below the base, given by its path from there, is selected.
    pub(super) fn takes(&self, relative: &str, format: Option<Format>) -> bool {
        if relative.split('/').any(is_hidden) || is_unfinished(relative) {
            return false;
        }
        match &self.pattern {
            Some(pattern) => pattern.matches_with(relative, MATCH),
            // In a folder the ending decides, so that a README does no harm.
            None => match (Format::of_path(relative), format) {
                (Some(found), Some(wanted)) => found == wanted,
                (Some(_), None) => true,
                (None, wanted) => wanted.is_some() && !file_name(relative).contains('.'),
            },
        }
    }

    /// Shows a file below the base as people would write it.
    pub(super) fn show(&self, relative: &str) -> String {
        match (self.shown.as_str(), relative) {
            (shown, "") => shown.to_owned(),
            ("", relative) => relative.to_owned(),
            (shown, relative) if shown.ends_with('/') => format!("{shown}{relative}"),
            (shown, relative) => format!("{shown}/{relative}"),
        }
    }

    /// The base on the local disk.
    pub(super) fn local_base(&self) -> PathBuf {
        FsPath::new("/").join(&self.base)
    }

    /// The base in a store.
    pub(super) fn store_base(&self) -> Option<Path> {
        if self.base.is_empty() {
            None
        } else {
            Path::parse(&self.base).ok()
        }
    }
}

/// The last part of a path.
pub(super) fn file_name(path: &str) -> &str {
    path.rsplit_once('/').map_or(path, |(_, name)| name)
}

/// Names that other writers use for what is not data: `_SUCCESS`, `.crc`, `_temporary/`.
pub(super) fn is_hidden(part: &str) -> bool {
    part.starts_with('_') && !part.contains('=') || part.starts_with('.')
}

fn is_unfinished(path: &str) -> bool {
    [".tmp", ".part", ".crdownload", ".inprogress", ".swp", "~"]
        .iter()
        .any(|ending| path.ends_with(ending))
}

fn has_glob(part: &str) -> bool {
    part.contains(['*', '?', '['])
}

/// The part of a path as written before its first part with a glob.
fn shown_base(url: &str) -> String {
    let (scheme, rest) = match url.split_once("://") {
        Some((scheme, rest)) => (format!("{scheme}://"), rest),
        None => (String::new(), url),
    };
    let kept: Vec<&str> = rest.split('/').take_while(|part| !has_glob(part)).collect();
    let root = if rest.starts_with('/') && kept.len() == 1 {
        "/"
    } else {
        ""
    };
    format!("{scheme}{root}{}", kept.join("/"))
}
