//! An encoded call.

use std::fmt;
use std::marker::PhantomData;
use std::time::SystemTime;

use crate::answer::AnswerOk;
use crate::argument::Encoded;
use crate::context::Children;
use crate::error::EncodeError;
use crate::header::{self, Header, TimeLimit, names};
use crate::id::TaskId;
use crate::message::{Body, Message};
use crate::name::{NameError, check_queue_name, check_task_name};
use crate::options::{CallOptions, Priority, Start, Target};
use crate::repr;
use crate::workflow;

/// An encoded call: what a [`Sender`](crate::call::Sender) takes.
#[non_exhaustive]
pub struct Prepared<O, E> {
    /// The message; a sender adds where the result goes.
    pub message: Message,
    /// The queue it goes to.
    pub target: Target,
    /// How the output is read when it comes back.
    pub answer: AnswerOk<O>,
    /// The children of the task that sends it, if one does: where it is added once it is sent.
    pub siblings: Option<Children>,
    /// False for the head of a workflow: its result goes to the sender, who waits for another's.
    pub is_awaited: bool,
    arguments: Encoded,
    error: PhantomData<fn() -> E>,
}

impl<O, E> Prepared<O, E> {
    pub(crate) fn new(
        task: &str,
        arguments: Encoded,
        options: CallOptions,
        target: Target,
        answer: AnswerOk<O>,
        now: SystemTime,
    ) -> Result<Self, EncodeError> {
        check_names(task, &options, &target)?;
        let embed = workflow::embed(&options)?;
        let mut header = Header::new(task, options.id.unwrap_or_else(TaskId::generate));
        header.eta = start_at(options.start, now)?;
        header.expires = options.expires.and_then(|d| now.checked_add(d));
        header.time_limit = TimeLimit::new(options.timeout, options.soft_timeout);
        header.priority = options.priority.map(Priority::level);
        header.ignore_result = options.ignore_result;
        header.extra = options.headers;
        if let Some(policy) = options.retry {
            header.extra.insert(names::RETRY, policy.to_string());
        }
        let siblings = options
            .parent
            .as_ref()
            .map(|parent| parent.children.clone());
        if let Some(parent) = options.parent {
            header.root_id = Some(parent.root_id);
            header.parent_id = Some(parent.parent_id);
            header.set_trace(parent.trace);
            header.expires = match (header.expires, parent.expires) {
                (Some(own), Some(parents)) => Some(own.min(parents)),
                (own, parents) => own.or(parents),
            };
        }
        if let Some((group, at)) = options.group {
            header.group = Some(group);
            header.group_index = Some(at);
        }
        let mut body = Body::json(body_of(&arguments, &embed)).serialized(options.serializer);
        if let Some(compression) = options.compression {
            body = body.compressed(compression);
        }
        Ok(Self {
            message: Message::new(header, body),
            target,
            answer,
            siblings,
            is_awaited: true,
            arguments,
            error: PhantomData,
        })
    }

    /// Writes the arguments into the headers `argsrepr` and `kwargsrepr` as Python shows them, for people to read.
    ///
    /// Workers and monitors of Celery show nothing else; those of coney read the arguments from the body.
    pub fn show_arguments(&mut self) {
        let Encoded { args, kwargs } = &self.arguments;
        let header = &mut self.message.header;
        header.args_repr = Some(repr::args(&String::from_utf8_lossy(args)));
        header.kwargs_repr = Some(repr::kwargs(&String::from_utf8_lossy(kwargs)));
    }
}

/// The body of a call with these arguments, and what follows it.
fn body_of(arguments: &Encoded, embed: &str) -> Vec<u8> {
    let Encoded { args, kwargs } = arguments;
    [
        b"[[",
        &**args,
        b"],{",
        kwargs,
        b"},",
        embed.as_bytes(),
        b"]",
    ]
    .concat()
}

/// When a call shall start, if it is not at once: a time that is past is now.
fn start_at(start: Option<Start>, now: SystemTime) -> Result<Option<SystemTime>, EncodeError> {
    match start {
        None => Ok(None),
        Some(Start::At(time)) => Ok((time > now).then_some(time)),
        Some(Start::After(delay)) if delay.is_zero() => Ok(None),
        Some(Start::After(delay)) => match now.checked_add(delay) {
            Some(time) => Ok(Some(time)),
            None => Err(EncodeError::Delay { delay }),
        },
    }
}

fn check_names(task: &str, options: &CallOptions, target: &Target) -> Result<(), EncodeError> {
    fn unusable(what: &'static str, name: &str) -> impl FnOnce(NameError) -> EncodeError {
        move |source| {
            let name = name.to_owned();
            EncodeError::Name { what, name, source }
        }
    }
    check_task_name(task).map_err(unusable("the task name", task))?;
    match target {
        Target::Exchange {
            exchange,
            routing_key,
        } => {
            check_queue_name(exchange).map_err(unusable("the exchange name", exchange))?;
            // empty for an exchange that does not look at it
            if !routing_key.is_empty() {
                check_queue_name(routing_key).map_err(unusable("the routing key", routing_key))?;
            }
        }
        queue => {
            let name = queue.name();
            check_queue_name(name).map_err(unusable("the queue name", name))?;
        }
    }
    for (name, _) in options.headers.iter() {
        check_task_name(name).map_err(unusable("the header name", name))?;
        if header::is_reserved(name) {
            let name = name.to_owned();
            return Err(EncodeError::ReservedHeader { name });
        }
    }
    Ok(())
}

impl<O, E> fmt::Debug for Prepared<O, E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Prepared")
            .field("header", &self.message.header)
            .field("target", &self.target)
            .finish_non_exhaustive()
    }
}
