//! What we started, kept in one file so that later commands find it.

use std::fmt::Write as _;
use std::fs::{self, File, TryLockError};
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

/// How a broker of ours runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Engine {
    /// In a container.
    Compose,
    /// As processes of this user.
    Node {
        /// The node, or the script around it while it boots.
        pid: u32,
        /// Erlang's port mapper, which belongs to this node alone.
        epmd: u32,
    },
}

/// A broker that we started.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct State {
    pub(super) engine: Engine,
    pub(super) url: String,
    pub(super) management: String,
}

impl State {
    /// Reads what an earlier command started, if anything.
    pub(super) fn load(folder: &Path) -> Result<Option<Self>> {
        let path = file(folder);
        match fs::read_to_string(&path) {
            Ok(text) => Ok(Self::parse(&text)),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error).with_context(|| format!("cannot read {}", path.display())),
        }
    }

    pub(super) fn save(&self, folder: &Path) -> Result<()> {
        let path = file(folder);
        // readers hold no lock: let them see the old file or the new one, never half of it
        let draft = path.with_extension("new");
        fs::write(&draft, self.to_text())
            .and_then(|()| fs::rename(&draft, &path))
            .with_context(|| format!("cannot write {}", path.display()))
    }

    pub(super) fn forget(folder: &Path) -> Result<()> {
        match fs::remove_file(file(folder)) {
            Err(error) if error.kind() != ErrorKind::NotFound => {
                Err(error).context("cannot remove the state file")
            }
            _ => Ok(()),
        }
    }

    fn to_text(&self) -> String {
        let mut text = format!("url {}\nmanagement {}\n", self.url, self.management);
        if let Engine::Node { pid, epmd } = self.engine {
            // writing to a string cannot fail
            let _ = write!(text, "pid {pid}\nepmd {epmd}\n");
        }
        text
    }

    /// `None` for a file that a person or an older version left in another shape.
    fn parse(text: &str) -> Option<Self> {
        let value = |name: &str| {
            text.lines()
                .find_map(|line| line.strip_prefix(name)?.strip_prefix(' '))
        };
        let engine = match (value("pid"), value("epmd")) {
            (None, None) => Engine::Compose,
            (pid, epmd) => Engine::Node {
                pid: pid?.parse().ok()?,
                epmd: epmd?.parse().ok()?,
            },
        };
        Some(Self {
            engine,
            url: value("url")?.to_owned(),
            management: value("management")?.to_owned(),
        })
    }
}

/// Held by one command at a time while it starts or stops a broker; given back when dropped.
pub(super) struct Lock(#[expect(dead_code, reason = "holds the lock")] File);

impl Lock {
    /// Waits until no other command starts or stops the broker of this checkout.
    pub(super) fn take(folder: &Path) -> Result<Self> {
        fs::create_dir_all(folder)
            .with_context(|| format!("cannot create {}", folder.display()))?;
        let file = File::create(folder.join("lock")).context("cannot create the lock file")?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                eprintln!("waiting for another `cargo xtask` that starts or stops the broker");
                file.lock().context("cannot take the lock")?;
            }
            Err(TryLockError::Error(error)) => return Err(error).context("cannot take the lock"),
        }
        Ok(Self(file))
    }
}

fn file(folder: &Path) -> PathBuf {
    folder.join("state")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_state_reads_back() {
        for engine in [Engine::Compose, Engine::Node { pid: 7, epmd: 8 }] {
            let state = State {
                engine,
                url: "amqp://u:p@h:1".to_owned(),
                management: "http://h:2".to_owned(),
            };
            assert_eq!(State::parse(&state.to_text()), Some(state));
        }
    }

    #[test]
    fn a_broken_state_is_no_state() {
        for text in ["", "url x", "url x\nmanagement y\npid z\nepmd 1"] {
            assert_eq!(State::parse(text), None, "{text}");
        }
    }
}
