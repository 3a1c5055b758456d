//! Signatures become tasks to send.

use std::borrow::Cow;
use std::sync::Arc;
use std::time::SystemTime;

use serde_json::value::RawValue;

use crate::canvas::error::CanvasError;
use crate::canvas::outgoing::{Destination, Links, Outgoing};
use crate::canvas::rewrite::Rewriter;
use crate::canvas::signature::{Chunks, Expires, Kind, Options, Pieces, Signature};
use crate::canvas::{Child, Followers, MOST_DEPTH, Parent};
use crate::header::{Header, TimeLimit, is_reserved, names};
use crate::id::TaskId;
use crate::property::{Table, Value};
use crate::wire;

/// Makes the tasks that follow from one that has ended.
pub(crate) struct Expander<'p> {
    parent: &'p Parent<'p>,
    /// What goes before the arguments of a signature.
    first: Arc<RawValue>,
    rewriter: Rewriter,
    pub(crate) followers: Followers,
}

/// What a signature gets from where it stands.
#[derive(Clone, Default)]
struct Given<'a> {
    /// Its place, from which its id is derived if it has none.
    place: Cow<'a, str>,
    takes_nothing: bool,
    /// The steps after it, the last one first, as the inside of a list; none if it is not in a chain.
    rest: Option<Arc<str>>,
    group: Option<(String, i64)>,
    /// Options of what it is in.
    outer: Option<&'a Pieces<'a>>,
    /// Linked to it beside its own links, as the inside of a list.
    link: Option<Arc<str>>,
    link_error: Option<Arc<str>>,
    depth: usize,
}

impl<'a> Given<'a> {
    fn at(place: impl Into<Cow<'a, str>>) -> Self {
        Self {
            place: place.into(),
            ..Self::default()
        }
    }

    fn deeper(&self) -> Result<usize, CanvasError> {
        match self.depth < MOST_DEPTH {
            true => Ok(self.depth + 1),
            false => Err(CanvasError::TooDeep { most: MOST_DEPTH }),
        }
    }
}

impl<'p> Expander<'p> {
    /// Makes tasks that get `first` before their own arguments.
    pub(crate) fn new(parent: &'p Parent<'p>, first: &RawValue) -> Self {
        Self {
            parent,
            first: first.to_owned().into(),
            rewriter: Rewriter::default(),
            followers: Followers::default(),
        }
    }

    /// Sends one signature as it is.
    pub(crate) fn one(&mut self, raw: &RawValue, place: &str) -> Result<(), CanvasError> {
        let child = self.expand(raw, Given::at(place))?;
        self.followers.children.extend(child);
        Ok(())
    }

    /// Sends signatures as the members of a new group.
    pub(crate) fn beside(&mut self, raws: &[&RawValue], place: &str) -> Result<(), CanvasError> {
        if raws.is_empty() {
            return Ok(());
        }
        let id = self.derived(place);
        let members = self.members(raws, (&id.to_string(), 0), &Given::at(place))?;
        self.followers.children.push(Child::group(id, members));
        Ok(())
    }

    /// Sends the next step of a chain, which is the last of the list, with the rest behind it.
    pub(crate) fn next_step(&mut self, mut steps: Vec<&RawValue>) -> Result<(), CanvasError> {
        let Some(next) = steps.pop() else {
            return Ok(());
        };
        let child = self.expand(
            next,
            Given {
                rest: Some(joined(&steps).into()),
                ..Given::at("chain")
            },
        )?;
        self.followers.children.extend(child);
        Ok(())
    }

    fn derived(&self, place: &str) -> TaskId {
        TaskId::derived(self.parent.id, place)
    }

    fn expand(&mut self, raw: &RawValue, given: Given<'_>) -> Result<Option<Child>, CanvasError> {
        let mut signature = Signature::read(raw)?;
        if let Some(outer) = given.outer {
            signature.options.lay_over(outer);
        }
        let given = Given {
            depth: given.deeper()?,
            takes_nothing: given.takes_nothing || signature.immutable,
            ..given
        };
        match signature.kind()? {
            Kind::Task => self.task(&signature, given).map(Some),
            Kind::Group(members) => self.group(&signature, &members, given).map(Some),
            Kind::Chain(steps) => self.chain(&signature, &steps, given),
            Kind::Chunks(chunks) => self.chunks(&signature, &chunks, given).map(Some),
            Kind::Chord => Err(CanvasError::Chord),
        }
    }

    fn task(&mut self, signature: &Signature<'_>, given: Given<'_>) -> Result<Child, CanvasError> {
        let options = signature.options.read()?;
        let header = self.header(signature, &options, &given);
        let child = Child::task(header.id.clone());
        let own_chain = (!options.chain.is_empty()).then(|| joined(&options.chain).into());
        self.followers.outgoing.push(Outgoing {
            header,
            destination: destination(&options),
            first: (!given.takes_nothing).then(|| Arc::clone(&self.first)),
            args: joined(&signature.args),
            kwargs: signature.kwargs.map_or("{}", RawValue::get).to_owned(),
            callbacks: Links {
                own: joined(&options.link),
                shared: given.link,
            },
            errbacks: Links {
                own: joined(&options.link_error),
                shared: given.link_error,
            },
            chain: given.rest.or(own_chain),
        });
        Ok(child)
    }

    fn header(
        &self,
        signature: &Signature<'_>,
        options: &Options<'_>,
        given: &Given<'_>,
    ) -> Header {
        let Parent {
            id,
            root,
            reply_to,
            origin,
            now,
            trace,
        } = *self.parent;
        let own_id = options.task_id.as_deref().map(TaskId::from);
        let own_id = own_id.unwrap_or_else(|| self.derived(&given.place));
        let mut header = Header::new(signature.task.clone(), own_id);
        header.reply_to = Some(options.reply_to.clone().unwrap_or_else(|| reply_to.into()));
        header.root_id = Some(root.clone());
        header.parent_id = Some(id.clone());
        header.group = options.group_id.clone();
        header.group_index = options.group_index;
        if let Some((group, at)) = &given.group {
            header.group = Some(group.clone());
            header.group_index = header.group_index.or(Some(*at));
        }
        header.retries = options.retries;
        header.replaced_task_nesting = options.replaced_task_nesting;
        let after = options.countdown.filter(|wait| !wait.is_zero());
        header.eta = match after {
            Some(wait) => Some(later(now, wait)),
            None => options.eta,
        };
        header.expires = options.expires.map(|expires| match expires {
            Expires::At(time) => time,
            Expires::After(wait) => later(now, wait),
        });
        header.time_limit = TimeLimit::new(options.time_limit, options.soft_time_limit);
        header.priority = options.priority;
        header.ignore_result = options.ignore_result;
        header.shadow = options.shadow.clone();
        header.origin = Some(origin.to_owned());
        header.extra = options.headers.map(own_headers).unwrap_or_default();
        header.stamps = stamps(&signature.options, &options.stamped_headers);
        header.stamped_headers = options.stamped_headers.clone();
        if let Some(trace) = trace {
            header.set_trace(trace);
        }
        header
    }

    fn group(
        &mut self,
        signature: &Signature<'_>,
        members: &[&RawValue],
        given: Given<'_>,
    ) -> Result<Child, CanvasError> {
        let options = signature.options.read()?;
        let is_followed = given.rest.as_deref().is_some_and(|rest| !rest.is_empty());
        if is_followed || !options.chain.is_empty() {
            return Err(CanvasError::GroupInBetween);
        }
        // one in a group is no group of its own: its members are those of the outer one
        let outer = given.group.clone().map(|(id, at)| (TaskId::from(id), at));
        let (id, start) = outer.unwrap_or_else(|| {
            let id = options.task_id.as_deref().map(TaskId::from);
            (id.unwrap_or_else(|| self.derived(&given.place)), 0)
        });
        let given = Given {
            outer: Some(&signature.options),
            link: both(&options.link, given.link),
            link_error: both(&options.link_error, given.link_error),
            ..given
        };
        let members = self.members(members, (&id.to_string(), start), &given)?;
        Ok(Child::group(id, members))
    }

    /// The members of a group from an index on; those of a group in it become its own.
    fn members(
        &mut self,
        raws: &[&RawValue],
        (group, mut at): (&str, i64),
        given: &Given<'_>,
    ) -> Result<Vec<Child>, CanvasError> {
        let mut members = Vec::with_capacity(raws.len());
        for raw in raws {
            let child = self.expand(
                raw,
                Given {
                    place: format!("{}.{at}", given.place).into(),
                    group: Some((group.to_owned(), at)),
                    ..given.clone()
                },
            )?;
            let unrolled = match child {
                Some(Child {
                    members: Some(inner),
                    before,
                    ..
                }) if before.is_empty() => inner,
                child => child.into_iter().collect(),
            };
            at += i64::try_from(unrolled.len()).unwrap_or(0);
            members.extend(unrolled);
        }
        Ok(members)
    }

    fn chain(
        &mut self,
        signature: &Signature<'_>,
        steps: &[&RawValue],
        given: Given<'_>,
    ) -> Result<Option<Child>, CanvasError> {
        let options = signature.options.read()?;
        let Some((first, later)) = steps.split_first() else {
            return Ok(None);
        };
        let own_group = options
            .group_id
            .clone()
            .map(|id| (id, options.group_index.unwrap_or(0)));
        let group = given.group.clone().or(own_group);
        let link = both(&options.link, given.link);
        let link_error = both(&options.link_error, given.link_error);
        let is_member = given.group.is_some();
        let mut step = Given {
            group: None,
            outer: Some(&signature.options),
            link: None,
            link_error: link_error.clone(),
            ..given
        };
        let Some((last, between)) = later.split_last() else {
            // alone it is first and last
            step.group = group;
            step.link = link;
            return self.expand(first, step);
        };
        let links = (link.as_deref(), link_error.as_deref());
        let id = options.task_id.as_deref();
        let mut rest = vec![self.rewriter.last(last, group.as_ref(), links, id)?];
        for raw in between.iter().rev() {
            rest.push(self.rewriter.step(raw, links.1)?);
        }
        let after = step.rest.as_deref().filter(|after| !after.is_empty());
        let own = options.chain.iter().map(|raw| raw.get());
        let rest: Vec<_> = after
            .into_iter()
            .chain(own)
            .chain(rest.iter().map(|text| &**text))
            .collect();
        step.rest = Some(rest.join(", ").into());
        let child = self.expand(first, step)?;
        // whoever sees the members of a group waits for the last step of each
        match id_of(last) {
            Some(id) if is_member => {
                let before = steps[..steps.len() - 1].iter().rev();
                Ok(Some(
                    Child::task(id).after(before.filter_map(|raw| id_of(raw))),
                ))
            }
            _ => Ok(child),
        }
    }

    fn chunks(
        &mut self,
        signature: &Signature<'_>,
        chunks: &Chunks<'_>,
        given: Given<'_>,
    ) -> Result<Child, CanvasError> {
        chunks.parts()?;
        let parts = chunks.it.chunks(chunks.n).map(|part| {
            let text = format!(
                r#"{{"task": "celery.starmap", "kwargs": {{"task": {}, "it": [{}]}}, "immutable": true}}"#,
                chunks.task,
                joined(part),
            );
            RawValue::from_string(text).map_err(CanvasError::Signature)
        });
        let parts = parts.collect::<Result<Vec<_>, _>>()?;
        let parts: Vec<_> = parts.iter().map(|raw| &**raw).collect();
        self.group(signature, &parts, given)
    }
}

/// The id that a signature has.
fn id_of(raw: &RawValue) -> Option<TaskId> {
    let signature = Signature::read(raw).ok()?;
    let id = signature.options.get("task_id")?;
    serde_json::from_str(id.get()).ok()
}

/// The inside of a list.
fn joined(raws: &[&RawValue]) -> String {
    let texts: Vec<_> = raws.iter().map(|raw| raw.get()).collect();
    texts.join(", ")
}

/// The insides of two lists as one.
fn both(own: &[&RawValue], more: Option<Arc<str>>) -> Option<Arc<str>> {
    match (own, more) {
        ([], more) => more,
        (own, None) => Some(joined(own).into()),
        (own, Some(more)) => Some(format!("{}, {more}", joined(own)).into()),
    }
}

fn later(now: SystemTime, wait: std::time::Duration) -> SystemTime {
    // as late as a message can say
    now.checked_add(wait).unwrap_or_else(|| {
        let century = std::time::Duration::from_secs(100 * 365 * 24 * 60 * 60);
        now.checked_add(century).unwrap_or(now)
    })
}

fn destination(options: &Options<'_>) -> Destination {
    let (queue, exchange, key) = (&options.queue, &options.exchange, &options.routing_key);
    match (queue, exchange.as_deref(), key) {
        (_, Some(""), Some(key)) | (None, None, Some(key)) => Destination::Queue(key.clone()),
        (Some(queue), None | Some(""), None) => Destination::Queue(queue.clone()),
        (Some(queue), None, Some(key)) if key == queue => Destination::Queue(key.clone()),
        (Some(queue), None, Some(key)) => Destination::Exchange {
            name: queue.clone(),
            key: Some(key.clone()),
        },
        (None, None | Some(""), None) => Destination::Default,
        (queue, Some(exchange), key) => Destination::Exchange {
            name: exchange.to_owned(),
            key: key.clone().or_else(|| queue.clone()),
        },
    }
}

/// Headers of the caller's own and its retry policy; those of the protocol have options of their own.
fn own_headers(raw: &RawValue) -> Table {
    let pieces: Pieces<'_> = serde_json::from_str(raw.get()).unwrap_or_default();
    let is_own = |name: &str| !is_reserved(name) || name == names::RETRY;
    let own = pieces.iter().filter(|(name, _)| is_own(name));
    own.filter_map(|(name, raw)| Some((name.to_owned().into(), value(raw)?)))
        .collect()
}

fn stamps(pieces: &Pieces<'_>, names: &[String]) -> Table {
    let stamps = names.iter().filter_map(|name| {
        let value = value(pieces.get(name)?)?;
        Some((name.clone().into(), value))
    });
    stamps.collect()
}

fn value(raw: &RawValue) -> Option<Value> {
    serde_json::from_str(raw.get()).ok().map(wire::header_value)
}
