//! What happened to a view between two epochs: which files say it, decided without I/O.
//!
//! A chain grows at its end. Files at its end may also be merged into one, which holds the same rows
//! in the same order; so the rows of the earlier epoch are passed over by their number. A chain that
//! starts anew with all rows says what its own epoch has changed, as long as that is the next one. In
//! all other cases, such as after a restore of an older epoch, the rows themselves are compared.

use weir_engine::checkpoint::{ManifestKind, NodeState, StateFile};

/// Files with what is new.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct News<'m> {
    /// The files in their order.
    pub(super) files: &'m [StateFile],
    /// Rows at their beginning that the earlier epoch has too.
    pub(super) known_rows: u64,
}

/// How to find out what has changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Difference<'m> {
    /// Read these.
    Read(Vec<News<'m>>),
    /// Compare all rows.
    Compare,
}

/// Decides for the states of a view's node at two epochs, the later of this kind.
pub(super) fn difference<'m>(
    before: Option<&NodeState>,
    after: Option<&'m NodeState>,
    (epoch, kind): (u64, ManifestKind),
) -> Difference<'m> {
    let Some(after) = after else {
        return match before {
            Some(_) => Difference::Compare,
            None => Difference::Read(Vec::new()),
        };
    };
    if before.is_some_and(|before| before.fingerprint != after.fingerprint) {
        return Difference::Compare;
    }
    let of = |subtask: u32| -> &[StateFile] {
        let chains = before.map_or(&[][..], |before| &before.chains);
        let found = chains.iter().find(|chain| chain.subtask == subtask);
        found.map_or(&[], |chain| &chain.files)
    };
    let mut chains = before.map_or(&[][..], |before| &before.chains).iter();
    let is_lost = |subtask: u32| !after.chains.iter().any(|chain| chain.subtask == subtask);
    if chains.any(|chain| is_lost(chain.subtask) && !chain.files.is_empty()) {
        return Difference::Compare;
    }
    let mut read = Vec::new();
    for chain in &after.chains {
        match news(of(chain.subtask), &chain.files, (epoch, kind)) {
            Some(news) if news.files.is_empty() => {}
            Some(news) => read.push(news),
            None => return Difference::Compare,
        }
    }
    Difference::Read(read)
}

/// What is new in a chain; `None` when its files cannot tell.
fn news<'m>(
    before: &[StateFile],
    after: &'m [StateFile],
    (epoch, kind): (u64, ManifestKind),
) -> Option<News<'m>> {
    let pairs = before.iter().zip(after);
    let common = pairs.take_while(|(old, new)| old.path == new.path).count();
    let gone = before.get(common..)?;
    let files = after.get(common..)?;
    if let [all] = files
        && all.full
        && all.epoch == epoch
        && kind != ManifestKind::Restored
    {
        return Some(News {
            files,
            known_rows: 0,
        });
    }
    let rows = |files: &[StateFile]| files.iter().map(|file| file.rows).sum::<u64>();
    let is_rewritten = gone.iter().chain(files).any(|file| file.full);
    let known_rows = rows(gone);
    (!is_rewritten && rows(files) >= known_rows).then_some(News { files, known_rows })
}

#[cfg(test)]
mod tests {
    use super::*;
    use weir_engine::checkpoint::Chain;

    fn file(name: &str, rows: u64, epoch: u64) -> StateFile {
        StateFile {
            path: name.to_owned(),
            epoch,
            bytes: 1,
            rows,
            checksum: 0,
            full: name.starts_with("all"),
        }
    }

    fn node(chains: &[&[StateFile]]) -> NodeState {
        let chain = |(subtask, files): (usize, &&[StateFile])| Chain {
            subtask: u32::try_from(subtask).unwrap(),
            files: files.to_vec(),
        };
        NodeState {
            id: "view/v".to_owned(),
            fingerprint: "f".to_owned(),
            chains: chains.iter().enumerate().map(chain).collect(),
        }
    }

    fn shown(before: &[&[StateFile]], after: &[&[StateFile]], kind: ManifestKind) -> String {
        let (before, after) = (node(before), node(after));
        match difference(Some(&before), Some(&after), (9, kind)) {
            Difference::Compare => "compare".to_owned(),
            Difference::Read(news) => {
                let one = |news: &News<'_>| {
                    let names: Vec<_> = news.files.iter().map(|file| file.path.as_str()).collect();
                    format!("{} after {}", names.join("+"), news.known_rows)
                };
                news.iter().map(one).collect::<Vec<_>>().join("; ")
            }
        }
    }

    #[test]
    fn chains_tell_what_is_new() {
        let f = |name: &str| file(name, 2, 8);
        let now = |name: &str| file(name, 2, 9);
        let same = [f("all"), f("a")];
        let check = |before: &[StateFile], after: &[StateFile], kind, expected: &str| {
            assert_eq!(shown(&[before], &[after], kind), expected);
        };
        let periodic = ManifestKind::Periodic;
        check(&same, &same, periodic, "");
        check(&same, &[f("all"), f("a"), now("b")], periodic, "b after 0");
        // a and b became one file after their epochs; c is new.
        let merged = [f("all"), file("ab", 4, 8), now("c")];
        check(
            &[f("all"), f("a"), f("b")],
            &merged,
            periodic,
            "ab+c after 4",
        );
        check(&same, &[now("all2")], periodic, "all2 after 0");
        // All rows of an older epoch say nothing of this one, nor do those of a restored one.
        check(&same, &[f("all2")], periodic, "compare");
        check(&same, &[f("all2"), now("b")], periodic, "compare");
        check(&same, &[now("all2")], ManifestKind::Restored, "compare");
        // The restored epoch is older.
        check(&same, &[f("all")], ManifestKind::Restored, "compare");
        check(&[], &[now("all")], periodic, "all after 0");
    }

    #[test]
    fn another_number_of_subtasks_or_another_query_is_compared() {
        let files: &[StateFile] = &[file("a", 2, 8)];
        let other: &[StateFile] = &[file("b", 2, 9)];
        let periodic = ManifestKind::Periodic;
        assert_eq!(shown(&[files, other], &[files], periodic), "compare");
        assert_eq!(shown(&[files], &[files, other], periodic), "b after 0");
        let mut changed = node(&[files]);
        changed.fingerprint = "g".to_owned();
        let found = difference(Some(&node(&[files])), Some(&changed), (9, periodic));
        assert_eq!(found, Difference::Compare);
        assert_eq!(
            difference(Some(&node(&[files])), None, (9, periodic)),
            Difference::Compare
        );
    }
}
