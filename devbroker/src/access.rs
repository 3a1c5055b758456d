//! Who may do what.

use std::collections::{BTreeMap, HashMap};

use fancy_regex::Regex;

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

/// Which routing keys a user may use with one topic exchange; all without it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TopicPermissions {
    /// By which keys it may publish.
    pub write: String,
    /// By which keys it may bind queues.
    pub read: String,
}

/// A pattern that is no regular expression.
#[derive(Clone, Debug, thiserror::Error)]
#[error("the permission pattern '{pattern}' is no regular expression: correct it")]
pub struct PatternError {
    pattern: String,
    source: Box<fancy_regex::Error>,
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
pub(crate) struct Access {
    users: BTreeMap<String, Rights>,
    /// By user and exchange.
    topics: HashMap<(String, String), TopicRights>,
}

#[derive(Debug)]
struct TopicRights {
    write: Pattern,
    read: Pattern,
}

#[derive(Debug)]
struct Rights {
    /// The patterns as they were given.
    given: Permissions,
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
                    source: Box::new(source),
                }),
        }
    }

    fn allows(&self, name: &str) -> bool {
        match self {
            Self::Everything => true,
            // RabbitMQ reads it as ^$
            Self::Nothing => name.is_empty(),
            // one that takes for ever allows nothing
            Self::Matching(regex) => regex.is_match(name).unwrap_or(false),
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
            given: permissions.clone(),
            configure: Pattern::new(&permissions.configure)?,
            write: Pattern::new(&permissions.write)?,
            read: Pattern::new(&permissions.read)?,
        };
        self.users.insert(user.to_owned(), rights);
        Ok(())
    }

    /// Sets by which routing keys a user may use a topic exchange; true if that was not limited before.
    pub(crate) fn set_topics(
        &mut self,
        user: &str,
        exchange: &str,
        permissions: &TopicPermissions,
    ) -> Result<bool, PatternError> {
        let rights = TopicRights {
            write: Pattern::new(&permissions.write)?,
            read: Pattern::new(&permissions.read)?,
        };
        let of = (user.to_owned(), exchange.to_owned());
        Ok(self.topics.insert(of, rights).is_none())
    }

    /// Takes all that a user may do; false if that is nothing.
    pub(crate) fn remove(&mut self, user: &str) -> bool {
        self.users.remove(user).is_some()
    }

    /// Removes what is known of a user who is gone.
    pub(crate) fn forget(&mut self, user: &str) {
        self.remove(user);
        self.topics.retain(|(of, _), _| of != user);
    }

    pub(crate) fn admits(&self, user: &str) -> bool {
        self.users.contains_key(user)
    }

    /// Who may do what, by user.
    pub(crate) fn permissions(&self) -> impl Iterator<Item = (&str, &Permissions)> {
        let all = self.users.iter();
        all.map(|(user, rights)| (&**user, &rights.given))
    }

    /// Objects unless the user may use the topic exchange by this routing key.
    pub(crate) fn check_topic(
        &self,
        user: &str,
        right: Right,
        exchange: &str,
        key: &str,
        vhost: &str,
    ) -> Outcome<()> {
        // most brokers have no such rules
        if self.topics.is_empty() {
            return Ok(());
        }
        let rights = self.topics.get(&(user.to_owned(), exchange.to_owned()));
        let allowed = rights.is_none_or(|rights| match right {
            Right::Write => rights.write.allows(key),
            Right::Configure | Right::Read => rights.read.allows(key),
        });
        if allowed {
            return Ok(());
        }
        Err(Objection::access_refused(format_args!(
            "access to topic '{key}' in exchange '{exchange}' in vhost '{vhost}' refused for user '{user}'"
        )))
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
        let allowed = self.users.get(user).is_some_and(|rights| {
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
