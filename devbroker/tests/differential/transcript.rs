//! What the script did and saw, line by line, with what is arbitrary replaced.

use std::sync::{Arc, Mutex, PoisonError};

/// Starts of names that a broker makes up; what follows is replaced by the order of first appearance.
const MADE_UP: [&str; 3] = ["amq.gen-", "amq.ctag-", "amq.rabbitmq.reply-to."];

/// The lines of one scenario.
#[derive(Clone, Debug)]
pub struct Transcript(Arc<Mutex<Lines>>);

#[derive(Debug)]
struct Lines {
    lines: Vec<String>,
    /// Names of this run and what stands for them.
    names: Vec<(String, String)>,
    made_up: Vec<String>,
}

impl Transcript {
    /// An empty one in which these names are replaced.
    pub fn new(names: &[(&str, &str)]) -> Self {
        let names = names
            .iter()
            .map(|(name, stands)| ((*name).to_owned(), (*stands).to_owned()));
        Self(Arc::new(Mutex::new(Lines {
            lines: Vec::new(),
            names: names.collect(),
            made_up: Vec::new(),
        })))
    }

    /// Adds a line.
    pub fn add(&self, line: &str) {
        let mut lines = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let line = lines.normal(line);
        lines.lines.push(line);
    }

    /// The lines so far.
    pub fn lines(&self) -> Vec<String> {
        let lines = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        lines.lines.clone()
    }
}

impl Lines {
    fn normal(&mut self, line: &str) -> String {
        let mut line = line.to_owned();
        for (name, stands) in &self.names {
            line = line.replace(name, stands);
        }
        for start in MADE_UP {
            line = self.number(&line, start);
        }
        let shown = |c: char| {
            if c.is_control() {
                c.escape_default().to_string()
            } else {
                c.to_string()
            }
        };
        line.chars().map(shown).collect()
    }

    fn number(&mut self, line: &str, start: &str) -> String {
        let mut parts = line.split(start);
        let mut normal = parts.next().unwrap_or_default().to_owned();
        for part in parts {
            let inside = |c: char| c.is_ascii_alphanumeric() || "-_.=+/".contains(c);
            let end = part.find(|c| !inside(c)).unwrap_or(part.len());
            let name = format!("{start}{}", &part[..end]);
            let known = self.made_up.iter().position(|made_up| *made_up == name);
            let number = known.unwrap_or_else(|| {
                self.made_up.push(name);
                self.made_up.len() - 1
            });
            normal.push_str(&format!("{start}#{}{}", number + 1, &part[end..]));
        }
        // whether it needed quotes depends on what was made up
        let quoted = (1..=self.made_up.len()).map(|number| format!("{start}#{number}"));
        quoted.fold(normal, |line, name| {
            line.replace(&format!("\"{name}\""), &name)
        })
    }
}
