//! Exchanges: which bindings a message fits.

mod headers;
mod topic;

use std::collections::HashMap;
use std::sync::Arc;

use amq_protocol::types::FieldTable;

use crate::queue::QueueId;
use crate::table::RawTable;
use topic::Trie;

/// Where a binding leads.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Destination {
    Queue(QueueId),
    /// An exchange, by its name.
    Exchange(Arc<str>),
}

/// A rule by which messages leave an exchange.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Binding {
    pub(crate) destination: Destination,
    pub(crate) routing_key: String,
    pub(crate) arguments: FieldTable,
}

/// How an exchange finds its bindings.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Direct,
    Fanout,
    Headers,
    Topic,
}

impl Kind {
    pub(crate) fn of(name: &str) -> Option<Self> {
        Some(match name {
            "direct" => Self::Direct,
            "fanout" => Self::Fanout,
            "headers" => Self::Headers,
            "topic" => Self::Topic,
            _ => return None,
        })
    }

    /// Whether the routing key of a message means anything to it.
    pub(crate) fn has_keys(self) -> bool {
        matches!(self, Self::Direct | Self::Topic)
    }

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Direct => "direct",
            Self::Fanout => "fanout",
            Self::Headers => "headers",
            Self::Topic => "topic",
        }
    }
}

/// One exchange with the bindings that lead out of it.
#[derive(Debug)]
pub(crate) struct Exchange {
    pub(crate) name: Arc<str>,
    pub(crate) kind: Kind,
    pub(crate) durable: bool,
    pub(crate) auto_delete: bool,
    pub(crate) internal: bool,
    pub(crate) arguments: FieldTable,
    /// Who gets what fits no binding.
    pub(crate) alternate: Option<String>,
    /// By destination and key; there may be several with different arguments.
    bindings: HashMap<(Destination, String), Vec<FieldTable>>,
    index: Index,
}

/// The same bindings, by what a message brings.
#[derive(Debug)]
enum Index {
    Direct(HashMap<String, Vec<Destination>>),
    Fanout(Vec<Destination>),
    Headers(Vec<(headers::Rule, Destination)>),
    Topic(Trie<Destination>),
}

impl Exchange {
    pub(crate) fn new(name: Arc<str>, kind: Kind, arguments: FieldTable) -> Self {
        let index = match kind {
            Kind::Direct => Index::Direct(HashMap::new()),
            Kind::Fanout => Index::Fanout(Vec::new()),
            Kind::Headers => Index::Headers(Vec::new()),
            Kind::Topic => Index::Topic(Trie::default()),
        };
        Self {
            name,
            kind,
            durable: true,
            auto_delete: false,
            internal: false,
            arguments,
            alternate: None,
            bindings: HashMap::new(),
            index,
        }
    }

    pub(crate) fn is_used(&self) -> bool {
        !self.bindings.is_empty()
    }

    /// All bindings that lead out of it.
    pub(crate) fn bindings(&self) -> impl Iterator<Item = Binding> {
        self.bindings.iter().flat_map(|((to, key), all)| {
            all.iter().map(|arguments| Binding {
                destination: to.clone(),
                routing_key: key.clone(),
                arguments: arguments.clone(),
            })
        })
    }

    /// Adds a binding, unless it is there.
    pub(crate) fn bind(&mut self, binding: Binding) {
        let at = (binding.destination.clone(), binding.routing_key.clone());
        let same = self.bindings.entry(at).or_default();
        if same.contains(&binding.arguments) {
            return;
        }
        same.push(binding.arguments.clone());
        let to = binding.destination;
        match &mut self.index {
            Index::Direct(keys) => keys.entry(binding.routing_key).or_default().push(to),
            Index::Fanout(all) => all.push(to),
            Index::Headers(rules) => rules.push((headers::Rule::new(&binding.arguments), to)),
            Index::Topic(trie) => trie.insert(&binding.routing_key, to),
        }
    }

    /// Removes a binding; false if there is none.
    pub(crate) fn unbind(&mut self, binding: &Binding) -> bool {
        let at = (binding.destination.clone(), binding.routing_key.clone());
        let Some(same) = self.bindings.get_mut(&at) else {
            return false;
        };
        let Some(place) = same.iter().position(|args| *args == binding.arguments) else {
            return false;
        };
        same.swap_remove(place);
        if same.is_empty() {
            self.bindings.remove(&at);
        }
        self.unindex(binding);
        true
    }

    /// Removes all bindings to a destination; false if there were none.
    pub(crate) fn forget(&mut self, destination: &Destination) -> bool {
        let there: Vec<Binding> = self
            .bindings
            .keys()
            .filter(|(to, _)| to == destination)
            .cloned()
            .collect::<Vec<_>>()
            .into_iter()
            .flat_map(|(destination, routing_key)| {
                let all = self.bindings[&(destination.clone(), routing_key.clone())].clone();
                all.into_iter().map(move |arguments| Binding {
                    destination: destination.clone(),
                    routing_key: routing_key.clone(),
                    arguments,
                })
            })
            .collect();
        for binding in &there {
            self.unbind(binding);
        }
        !there.is_empty()
    }

    fn unindex(&mut self, binding: &Binding) {
        let to = &binding.destination;
        match &mut self.index {
            Index::Direct(keys) => {
                if let Some(all) = keys.get_mut(&binding.routing_key) {
                    remove_one(all, |other| other == to);
                    if all.is_empty() {
                        keys.remove(&binding.routing_key);
                    }
                }
            }
            Index::Fanout(all) => remove_one(all, |other| other == to),
            Index::Headers(rules) => {
                let rule = headers::Rule::new(&binding.arguments);
                remove_one(rules, |other| other.0 == rule && other.1 == *to);
            }
            Index::Topic(trie) => trie.remove(&binding.routing_key, to),
        }
    }

    /// Calls `found` for each binding that the message fits, perhaps more than once for a destination.
    pub(crate) fn route<'a>(
        &'a self,
        routing_key: &str,
        headers: &RawTable,
        found: &mut impl FnMut(&'a Destination),
    ) {
        match &self.index {
            Index::Direct(keys) => keys.get(routing_key).into_iter().flatten().for_each(found),
            Index::Fanout(all) => all.iter().for_each(found),
            Index::Headers(rules) => rules
                .iter()
                .filter(|(rule, _)| rule.fits(headers))
                .for_each(|(_, to)| found(to)),
            Index::Topic(trie) => trie.matches(routing_key, found),
        }
    }
}

fn remove_one<T>(all: &mut Vec<T>, wanted: impl Fn(&T) -> bool) {
    if let Some(place) = all.iter().position(wanted) {
        all.remove(place);
    }
}
