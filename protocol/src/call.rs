//! One call of a task: typed arguments and options, and what it becomes when it is sent.

mod prepared;
mod setters;

use std::fmt;
use std::future::Future;
use std::marker::PhantomData;
use std::time::SystemTime;

use serde::Serialize;
use serde_json::Value as Json;

use crate::answer::{Output, answer_ok};
use crate::argument::{Encoded, Params};
use crate::error::{ArgumentError, ArgumentErrorKind, EncodeError};
use crate::options::{CallOptions, Target};
use crate::spec::Queue;
use crate::task::Task;
use crate::workflow::{Follows, Single};

pub use prepared::Prepared;

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
        let Single {
            task,
            arguments,
            options,
            ..
        } = self.single()?;
        let target = options.target.clone().unwrap_or(Target::Queue(T::QUEUE));
        Prepared::new(&task, arguments, options, target, T::ANSWER.0, now)
    }

    /// Encodes the arguments, for a part of a workflow.
    pub(crate) fn single(self) -> Result<Single, EncodeError> {
        let mut arguments = Encoded::default();
        T::PARAMS
            .encode(&self.arguments, &mut arguments)
            .map_err(|source| EncodeError::Argument {
                task: T::SPEC.name.to_owned(),
                source,
            })?;
        Ok(Single {
            task: T::SPEC.name.to_owned(),
            arguments,
            options: self.options.or(&T::SPEC),
            home: Some(Target::Queue(T::QUEUE)),
            takes_result: false,
        })
    }

    /// Sends another call after this one has succeeded, as often as this is called: a call, a chain, or a step that
    /// takes the result as its first argument. Nobody waits for its result.
    pub fn link<F: Follows<T::Output>>(mut self, next: F) -> Self {
        self.options.link.push(next.part());
        self
    }

    /// Sends another call after this one has failed for good; a step takes the id of the failed task as its first
    /// argument.
    pub fn link_error<F: Follows<String>>(mut self, next: F) -> Self {
        self.options.link_error.push(next.part());
        self
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
        async move { sent(prepared?, sender).await }
    }
}

/// A call by name: arguments as JSON, for programs that learn names at run time.
#[must_use = "a call does nothing until it is sent"]
pub struct DynamicCall<O = Json> {
    task: String,
    arguments: Encoded,
    wrong: Option<EncodeError>,
    options: CallOptions,
    output: PhantomData<fn() -> O>,
}

impl DynamicCall {
    /// A call of the task with this wire name: an array gives the arguments by position, an object by name.
    pub fn new(task: impl Into<String>, arguments: Json) -> Self {
        let call = Self {
            task: task.into(),
            arguments: Encoded::default(),
            wrong: None,
            options: CallOptions::default(),
            output: PhantomData,
        };
        match arguments {
            Json::Null => call,
            Json::Object(named) => call.kwargs(&named),
            other => call.args(&other),
        }
    }
}

impl<O: Output> DynamicCall<O> {
    /// Says what the task returns: any JSON unless set.
    pub fn returning<R: Output>(self) -> DynamicCall<R> {
        DynamicCall {
            task: self.task,
            arguments: self.arguments,
            wrong: self.wrong,
            options: self.options,
            output: PhantomData,
        }
    }

    /// Gives all arguments by position: anything that is a JSON array.
    pub fn args<A: Serialize + ?Sized>(mut self, args: &A) -> Self {
        match inside(args, b'[') {
            Ok(items) => self.arguments.args = items,
            Err(wrong) => self.wrong = Some(wrong.of(&self.task)),
        }
        self
    }

    /// Gives all arguments by name: anything that is a JSON object.
    pub fn kwargs<A: Serialize + ?Sized>(mut self, kwargs: &A) -> Self {
        match inside(kwargs, b'{') {
            Ok(members) => self.arguments.kwargs = members,
            Err(wrong) => self.wrong = Some(wrong.of(&self.task)),
        }
        self
    }

    /// Encodes the call; a delay counts from now.
    ///
    /// # Errors
    ///
    /// [`EncodeError`] for arguments that are neither array nor object, or a name that cannot be used.
    pub fn prepare(self) -> Result<Prepared<O, Json>, EncodeError> {
        self.prepare_at(SystemTime::now())
    }

    /// Encodes the call; a delay counts from `now`.
    ///
    /// # Errors
    ///
    /// As [`prepare`](Self::prepare).
    pub fn prepare_at(self, now: SystemTime) -> Result<Prepared<O, Json>, EncodeError> {
        let Single {
            task,
            arguments,
            options,
            ..
        } = self.single()?;
        let target = options.target.clone();
        let target = target.unwrap_or(Target::Queue(crate::spec::DefaultQueue::SPEC));
        Prepared::new(&task, arguments, options, target, answer_ok::<O>(), now)
    }

    /// The call as a part of a workflow.
    pub(crate) fn single(self) -> Result<Single, EncodeError> {
        match self.wrong {
            Some(wrong) => Err(wrong),
            None => Ok(Single {
                task: self.task,
                arguments: self.arguments,
                options: self.options,
                home: None,
                takes_result: false,
            }),
        }
    }

    /// Sends another call after this one has succeeded; see [`Call::link`].
    pub fn link<F: Follows<O>>(mut self, next: F) -> Self {
        self.options.link.push(next.part());
        self
    }

    /// Sends another call after this one has failed for good; see [`Call::link_error`].
    pub fn link_error<F: Follows<String>>(mut self, next: F) -> Self {
        self.options.link_error.push(next.part());
        self
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
    ) -> impl Future<Output = Result<S::Handle<O, Json>, S::Error>> + Send + use<'_, S, O>
    where
        O: Send + 'static,
    {
        let prepared = self.prepare_at(sender.now());
        async move { sent(prepared?, sender).await }
    }
}

/// Sends an encoded call, and tells its parent when that is done.
async fn sent<O: Send + 'static, E: 'static, S: Sender>(
    mut call: Prepared<O, E>,
    sender: &S,
) -> Result<S::Handle<O, E>, S::Error> {
    let (siblings, id) = (call.siblings.take(), call.message.header.id.clone());
    let handle = sender.deliver(call).await?;
    if let Some(siblings) = siblings {
        siblings.add(id);
    }
    Ok(handle)
}

/// What is wrong with arguments that are given as JSON.
enum Wrong {
    Shape(&'static str),
    Unsent(serde_json::Error),
}

impl Wrong {
    fn of(self, task: &str) -> EncodeError {
        match self {
            Self::Shape(found) => EncodeError::Shape { found },
            Self::Unsent(error) => EncodeError::Argument {
                task: task.to_owned(),
                source: ArgumentError::of_task("", ArgumentErrorKind::Unsent(error)),
            },
        }
    }
}

/// What stands between the brackets of a JSON array or object, which `open` says.
fn inside<A: Serialize + ?Sized>(arguments: &A, open: u8) -> Result<Vec<u8>, Wrong> {
    let json = serde_json::to_vec(arguments).map_err(Wrong::Unsent)?;
    match json.trim_ascii() {
        [first, inner @ .., _] if *first == open => Ok(inner.trim_ascii().to_vec()),
        other => Err(Wrong::Shape(kind_of(other.first()))),
    }
}

fn kind_of(first: Option<&u8>) -> &'static str {
    match first {
        Some(b'[') => "an array",
        Some(b'{') => "an object",
        Some(b'"') => "a text",
        Some(b't' | b'f') => "a truth value",
        Some(b'n') => "null",
        _ => "a number",
    }
}

impl<O> fmt::Debug for DynamicCall<O> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DynamicCall")
            .field("task", &self.task)
            .field("options", &self.options)
            .finish_non_exhaustive()
    }
}

impl<T: Task> fmt::Debug for Call<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Call")
            .field("task", &T::SPEC.name)
            .field("options", &self.options)
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
