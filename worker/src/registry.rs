//! The tasks that a worker knows, by name.

use std::collections::hash_map::Entry;
use std::sync::Arc;

use foldhash::HashMap;

use crate::builtin;
use crate::error::BuildProblem;
use crate::handler::Handler;

/// The tasks of one or more crates, as `coney::tasks![..]` and `coney::registered()` give them.
#[derive(Clone, Debug, Default)]
pub struct Tasks {
    handlers: Vec<Handler>,
    problems: Vec<BuildProblem>,
}

impl Tasks {
    /// All of `handlers`.
    pub fn all(handlers: impl IntoIterator<Item = Handler>) -> Self {
        Self {
            handlers: handlers.into_iter().collect(),
            problems: Vec::new(),
        }
    }

    /// Those of `handlers` that are defined in one of `crates`; a crate without any is a problem of the build.
    pub fn of_crates(handlers: impl IntoIterator<Item = Handler>, crates: &[&str]) -> Self {
        let mut tasks = Self::all(handlers);
        tasks.handlers.retain(|handler| {
            let home = crate_of(handler);
            crates.contains(&home)
        });
        tasks.problems = crates
            .iter()
            .filter(|name| !tasks.handlers.iter().any(|h| crate_of(h) == **name))
            .map(|name| BuildProblem::EmptyCrate {
                name: (*name).to_owned(),
            })
            .collect();
        tasks
    }

    pub(crate) fn into_parts(self) -> (Vec<Handler>, Vec<BuildProblem>) {
        (self.handlers, self.problems)
    }
}

fn crate_of(handler: &Handler) -> &'static str {
    let module = handler.spec().module;
    module.split("::").next().unwrap_or(module)
}

/// Handlers by the wire name of their task.
#[derive(Debug, Default)]
pub(crate) struct Registry {
    own: HashMap<&'static str, Arc<Handler>>,
    /// What every worker has; not listed.
    builtin: HashMap<&'static str, Arc<Handler>>,
}

impl Registry {
    /// Sorts handlers by name; the same task may be named twice, two tasks of one name may not.
    pub(crate) fn new(handlers: Vec<Handler>, problems: &mut Vec<BuildProblem>) -> Self {
        let mut by_name: HashMap<_, Arc<Handler>> = HashMap::default();
        for handler in handlers {
            match by_name.entry(handler.spec().name) {
                Entry::Vacant(vacant) => {
                    vacant.insert(Arc::new(handler));
                }
                Entry::Occupied(known) => {
                    let first = known.get();
                    if first.spec().module != handler.spec().module {
                        problems.push(BuildProblem::DuplicateTask {
                            name: handler.spec().name,
                            modules: [first.spec().module, handler.spec().module],
                        });
                    }
                }
            }
        }
        let builtin = builtin::handlers().map(|handler| (handler.spec().name, Arc::new(handler)));
        Self {
            own: by_name,
            builtin: builtin.into_iter().collect(),
        }
    }

    pub(crate) fn get(&self, task: &str) -> Option<&Arc<Handler>> {
        self.own.get(task).or_else(|| self.builtin.get(task))
    }

    /// All handlers of the program's own tasks, sorted by name.
    pub(crate) fn sorted(&self) -> Vec<&Handler> {
        sorted(self.own.values())
    }

    /// All handlers, also those that every worker has, sorted by name.
    pub(crate) fn all(&self) -> Vec<&Handler> {
        let not_own = |(name, _): &(&&str, _)| !self.own.contains_key(**name);
        let builtin = self.builtin.iter().filter(not_own);
        sorted(self.own.values().chain(builtin.map(|(_, handler)| handler)))
    }
}

fn sorted<'a>(handlers: impl Iterator<Item = &'a Arc<Handler>>) -> Vec<&'a Handler> {
    let mut handlers: Vec<_> = handlers.map(AsRef::as_ref).collect();
    handlers.sort_by_key(|handler| handler.spec().name);
    handlers
}
