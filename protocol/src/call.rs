//! One call of a task: typed arguments and options, and what it becomes when it is sent.

use std::fmt;
use std::future::Future;
use std::marker::PhantomData;
use std::time::{Duration, SystemTime};

use serde_json::Value as Json;

use crate::answer::{AnswerOk, answer_ok};
use crate::argument::Params;
use crate::codec::body::EMPTY_EMBED;
use crate::context::TaskContext;
use crate::error::EncodeError;
use crate::header::{self, Header, TimeLimit, names};
use crate::id::TaskId;
use crate::message::{Body, Message};
use crate::name::{NameError, check_queue_name, check_task_name};
use crate::options::{CallOptions, Priority, Start, Target};
use crate::property::Value;
use crate::spec::{Queue, RetryPolicy};
use crate::task::Task;

/// A call that has not been sent: typed arguments, and options that start from the task's own.
///
/// Made by `task::call(..)`. Nothing happens until it is [sent](Call::send).
#[must_use = "a call does nothing until it is sent"]
pub struct Call<T: Task> {
    arguments: <T::Params as Params>::Values,
    options: CallOptions,
}

impl<T: Task> Call<T> {
    /// A call with these arguments.
    pub fn new(arguments: <T::Params as Params>::Values) -> Self {
        Self {
            arguments,
            options: CallOptions::default(),
        }
    }

    /// Encodes the call; a delay counts from now.
    ///
    /// # Errors
    ///
    /// [`EncodeError`] for an argument without a JSON form, or a name that cannot be used.
    pub fn prepare(self) -> Result<Prepared<T::Output, T::Error>, EncodeError> {
        self.prepare_at(SystemTime::now())
    }

    /// Encodes the call; a delay counts from `now`.
    ///
    /// # Errors
    ///
    /// As [`prepare`](Self::prepare).
    pub fn prepare_at(self, now: SystemTime) -> Result<Prepared<T::Output, T::Error>, EncodeError> {
        let mut json = Vec::with_capacity(128);
        json.extend_from_slice(b"[[],{");
        T::PARAMS
            .encode(&self.arguments, &mut json)
            .map_err(|source| EncodeError::Argument {
                task: T::SPEC.name.to_owned(),
                source,
            })?;
        json.extend_from_slice(b"},");
        json.extend_from_slice(EMPTY_EMBED.as_bytes());
        json.push(b']');
        let options = self.options.or(&T::SPEC);
        let target = options.target.clone().unwrap_or(Target::Queue(T::QUEUE));
        Prepared::new(T::SPEC.name, json, options, target, T::ANSWER.0, now)
    }

    /// Sends the call and returns a handle to its result.
    ///
    /// The arguments are encoded before the first `.await`, so they need not be `Send`.
    ///
    /// # Errors
    ///
    /// Those of the sender; for a client, whatever kept the broker from confirming the message.
    ///
    /// # Delivery
    ///
    /// With a client, `Ok` means that the broker has the message on disk in a queue. After an error it may have it.
    pub fn send<S: Sender>(
        self,
        sender: &S,
    ) -> impl Future<Output = Result<S::Handle<T::Output, T::Error>, S::Error>> + Send + use<'_, T, S>
    {
        let prepared = self.prepare_at(sender.now());
        async move { sender.deliver(prepared?).await }
    }
}

/// A call by name: arguments as JSON, for programs that learn names at run time.
#[must_use = "a call does nothing until it is sent"]
#[derive(Debug)]
pub struct DynamicCall {
    task: String,
    arguments: Json,
    options: CallOptions,
}

impl DynamicCall {
    /// A call of the task with this wire name: an array gives the arguments by position, an object by name.
    pub fn new(task: impl Into<String>, arguments: Json) -> Self {
        Self {
            task: task.into(),
            arguments,
            options: CallOptions::default(),
        }
    }

    /// Encodes the call; a delay counts from now.
    ///
    /// # Errors
    ///
    /// [`EncodeError`] for arguments that are neither array nor object, or a name that cannot be used.
    pub fn prepare(self) -> Result<Prepared<Json, Json>, EncodeError> {
        self.prepare_at(SystemTime::now())
    }

    /// Encodes the call; a delay counts from `now`.
    ///
    /// # Errors
    ///
    /// As [`prepare`](Self::prepare).
    pub fn prepare_at(self, now: SystemTime) -> Result<Prepared<Json, Json>, EncodeError> {
        let body = match &self.arguments {
            Json::Array(_) => format!("[{},{{}},{EMPTY_EMBED}]", self.arguments),
            Json::Object(_) => format!("[[],{},{EMPTY_EMBED}]", self.arguments),
            Json::Null => format!("[[],{{}},{EMPTY_EMBED}]"),
            other => {
                return Err(EncodeError::Shape {
                    found: kind_of(other),
                });
            }
        };
        let target = self
            .options
            .target
            .clone()
            .unwrap_or(Target::Queue(crate::spec::DefaultQueue::SPEC));
        Prepared::new(
            &self.task,
            body.into_bytes(),
            self.options,
            target,
            answer_ok::<Json>(),
            now,
        )
    }

    /// Sends the call and returns a handle to its result.
    ///
    /// # Errors
    ///
    /// Those of the sender.
    ///
    /// # Delivery
    ///
    /// As [`Call::send`].
    pub fn send<S: Sender>(
        self,
        sender: &S,
    ) -> impl Future<Output = Result<S::Handle<Json, Json>, S::Error>> + Send + use<'_, S> {
        let prepared = self.prepare_at(sender.now());
        async move { sender.deliver(prepared?).await }
    }
}

fn kind_of(json: &Json) -> &'static str {
    match json {
        Json::Null => "null",
        Json::Bool(_) => "a truth value",
        Json::Number(_) => "a number",
        Json::String(_) => "a text",
        Json::Array(_) => "an array",
        Json::Object(_) => "an object",
    }
}

macro_rules! impl_setters {
    ($({$($generics:tt)*})? $ty:ty) => {
        impl $($($generics)*)? $ty {
            /// Sets the id; a duplicate send with the same id is the same task to everybody who watches.
            pub fn id(mut self, id: impl Into<TaskId>) -> Self {
                self.options.id = Some(id.into());
                self
            }

            /// Sends it to another queue than the task's own.
            pub fn queue<Q: Queue>(mut self) -> Self {
                self.options.target = Some(Target::Queue(Q::SPEC));
                self
            }

            /// Sends it to the queue of this name, which has to exist.
            pub fn queue_named(mut self, name: impl Into<String>) -> Self {
                self.options.target = Some(Target::Named(name.into()));
                self
            }

            /// Starts it so much later.
            pub fn delay(mut self, delay: Duration) -> Self {
                self.options.start = Some(Start::After(delay));
                self
            }

            /// Starts it at this time, or at once if that is past.
            pub fn eta(mut self, time: SystemTime) -> Self {
                self.options.start = Some(Start::At(time));
                self
            }

            /// Gives it up if it has not started so long after sending.
            pub fn expires(mut self, after: Duration) -> Self {
                self.options.expires = Some(after);
                self
            }

            /// Sets the priority within the queue.
            pub fn priority(mut self, priority: Priority) -> Self {
                self.options.priority = Some(priority);
                self
            }

            /// Repeats failed attempts otherwise than the task says.
            pub fn retry(mut self, policy: RetryPolicy) -> Self {
                self.options.retry = Some(policy);
                self
            }

            /// Limits how long one attempt may take.
            pub fn timeout(mut self, limit: Duration) -> Self {
                self.options.timeout = Some(limit);
                self
            }

            /// Says whether nobody wants the result.
            pub fn ignore_result(mut self, ignore: bool) -> Self {
                self.options.ignore_result = Some(ignore);
                self
            }

            /// Makes it a child of a running task: the same workflow and trace, and no longer worth doing than its parent.
            pub fn child_of(mut self, parent: &TaskContext) -> Self {
                self.options.parent = Some(parent.lineage());
                self
            }

            /// Adds a header of your own, which the task sees in its context.
            pub fn header(
                mut self,
                name: impl Into<std::borrow::Cow<'static, str>>,
                value: impl Into<Value>,
            ) -> Self {
                self.options.headers.insert(name, value);
                self
            }
        }
    };
}

impl_setters!({<T: Task>} Call<T>);
impl_setters!(DynamicCall);

impl<T: Task> fmt::Debug for Call<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Call")
            .field("task", &T::SPEC.name)
            .field("options", &self.options)
            .finish_non_exhaustive()
    }
}

/// An encoded call: what a [`Sender`] takes.
#[non_exhaustive]
pub struct Prepared<O, E> {
    /// The message; a sender adds where the result goes.
    pub message: Message,
    /// The queue it goes to.
    pub target: Target,
    /// How the output is read when it comes back.
    pub answer: AnswerOk<O>,
    error: PhantomData<fn() -> E>,
}

impl<O, E> Prepared<O, E> {
    fn new(
        task: &str,
        body: Vec<u8>,
        options: CallOptions,
        target: Target,
        answer: AnswerOk<O>,
        now: SystemTime,
    ) -> Result<Self, EncodeError> {
        check_names(task, &options, &target)?;
        let mut header = Header::new(task, options.id.unwrap_or_else(TaskId::generate));
        header.lang = Some("rust".to_owned());
        header.eta = start_at(options.start, now)?;
        header.expires = options.expires.and_then(|d| now.checked_add(d));
        header.time_limit = TimeLimit::new(options.timeout, options.soft_timeout);
        header.priority = options.priority.map(Priority::level);
        header.ignore_result = options.ignore_result;
        header.extra = options.headers;
        if let Some(policy) = options.retry {
            header.extra.insert(names::RETRY, policy.to_string());
        }
        if let Some(parent) = options.parent {
            header.root_id = Some(parent.root_id);
            header.parent_id = Some(parent.parent_id);
            header.set_trace(parent.trace);
            header.expires = match (header.expires, parent.expires) {
                (Some(own), Some(parents)) => Some(own.min(parents)),
                (own, parents) => own.or(parents),
            };
        }
        Ok(Self {
            message: Message::new(header, Body::json(body)),
            target,
            answer,
            error: PhantomData,
        })
    }
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
    check_queue_name(target.name()).map_err(unusable("the queue name", target.name()))?;
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

/// Something that can send calls: a client, a running task, a double in a test.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot send calls",
    label = "not a sender",
    note = "pass a `&Client`"
)]
pub trait Sender: Sync {
    /// What a sent call is known by: usually a handle to its result.
    type Handle<O, E>;

    /// Why a call was not sent.
    type Error: From<EncodeError>;

    /// The time that delays and expiries of its calls count from: that of this machine, unless it has its own.
    fn now(&self) -> SystemTime {
        SystemTime::now()
    }

    /// Sends an encoded call.
    fn deliver<O: Send + 'static, E: 'static>(
        &self,
        call: Prepared<O, E>,
    ) -> impl Future<Output = Result<Self::Handle<O, E>, Self::Error>> + Send;
}
