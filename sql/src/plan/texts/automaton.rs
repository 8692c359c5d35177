//! A regular expression as a table of states, for texts that are matched from their beginning: several
//! texts go through it at once, each a byte at a time, so that none waits for memory.

use std::fmt;

use regex_automata::Anchored;
use regex_automata::MatchKind;
use regex_automata::dfa::{Automaton as _, StartKind, dense};
use regex_automata::nfa::thompson;
use regex_automata::util::primitives::StateID;
use regex_automata::util::start;
use regex_syntax::hir::{Dot, Hir, Look, LookSet, Repetition};

use super::text::{PAD, Text, WORD};

/// States of a table at most: each is a byte.
const STATES_MAX: usize = 256;
/// Memory that making a table may take: patterns with classes of Unicode need much.
const BUILD_BYTES_MAX: usize = 1 << 20;
/// Texts that go through the table at once.
const LANES: usize = 8;

/// The table of a pattern.
pub(super) struct Automaton {
    next: Box<[[u8; 256]; STATES_MAX]>,
    /// States in which a text that is over has matched.
    matches: [bool; STATES_MAX],
    /// States that no byte leads out of.
    ends: [bool; STATES_MAX],
}

impl fmt::Debug for Automaton {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Automaton")
    }
}

impl Automaton {
    /// The table of a pattern that can only match at the beginning of a text; `None` for others, which
    /// may be searched for faster, and for those whose table would be large.
    pub(super) fn of(pattern: &str) -> Option<Self> {
        let pattern = regex_syntax::parse(pattern).ok()?;
        let looks = pattern.properties();
        let known = [Look::Start, Look::End, Look::StartLF, Look::EndLF];
        let known = known.into_iter().fold(LookSet::empty(), LookSet::insert);
        let is_known = looks.look_set().subtract(known).is_empty();
        if !is_known || !looks.look_set_prefix().contains(Look::Start) {
            return None;
        }
        let rest = Hir::repetition(Repetition {
            min: 0,
            max: None,
            greedy: true,
            sub: Box::new(Hir::dot(Dot::AnyByte)),
        });
        let whole = Hir::concat(vec![pattern, rest]);
        let nfa = thompson::Compiler::new()
            .configure(
                thompson::Config::new()
                    .utf8(false)
                    .nfa_size_limit(Some(BUILD_BYTES_MAX)),
            )
            .build_from_hir(&whole)
            .ok()?;
        let dfa = dense::Builder::new()
            .configure(
                dense::Config::new()
                    .match_kind(MatchKind::All)
                    .start_kind(StartKind::Anchored)
                    .minimize(true)
                    .dfa_size_limit(Some(BUILD_BYTES_MAX))
                    .determinize_size_limit(Some(BUILD_BYTES_MAX)),
            )
            .build_from_nfa(&nfa)
            .ok()?;
        Self::tabulate(&dfa)
    }

    fn tabulate(dfa: &dense::DFA<Vec<u32>>) -> Option<Self> {
        let start = start::Config::new().anchored(Anchored::Yes);
        let mut states: Vec<StateID> = vec![dfa.start_state(&start).ok()?];
        let mut table = Self {
            next: Box::new([[0; 256]; STATES_MAX]),
            matches: [false; STATES_MAX],
            ends: [false; STATES_MAX],
        };
        let mut number = 0;
        while let Some(state) = states.get(number).copied() {
            let row = table.next.get_mut(number)?;
            for (byte, to) in (0..=u8::MAX).zip(row.iter_mut()) {
                let next = match byte {
                    // It leads from each state to itself.
                    PAD => state,
                    byte => dfa.next_state(state, byte),
                };
                if dfa.is_quit_state(next) {
                    return None;
                }
                let known = states.iter().position(|known| *known == next);
                let known = known.unwrap_or_else(|| {
                    states.push(next);
                    states.len() - 1
                });
                *to = u8::try_from(known).ok()?;
            }
            let itself = u8::try_from(number).ok()?;
            *table.ends.get_mut(number)? = row.iter().all(|next| *next == itself);
            *table.matches.get_mut(number)? = dfa.is_match_state(dfa.next_eoi_state(state));
            number += 1;
        }
        Some(table)
    }

    /// Whether each of some texts matches, in order.
    pub(super) fn matches<'a>(&self, mut texts: impl Iterator<Item = Text<'a>>) -> Vec<bool> {
        let mut found = Vec::with_capacity(texts.size_hint().0);
        loop {
            let mut lanes = [Text::default(); LANES];
            let mut filled = 0;
            for (lane, text) in lanes.iter_mut().zip(&mut texts) {
                *lane = text;
                filled += 1;
            }
            let states = self.run(&lanes);
            found.extend(
                states
                    .into_iter()
                    .take(filled)
                    .map(|state| self.at(&self.matches, state)),
            );
            if filled < LANES {
                return found;
            }
        }
    }

    fn run(&self, texts: &[Text<'_>; LANES]) -> [u8; LANES] {
        let len = texts.iter().map(|text| text.len).max().unwrap_or(0);
        let mut states = [0; LANES];
        for at in (0..len).step_by(WORD) {
            let mut words = texts.map(|text| text.word(at));
            for _ in 0..WORD {
                for (state, word) in states.iter_mut().zip(&mut words) {
                    let byte = (*word & 0xff) as usize;
                    *word >>= 8;
                    let row = self.next.get(usize::from(*state));
                    *state = row.and_then(|row| row.get(byte)).copied().unwrap_or(0);
                }
            }
            if states.iter().all(|state| self.at(&self.ends, *state)) {
                break;
            }
        }
        states
    }

    fn at(&self, of: &[bool; STATES_MAX], state: u8) -> bool {
        of.get(usize::from(state)).copied().unwrap_or(false)
    }
}

#[cfg(test)]
mod tests {
    use regex::Regex;

    use super::Automaton;
    use crate::plan::texts::text::Text;

    const PATTERNS: [&str; 14] = [
        r"^[a-z0-9._]+@[a-z0-9.]+\.[a-z]{2,}$",
        "^",
        "^$",
        "^a",
        "^a|^b$",
        "^(a|ab)(c|bcd)?$",
        "^a.c",
        "(?s)^a.c",
        "(?m)^b$",
        r"^[^@]*$",
        "^(?i)ABC",
        "^ä+ö?$",
        r"^[\x00-\x7f]*$",
        "^a*?b{2,3}",
    ];

    fn check(texts: &[String]) {
        for pattern in PATTERNS {
            let regex = Regex::new(pattern).unwrap();
            let Some(automaton) = Automaton::of(pattern) else {
                assert_eq!(pattern, "(?m)^b$", "no table");
                continue;
            };
            let expected: Vec<bool> = texts.iter().map(|text| regex.is_match(text)).collect();
            let cut = texts.iter().map(|text| Text {
                bytes: text.as_bytes(),
                len: text.len(),
            });
            assert_eq!(automaton.matches(cut), expected, "{pattern}");
            // Bytes that go on behind the end, as those of a column do.
            let all = texts.concat();
            let mut start = 0;
            let within = texts.iter().map(|text| {
                let bytes = all.get(start..).unwrap().as_bytes();
                start += text.len();
                Text {
                    bytes,
                    len: text.len(),
                }
            });
            assert_eq!(automaton.matches(within), expected, "{pattern}");
        }
    }

    #[test]
    fn it_says_what_the_regular_expression_says() {
        let parts = [
            "a", "b", "c", "@", ".", "ab", "A", "x1", "ä", "ö", "\n", "日", "_",
        ];
        let mut random = 1_u64;
        let mut next = |below: usize| {
            random = random
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1);
            (random >> 33) as usize % below
        };
        let mut texts: Vec<String> = Vec::new();
        for _ in 0..4_000 {
            let count = next(24);
            texts.push(
                (0..count)
                    .filter_map(|_| parts.get(next(parts.len())))
                    .copied()
                    .collect(),
            );
        }
        for text in [
            "",
            "a",
            "abcd",
            "abc",
            "jane.doe@example.com",
            "jane@example.c",
            "bb",
            "aabbb",
        ] {
            texts.push(text.to_owned());
        }
        check(&texts);
        for few in 0..10 {
            check(texts.get(..few).unwrap());
        }
    }

    #[test]
    fn others_are_left_to_the_regular_expression() {
        for pattern in [
            "a",
            "a$",
            r"^\bа",
            r"^\w{1,200}$",
            "(",
            "^a(?-u:\\xff)",
            "a|^b",
        ] {
            assert!(Automaton::of(pattern).is_none(), "{pattern}");
        }
    }
}
