//! Who may do what.

use std::collections::HashMap;

use regex::Regex;

use crate::error::{Objection, Outcome};

/// What a user may do in a virtual host: patterns of names of exchanges and queues, as RabbitMQ has them.
///
/// A pattern matches anywhere in a name; an empty one matches nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Permissions {
    /// What it may declare and delete.
    pub configure: String,
    /// What it may publish or bind to.
    pub write: String,
    /// What it may consume, get, purge or bind from.
    pub read: String,
}

impl Permissions {
    /// Everything.
    #[must_use]
    pub fn all() -> Self {
        Self {
            configure: ".*".to_owned(),
            write: ".*".to_owned(),
            read: ".*".to_owned(),
        }
    }
}

/// A pattern that is no regular expression.
#[derive(Clone, Debug, thiserror::Error)]
#[error("the permission pattern '{pattern}' is no regular expression: correct it")]
pub struct PatternError {
    pattern: String,
    source: regex::Error,
}

/// What somebody wants to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Right {
    Configure,
    Write,
    Read,
}

/// The permissions of the users of one virtual host.
#[derive(Debug, Default)]
pub(crate) struct Access(HashMap<String, Rights>);

#[derive(Debug)]
struct Rights {
    configure: Pattern,
    write: Pattern,
    read: Pattern,
}

#[derive(Debug)]
enum Pattern {
    Everything,
    Nothing,
    Matching(Regex),
}

impl Pattern {
    fn new(pattern: &str) -> Result<Self, PatternError> {
        match pattern {
            ".*" => Ok(Self::Everything),
            "" => Ok(Self::Nothing),
            _ => Regex::new(pattern)
                .map(Self::Matching)
                .map_err(|source| PatternError {
                    pattern: pattern.to_owned(),
                    source,
                }),
        }
    }

    fn allows(&self, name: &str) -> bool {
        match self {
            Self::Everything => true,
            // RabbitMQ reads it as ^$
            Self::Nothing => name.is_empty(),
            Self::Matching(regex) => regex.is_match(name),
        }
    }
}

impl Access {
    pub(crate) fn set(
        &mut self,
        user: &str,
        permissions: &Permissions,
    ) -> Result<(), PatternError> {
        let rights = Rights {
            configure: Pattern::new(&permissions.configure)?,
            write: Pattern::new(&permissions.write)?,
            read: Pattern::new(&permissions.read)?,
        };
        self.0.insert(user.to_owned(), rights);
        Ok(())
    }

    pub(crate) fn remove(&mut self, user: &str) {
        self.0.remove(user);
    }

    pub(crate) fn admits(&self, user: &str) -> bool {
        self.0.contains_key(user)
    }

    /// Objects unless the user has the right to this exchange or queue; `kind` says which it is.
    pub(crate) fn check(
        &self,
        user: &str,
        right: Right,
        kind: &str,
        name: &str,
        vhost: &str,
    ) -> Outcome<()> {
        let shown = if (kind, name) == ("exchange", "") {
            "amq.default"
        } else {
            name
        };
        let allowed = self.0.get(user).is_some_and(|rights| {
            let pattern = match right {
                Right::Configure => &rights.configure,
                Right::Write => &rights.write,
                Right::Read => &rights.read,
            };
            pattern.allows(shown)
        });
        if allowed {
            return Ok(());
        }
        Err(Objection::access_refused(format_args!(
            "access to {kind} '{shown}' in vhost '{vhost}' refused for user '{user}'"
        )))
    }
}
