//! Awaiting one result, or watching how far its task is.

use std::fmt;
use std::future::{Future, IntoFuture};
use std::marker::PhantomData;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use coney_protocol::answer::AnswerOk;
use coney_protocol::codec::typed;
use coney_protocol::id::TaskId;
use coney_protocol::reply::{Reply, Status};
use futures_util::Stream;
use serde_json::value::RawValue;
use tokio::sync::mpsc;

use crate::client::WayBack;
use crate::error::{ResultError, ResultErrorKind, TaskFailed};
use crate::replies::Ticket;
use crate::revoke::RevokeError;

/// A call that was sent: its id, and the way to its result.
///
/// Dropping it forgets the result, not the task. It takes a few hundred bytes of the client until then.
pub struct TaskHandle<T, E> {
    task: Arc<str>,
    id: TaskId,
    ticket: Option<Ticket>,
    answer: AnswerOk<T>,
    client: WayBack,
    error: PhantomData<fn() -> E>,
}

impl<T, E> TaskHandle<T, E> {
    pub(crate) fn new(
        task: Arc<str>,
        id: TaskId,
        ticket: Option<Ticket>,
        answer: AnswerOk<T>,
        client: WayBack,
    ) -> Self {
        Self {
            task,
            id,
            ticket,
            answer,
            client,
            error: PhantomData,
        }
    }

    /// The task's id.
    #[must_use]
    pub fn id(&self) -> &TaskId {
        &self.id
    }

    /// The result: await it, with a limit if you like.
    ///
    /// Without a limit it waits as long as the task takes, and for ever if no worker ever runs it or the reply queue is
    /// deleted meanwhile. The client, or a clone of it, has to live as long: results come through it.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe: the result is kept in the handle until it is dropped, and can be asked for again.
    pub fn result(&self) -> ResultOf<'_, T, E> {
        ResultOf {
            handle: self,
            timeout: None,
        }
    }

    /// Cancels the task; see [`Client::revoke`](crate::Client::revoke).
    ///
    /// [`result`](Self::result) then says [`Cancelled`](ResultErrorKind::Cancelled) when a worker has come upon the
    /// task; or what the task came to, if that was sooner.
    ///
    /// # Errors
    ///
    /// [`RevokeError`], also when the client and all its clones are gone.
    ///
    /// # Delivery
    ///
    /// `Ok` means that the broker has stored the revocation.
    ///
    /// # Cancel safety
    ///
    /// When the future is dropped, the task may or may not be cancelled. Cancelling it again is harmless.
    pub async fn cancel(&self) -> Result<(), RevokeError> {
        self.client.revoke(self.id.clone()).await
    }

    /// The intermediate states that the task tells from now on, and the last one before; ends with the task.
    #[must_use]
    pub fn progress(&self) -> Progress {
        let states = self.ticket.as_ref().map(Ticket::watch);
        Progress { states }
    }

    fn read(&self, reply: &Reply) -> Result<T, ResultError<E>> {
        match reply.status {
            Status::Success => (self.answer.decode)(&reply.result)
                .map_err(|error| self.fail(ResultErrorKind::Undecodable(error))),
            _ => Err(ResultError::of_reply(&self.task, reply)),
        }
    }

    fn fail(&self, kind: ResultErrorKind) -> ResultError<E> {
        ResultError::new(&self.task, &self.id, kind)
    }
}

impl<T, E> fmt::Debug for TaskHandle<T, E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "TaskHandle({} {})", self.task, self.id)
    }
}

/// A result to await.
#[must_use = "nothing happens until it is awaited"]
pub struct ResultOf<'a, T, E> {
    handle: &'a TaskHandle<T, E>,
    timeout: Option<Duration>,
}

impl<'a, T: Send + 'static, E: 'static> ResultOf<'a, T, E> {
    /// Waits no longer than this.
    pub fn timeout(mut self, limit: Duration) -> Self {
        self.timeout = Some(limit);
        self
    }

    async fn wait(self) -> Result<T, ResultError<E>> {
        let Self { handle, timeout } = self;
        let Some(ticket) = &handle.ticket else {
            return Err(handle.fail(ResultErrorKind::Ignored));
        };
        let reply = match timeout {
            Some(after) => tokio::time::timeout(after, ticket.done())
                .await
                .map_err(|_| handle.fail(ResultErrorKind::Timeout { after }))?,
            None => ticket.done().await,
        };
        match reply {
            Some(reply) => handle.read(&reply),
            None => Err(handle.fail(ResultErrorKind::Closed)),
        }
    }
}

impl<'a, T: Send + 'static, E: 'static> IntoFuture for ResultOf<'a, T, E> {
    type Output = Result<T, ResultError<E>>;
    type IntoFuture = Pin<Box<dyn Future<Output = Self::Output> + Send + 'a>>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(self.wait())
    }
}

impl<T, E> fmt::Debug for ResultOf<'_, T, E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ResultOf({:?})", self.handle)
    }
}

/// The intermediate states of a task: a stream that ends with the task.
///
/// A reader that falls more than [`PROGRESS_BUFFER`](crate::replies::PROGRESS_BUFFER) states behind misses some.
#[derive(Debug)]
pub struct Progress {
    states: Option<mpsc::Receiver<Arc<Reply>>>,
}

impl Progress {
    /// The next state: its name (such as `PROGRESS`) and its value; `None` once the task has ended.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe: no state is lost.
    pub async fn next(&mut self) -> Option<State> {
        let reply = self.states.as_mut()?.recv().await?;
        Some(State { reply })
    }
}

impl Stream for Progress {
    type Item = State;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<State>> {
        match &mut self.states {
            Some(states) => states
                .poll_recv(cx)
                .map(|reply| reply.map(|reply| State { reply })),
            None => Poll::Ready(None),
        }
    }
}

/// An intermediate state of a task.
#[derive(Clone, Debug)]
pub struct State {
    reply: Arc<Reply>,
}

impl State {
    /// Its name, such as `PROGRESS`, `RETRY` or `STARTED`.
    #[must_use]
    pub fn name(&self) -> &str {
        self.reply.status.as_str()
    }

    /// Its value as JSON text.
    #[must_use]
    pub fn json(&self) -> &RawValue {
        &self.reply.result
    }

    /// Its value.
    ///
    /// # Errors
    ///
    /// When the JSON is no `T`.
    pub fn value<T: serde::de::DeserializeOwned>(&self) -> Result<T, serde_json::Error> {
        typed::from_raw(&self.reply.result)
    }

    /// Why the attempt failed that is repeated, if this is `RETRY`.
    #[must_use]
    pub fn failure(&self) -> Option<TaskFailed> {
        match self.reply.status {
            Status::Retry => self.reply.report().map(Into::into),
            _ => None,
        }
    }
}
