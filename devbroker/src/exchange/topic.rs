//! Topic patterns in a trie: a message costs the words of its key, however many patterns there are.

use std::collections::HashMap;

/// Which words may stand at a place of a pattern.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Step {
    Word(String),
    /// `*`: exactly one.
    One,
    /// `#`: any number, also none.
    Many,
}

/// Patterns, and what each leads to.
#[derive(Debug)]
pub(crate) struct Trie<T> {
    /// The root is the first; others are used again when they are empty.
    nodes: Vec<Node<T>>,
    free: Vec<usize>,
}

#[derive(Debug)]
struct Node<T> {
    words: HashMap<String, usize>,
    one: Option<usize>,
    many: Option<usize>,
    /// Reached by `#`: it may stay here for any word.
    repeats: bool,
    ends: Vec<T>,
}

impl<T> Node<T> {
    fn new(repeats: bool) -> Self {
        Self {
            words: HashMap::new(),
            one: None,
            many: None,
            repeats,
            ends: Vec::new(),
        }
    }

    fn next(&self, step: &Step) -> Option<usize> {
        match step {
            Step::Word(word) => self.words.get(word).copied(),
            Step::One => self.one,
            Step::Many => self.many,
        }
    }

    fn is_empty(&self) -> bool {
        self.words.is_empty() && self.one.is_none() && self.many.is_none() && self.ends.is_empty()
    }
}

impl<T> Default for Trie<T> {
    fn default() -> Self {
        Self {
            nodes: vec![Node::new(false)],
            free: Vec::new(),
        }
    }
}

impl<T: PartialEq> Trie<T> {
    pub(crate) fn insert(&mut self, pattern: &str, end: T) {
        let mut at = 0;
        for step in steps(pattern) {
            at = match self.nodes[at].next(&step) {
                Some(next) => next,
                None => self.grow(at, step),
            };
        }
        self.nodes[at].ends.push(end);
    }

    fn grow(&mut self, at: usize, step: Step) -> usize {
        let node = Node::new(step == Step::Many);
        let next = match self.free.pop() {
            Some(next) => {
                self.nodes[next] = node;
                next
            }
            None => {
                self.nodes.push(node);
                self.nodes.len() - 1
            }
        };
        let parent = &mut self.nodes[at];
        match step {
            Step::Word(word) => {
                parent.words.insert(word, next);
            }
            Step::One => parent.one = Some(next),
            Step::Many => parent.many = Some(next),
        }
        next
    }

    /// Removes one of the same, if it is there.
    pub(crate) fn remove(&mut self, pattern: &str, end: &T) {
        let mut path = Vec::new();
        let mut at = 0;
        for step in steps(pattern) {
            let Some(next) = self.nodes[at].next(&step) else {
                return;
            };
            path.push((at, step));
            at = next;
        }
        let ends = &mut self.nodes[at].ends;
        if let Some(place) = ends.iter().position(|other| other == end) {
            ends.swap_remove(place);
        }
        self.prune(path, at);
    }

    /// Takes away the end of the path as far as nothing hangs on it.
    fn prune(&mut self, path: Vec<(usize, Step)>, mut at: usize) {
        for (parent, step) in path.into_iter().rev() {
            if !self.nodes[at].is_empty() {
                return;
            }
            self.free.push(at);
            match step {
                Step::Word(word) => {
                    self.nodes[parent].words.remove(&word);
                }
                Step::One => self.nodes[parent].one = None,
                Step::Many => self.nodes[parent].many = None,
            }
            at = parent;
        }
    }

    /// Calls `found` for each pattern that the key fits.
    ///
    /// It goes through the key once with all the places where it may be, so that no pattern is slow.
    pub(crate) fn matches<'a>(&'a self, key: &str, found: &mut impl FnMut(&'a T)) {
        let mut here = Vec::new();
        self.enter(0, &mut here);
        for word in words(key) {
            let mut next = Vec::new();
            for at in here {
                let node = &self.nodes[at];
                let ways = [node.words.get(word).copied(), node.one];
                let stays = node.repeats.then_some(at);
                for way in ways.into_iter().flatten().chain(stays) {
                    self.enter(way, &mut next);
                }
            }
            here = next;
        }
        for at in here {
            self.nodes[at].ends.iter().for_each(&mut *found);
        }
    }

    /// Adds a place, and the one behind a `#` that matches nothing.
    fn enter(&self, at: usize, places: &mut Vec<usize>) {
        let mut next = Some(at);
        while let Some(at) = next.filter(|at| !places.contains(at)) {
            places.push(at);
            next = self.nodes[at].many;
        }
    }
}

fn words(key: &str) -> impl Iterator<Item = &str> {
    // the empty key has no word
    key.split('.').filter(|_| !key.is_empty())
}

/// The steps of a pattern; a `#` after a `#` adds nothing.
fn steps(pattern: &str) -> impl Iterator<Item = Step> {
    let mut after_many = false;
    words(pattern)
        .map(|word| match word {
            "*" => Step::One,
            "#" => Step::Many,
            word => Step::Word(word.to_owned()),
        })
        .filter(move |step| {
            let many = *step == Step::Many;
            !(std::mem::replace(&mut after_many, many) && many)
        })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The definition, word by word.
    fn fits(pattern: &[&str], key: &[&str]) -> bool {
        match (pattern.split_first(), key.split_first()) {
            (None, None) => true,
            (Some((&"#", rest)), None) => fits(rest, key),
            (Some((&"#", rest)), Some((_, after))) => fits(rest, key) || fits(pattern, after),
            (Some((&"*", rest)), Some((_, after))) => fits(rest, after),
            (Some((word, rest)), Some((has, after))) => word == has && fits(rest, after),
            _ => false,
        }
    }

    fn found(trie: &Trie<usize>, key: &str) -> Vec<usize> {
        let mut all = Vec::new();
        trie.matches(key, &mut |end| all.push(*end));
        all.sort_unstable();
        all
    }

    fn expected(patterns: &[Vec<&str>], key: &[&str]) -> Vec<usize> {
        let fitting = patterns.iter().enumerate();
        fitting
            .filter(|(_, pattern)| fits(pattern, key))
            .map(|(at, _)| at)
            .collect()
    }

    proptest! {
        #[test]
        fn the_trie_finds_what_the_definition_finds(
            patterns in prop::collection::vec(prop::collection::vec(prop::sample::select(vec!["a", "b", "", "*", "#"]), 1..6), 1..12),
            keys in prop::collection::vec(prop::collection::vec(prop::sample::select(vec!["a", "b", "c", ""]), 1..7), 1..8),
            removed in prop::collection::vec(any::<bool>(), 12),
        ) {
            // one empty word and no word are written the same
            let patterns: Vec<_> = patterns.into_iter().filter(|words| *words != [""]).collect();
            let keys: Vec<_> = keys.into_iter().filter(|words| *words != [""]).collect();
            let mut trie = Trie::default();
            for (at, pattern) in patterns.iter().enumerate() {
                trie.insert(&pattern.join("."), at);
            }
            for key in &keys {
                prop_assert_eq!(found(&trie, &key.join(".")), expected(&patterns, key));
            }
            for (at, pattern) in patterns.iter().enumerate().filter(|(at, _)| removed[*at]) {
                trie.remove(&pattern.join("."), &at);
            }
            for key in &keys {
                let mut left = expected(&patterns, key);
                left.retain(|at| !removed[*at]);
                prop_assert_eq!(found(&trie, &key.join(".")), left);
            }
            for (at, pattern) in patterns.iter().enumerate().filter(|(at, _)| !removed[*at]) {
                trie.remove(&pattern.join("."), &at);
            }
            prop_assert!(trie.nodes[0].is_empty(), "something is left");
        }
    }

    #[test]
    fn the_empty_key_has_no_word() {
        let mut trie = Trie::default();
        for (at, pattern) in ["", "#", "*", "#.#", "a"].into_iter().enumerate() {
            trie.insert(pattern, at);
        }
        assert_eq!(found(&trie, ""), [0, 1, 3]);
    }

    #[test]
    fn many_wildcards_are_not_slow() {
        let mut trie = Trie::default();
        trie.insert("#.a.".repeat(40).trim_end_matches('.'), 0);
        let key = ["a"; 120].join(".");
        assert_eq!(found(&trie, &format!("{key}.b")), [0; 0]);
        assert_eq!(found(&trie, &key), [0]);
    }
}
