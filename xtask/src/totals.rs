//! Counts tests in the output of `cargo test` and of pytest while it passes through.

use std::fmt;
use std::io::{self, BufRead, BufReader, Read, Write};

/// The tests of all test binaries together.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Totals {
    pub(crate) passed: u64,
    pub(crate) failed: u64,
    pub(crate) ignored: u64,
}

impl fmt::Display for Totals {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} passed, {} failed", self.passed, self.failed)
    }
}

impl Totals {
    pub(crate) fn add(&mut self, other: Self) {
        self.passed += other.passed;
        self.failed += other.failed;
        self.ignored += other.ignored;
    }

    /// Copies `output` to `copy` unchanged and adds up what its `test result:` lines say, and pytest's last one.
    pub(crate) fn pass_through(output: impl Read, mut copy: impl Write) -> io::Result<Self> {
        let mut totals = Self::default();
        let mut output = BufReader::new(output);
        let mut line = Vec::new();
        // by bytes: a test may print anything
        while output.read_until(b'\n', &mut line)? > 0 {
            copy.write_all(&line)?;
            copy.flush()?;
            totals.add_line(&String::from_utf8_lossy(&line));
            line.clear();
        }
        Ok(totals)
    }

    fn add_line(&mut self, line: &str) {
        if let Some(result) = line.strip_prefix("test result: ") {
            self.passed += count(result, "passed");
            self.failed += count(result, "failed");
            self.ignored += count(result, "ignored");
        } else if let Some(result) = summary_of_pytest(line) {
            self.passed += count(result, "passed");
            self.failed += count(result, "failed") + error_count(result);
            self.ignored += count(result, "skipped");
        }
    }
}

/// The counts in pytest's last line, such as `1 failed, 3 passed in 2.50s (0:00:02)`.
fn summary_of_pytest(line: &str) -> Option<&str> {
    let (counts, time) = line.trim().rsplit_once(" in ")?;
    let seconds = time.split_once('s')?.0;
    seconds.parse::<f64>().ok()?;
    let all_counted = counts.split(", ").all(|part| {
        part.split_once(' ')
            .is_some_and(|(number, word)| number.parse::<u64>().is_ok() && !word.contains(' '))
    });
    all_counted.then_some(counts)
}

/// What broke in pytest outside a test, such as in a fixture.
fn error_count(result: &str) -> u64 {
    count(result, "error") + count(result, "errors")
}

/// The number before a word: 3 in `ok. 3 passed; 0 failed;`.
fn count(result: &str, word: &str) -> u64 {
    let words: Vec<_> = result
        .split([' ', ';', ','])
        .filter(|part| !part.is_empty())
        .collect();
    words
        .windows(2)
        .find(|pair| pair[1] == word)
        .and_then(|pair| pair[0].parse().ok())
        .unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn results_are_added_up_and_passed_on() {
        let output = b"running 2 tests\n\
            test result: ok. 12 passed; 0 failed; 1 ignored; 0 measured; 0 filtered out; finished in 0.01s\n\
            not utf-8: \xff\n\
            test result: FAILED. 3 passed; 2 failed; 0 ignored; 0 measured; 0 filtered out\n\
            no line end";
        let mut copy = Vec::new();
        let totals = Totals::pass_through(output.as_slice(), &mut copy).unwrap();
        assert_eq!(copy, output);
        let expected = Totals {
            passed: 15,
            failed: 2,
            ignored: 1,
        };
        assert_eq!(totals, expected);
    }

    #[test]
    fn the_summary_of_pytest_counts_too() {
        let output = b"....F                 [100%]\n\
            E   AssertionError: 7 passed in 3 s\n\
            2 failed, 94 passed, 2 deselected, 1 skipped in 32.79s (0:00:32)\n\
            5 passed, 1 error in 0.50s\n\
            no tests ran in 0.01s\n";
        let totals = Totals::pass_through(output.as_slice(), Vec::new()).unwrap();
        let expected = Totals {
            passed: 99,
            failed: 3,
            ignored: 1,
        };
        assert_eq!(totals, expected);
    }
}
