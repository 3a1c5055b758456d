//! Whom a request of remote control is for.

use regex_lite::Regex;

/// Whom a request is for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Addressees {
    /// Every worker.
    #[default]
    All,
    /// The workers of these names.
    Named(Vec<String>),
    /// The workers whose names match.
    Matching {
        /// The pattern, to be read as `matcher` says.
        pattern: String,
        /// How to read it.
        matcher: Matcher,
    },
}

/// How a pattern of names is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Matcher {
    /// As a shell reads names of files: `w*@host`, `w[1-3]@host`.
    Glob,
    /// As a regular expression that matches at the start of the name.
    Pcre,
}

impl Matcher {
    /// Its name on the wire.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Glob => "glob",
            Self::Pcre => "pcre",
        }
    }

    /// The matcher of this name.
    #[must_use]
    pub fn of(name: &str) -> Option<Self> {
        match name {
            "glob" => Some(Self::Glob),
            "pcre" => Some(Self::Pcre),
            _ => None,
        }
    }

    /// Whether a name matches a pattern; a pattern that cannot be read matches none.
    #[must_use]
    pub fn matches(self, pattern: &str, name: &str) -> bool {
        match self {
            Self::Glob => glob(pattern, name),
            // the leftmost match is at the start, if there is one at the start
            Self::Pcre => Regex::new(pattern)
                .is_ok_and(|regex| regex.find(name).is_some_and(|found| found.start() == 0)),
        }
    }
}

impl Addressees {
    /// The workers whose names match a pattern.
    #[must_use]
    pub fn matching(pattern: impl Into<String>, matcher: Matcher) -> Self {
        let pattern = pattern.into();
        Self::Matching { pattern, matcher }
    }

    /// Whether the worker called `node` is meant.
    #[must_use]
    pub fn include(&self, node: &str) -> bool {
        match self {
            Self::All => true,
            Self::Named(names) => names.iter().any(|name| name == node),
            Self::Matching { pattern, matcher } => matcher.matches(pattern, node),
        }
    }
}

/// One piece of a glob pattern.
enum Piece {
    Any,
    One,
    Exactly(char),
    Set {
        ranges: Vec<(char, char)>,
        negated: bool,
    },
}

impl Piece {
    fn takes(&self, c: char) -> bool {
        match self {
            Self::Any | Self::One => true,
            Self::Exactly(wanted) => *wanted == c,
            Self::Set { ranges, negated } => {
                ranges
                    .iter()
                    .any(|&(first, last)| (first..=last).contains(&c))
                    != *negated
            }
        }
    }
}

/// Matches as Python's `fnmatch` does on Unix.
fn glob(pattern: &str, name: &str) -> bool {
    let pieces = pieces(pattern);
    let name: Vec<char> = name.chars().collect();
    let (mut piece, mut at) = (0, 0);
    // where to go on when what follows the last star does not match
    let mut star = None;
    while at < name.len() {
        match pieces.get(piece) {
            Some(Piece::Any) => {
                star = Some((piece, at));
                piece += 1;
            }
            Some(one) if one.takes(name[at]) => {
                piece += 1;
                at += 1;
            }
            _ => {
                let Some((last, from)) = star else {
                    return false;
                };
                star = Some((last, from + 1));
                (piece, at) = (last + 1, from + 1);
            }
        }
    }
    pieces[piece..]
        .iter()
        .all(|piece| matches!(piece, Piece::Any))
}

fn pieces(pattern: &str) -> Vec<Piece> {
    let chars: Vec<char> = pattern.chars().collect();
    let mut pieces = Vec::with_capacity(chars.len());
    let mut at = 0;
    while at < chars.len() {
        let (piece, length) = match chars[at] {
            '*' => (Piece::Any, 1),
            '?' => (Piece::One, 1),
            '[' => set(&chars[at..]).unwrap_or((Piece::Exactly('['), 1)),
            c => (Piece::Exactly(c), 1),
        };
        pieces.push(piece);
        at += length;
    }
    pieces
}

/// A set at the start of `chars`, and how long it is; none if it has no end.
fn set(chars: &[char]) -> Option<(Piece, usize)> {
    let negated = chars.get(1) == Some(&'!');
    let start = if negated { 2 } else { 1 };
    // a bracket that stands first is one of the set
    let end = (start + 1..chars.len()).find(|&at| chars[at] == ']')?;
    let (mut ranges, mut at) = (Vec::new(), start);
    while at < end {
        let is_range = at + 2 < end && chars[at + 1] == '-';
        let last = if is_range { chars[at + 2] } else { chars[at] };
        ranges.push((chars[at], last));
        at += if is_range { 3 } else { 1 };
    }
    Some((Piece::Set { ranges, negated }, end + 1))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn names_match_globs_as_in_python() {
        for (pattern, name, matches) in [
            ("w*", "w1@host", true),
            ("*", "", true),
            ("*@host", "w1@host", true),
            ("*@host", "w1@host.example", false),
            ("w?@*", "w1@host", true),
            ("w?@*", "w12@host", false),
            ("w[1-3]@host", "w2@host", true),
            ("w[!1-3]@host", "w2@host", false),
            ("w[]x]", "w]", true),
            ("w[x", "w[x", true),
            ("W*", "w1", false),
            ("*a*b*c*", "xaxbxbxcx", true),
            ("*a*b*c", "xaxbxcx", false),
            ("", "x", false),
        ] {
            assert_eq!(
                Matcher::Glob.matches(pattern, name),
                matches,
                "{pattern} {name}"
            );
        }
    }

    #[test]
    fn a_regular_expression_matches_at_the_start() {
        for (pattern, name, matches) in [
            ("w", "w1@host", true),
            ("1", "w1@host", false),
            (r"w\d+@", "w12@host", true),
            ("x|w1", "w1@host", true),
            ("(?i)W1", "w1@host", true),
            ("", "w1", true),
            ("(", "w1", false),
            ("[", "w1", false),
        ] {
            assert_eq!(
                Matcher::Pcre.matches(pattern, name),
                matches,
                "{pattern} {name}"
            );
        }
    }

    proptest! {
        #[test]
        fn a_name_matches_itself_and_what_it_starts_with(name in "[a-z0-9@.]{0,20}") {
            prop_assert!(Matcher::Glob.matches(&name, &name));
            let half = format!("{}*", &name[..name.len() / 2]);
            prop_assert!(Matcher::Glob.matches(&half, &name));
        }

        #[test]
        fn any_pattern_is_read(pattern in "\\PC{0,20}", name in "\\PC{0,20}") {
            let _ = (Matcher::Glob.matches(&pattern, &name), Matcher::Pcre.matches(&pattern, &name));
        }
    }
}
