//! Workflows: calls that follow each other, run beside each other, or wait for what another comes to.
//!
//! A workflow travels as Celery has it: its first tasks are messages, and whatever follows is embedded in them as
//! signatures, whose ids the sender has fixed. Workers of coney and of Celery send each step when the one before it has
//! ended.
//!
//! ```
//! # use coney_protocol::call::DynamicCall;
//! # use coney_protocol::workflow::{chain, group};
//! # use serde_json::json;
//! let order = chain(DynamicCall::new("shop.charge", json!([42])))
//!     .then(DynamicCall::new("shop.ship", json!(["fast"])).step())
//!     .then(DynamicCall::new("shop.thank", json!([])));
//! let reports = group(["a", "b"].map(|shop| DynamicCall::new("shop.report", json!([shop]))));
//! # let _ = (order, reports);
//! ```
//!
//! Nothing can follow a group: that would be a chord, which needs somebody to count the results of its members.

mod replace;
mod seal;
mod signature;

use std::fmt;
use std::future::Future;
use std::marker::PhantomData;
use std::sync::Arc;

use serde_json::Value as Json;

use crate::answer::{AnswerOk, Output, answer_ok};
use crate::argument::Encoded;
use crate::call::{Call, DynamicCall, Sender};
use crate::error::EncodeError;
use crate::id::TaskId;
use crate::options::{CallOptions, Target};
use crate::task::Task;

pub use replace::Replacement;
pub use seal::{End, Sealed};
pub(crate) use signature::embed;

/// A part of a workflow, without its types.
#[derive(Clone, Debug, PartialEq)]
pub struct Part(pub(crate) Kind);

#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Kind {
    One(Box<Single>),
    Chain(Vec<Part>),
    Group(Vec<Part>),
    /// A call that cannot be encoded: told when the workflow is sent.
    Wrong(Wrong),
}

/// One call of a workflow.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Single {
    pub(crate) task: String,
    pub(crate) arguments: Encoded,
    pub(crate) options: CallOptions,
    /// Where it goes unless its options say otherwise; only its name is known of a task by name.
    pub(crate) home: Option<Target>,
    /// True if what it follows gives it its first argument.
    pub(crate) takes_result: bool,
}

/// Why a call cannot be encoded.
#[derive(Clone, Debug)]
pub(crate) struct Wrong(pub(crate) Arc<EncodeError>);

/// The same error, not one that is equal.
impl PartialEq for Wrong {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

impl Part {
    pub(crate) fn of(single: Result<Single, EncodeError>) -> Self {
        Self(match single {
            Ok(single) => Kind::One(Box::new(single)),
            Err(error) => Kind::Wrong(Wrong(Arc::new(error))),
        })
    }
}

/// What a workflow can start with: a call, or a chain.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a workflow",
    label = "neither a call nor a chain",
    note = "pass `task::call(..)`, a call by name, or `chain(..)`"
)]
pub trait Workflow {
    /// What it returns in the end.
    type Output: Send + 'static;

    /// The same without its types.
    #[doc(hidden)]
    fn part(self) -> Part;

    /// How its output travels.
    #[doc(hidden)]
    fn answer(&self) -> AnswerOk<Self::Output>;
}

/// What can follow something that returns an `In`.
///
/// A call follows anything, and ignores what it follows; a [`step`](DynamicCall::step) takes it as its first argument.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot follow a step that returns `{In}`",
    label = "takes another type than `{In}` as its first argument"
)]
pub trait Follows<In> {
    /// What it returns.
    type Output: Send + 'static;

    /// The same without its types.
    #[doc(hidden)]
    fn part(self) -> Part;

    /// How its output travels.
    #[doc(hidden)]
    fn answer(&self) -> AnswerOk<Self::Output>;
}

impl<T: Task> Workflow for Call<T> {
    type Output = T::Output;

    fn part(self) -> Part {
        Part::of(self.single())
    }

    fn answer(&self) -> AnswerOk<T::Output> {
        T::ANSWER.0
    }
}

impl<O: Output + Send + 'static> Workflow for DynamicCall<O> {
    type Output = O;

    fn part(self) -> Part {
        Part::of(self.single())
    }

    fn answer(&self) -> AnswerOk<O> {
        answer_ok()
    }
}

impl<O: Send + 'static> Workflow for Chain<O> {
    type Output = O;

    fn part(self) -> Part {
        Part(Kind::Chain(self.parts))
    }

    fn answer(&self) -> AnswerOk<O> {
        self.answer
    }
}

impl<In, W: Workflow> Follows<In> for W {
    type Output = W::Output;

    fn part(self) -> Part {
        Workflow::part(self)
    }

    fn answer(&self) -> AnswerOk<W::Output> {
        Workflow::answer(self)
    }
}

/// A call by name that takes what it follows as its first argument: made by [`DynamicCall::step`].
#[derive(Debug)]
#[must_use = "a step does nothing until its workflow is sent"]
pub struct DynamicStep<O = Json> {
    part: Part,
    output: PhantomData<fn() -> O>,
}

impl<O: Output> DynamicCall<O> {
    /// Makes a step of it, which gets the result of what it follows before its own arguments.
    pub fn step(self) -> DynamicStep<O> {
        let mut part = Part::of(self.single());
        if let Kind::One(single) = &mut part.0 {
            single.takes_result = true;
        }
        DynamicStep {
            part,
            output: PhantomData,
        }
    }
}

impl<In, O: Output + Send + 'static> Follows<In> for DynamicStep<O> {
    type Output = O;

    fn part(self) -> Part {
        self.part
    }

    fn answer(&self) -> AnswerOk<O> {
        answer_ok()
    }
}

/// Tasks that run one after the other; returns what the last one does.
#[must_use = "a chain does nothing until it is sent"]
pub struct Chain<O> {
    parts: Vec<Part>,
    answer: AnswerOk<O>,
}

/// Starts a chain.
pub fn chain<W: Workflow>(first: W) -> Chain<W::Output> {
    let answer = first.answer();
    Chain {
        parts: vec![first.part()],
        answer,
    }
}

impl<O: Send + 'static> Chain<O> {
    /// Adds a step that runs when all before it have succeeded. If one fails, all later ones fail with it.
    pub fn then<F: Follows<O>>(mut self, step: F) -> Chain<F::Output> {
        let answer = step.answer();
        self.parts.push(step.part());
        Chain {
            parts: self.parts,
            answer,
        }
    }

    /// Ends the chain in steps that run beside each other, each with the result of the step before.
    pub fn then_each<F: Follows<O>>(
        mut self,
        steps: impl IntoIterator<Item = F>,
    ) -> Group<F::Output> {
        let (members, answer) = parts(steps);
        self.parts.push(Part(Kind::Group(members)));
        Group {
            part: Part(Kind::Chain(self.parts)),
            id: None,
            answer,
        }
    }

    /// Sends the chain and returns a handle to the result of its last step.
    ///
    /// # Errors
    ///
    /// Those of the sender, and [`EncodeError`] of any step.
    ///
    /// # Delivery
    ///
    /// `Ok` means that the broker has the first step, which carries the others. A worker sends each step, confirmed,
    /// before it acknowledges the one before.
    ///
    /// # Cancel safety
    ///
    /// When the future is dropped, the chain may or may not have been sent.
    pub fn send<S: WorkflowSender>(
        self,
        sender: &S,
    ) -> impl Future<Output = Result<S::Handle<O, Json>, S::Error>> + Send + use<'_, S, O> {
        let sealed = Sealed::new(Part(Kind::Chain(self.parts)), None, self.answer, sender);
        async move {
            let mut handles = sender.deliver_workflow(sealed?).await?;
            handles.pop().ok_or_else(|| EncodeError::Empty.into())
        }
    }
}

/// Tasks that run beside each other.
#[must_use = "a group does nothing until it is sent"]
pub struct Group<O> {
    part: Part,
    id: Option<TaskId>,
    answer: Option<AnswerOk<O>>,
}

/// Makes a group of calls or chains.
pub fn group<W: Workflow>(members: impl IntoIterator<Item = W>) -> Group<W::Output> {
    let (members, answer) = parts::<W, ()>(members);
    Group {
        part: Part(Kind::Group(members)),
        id: None,
        answer,
    }
}

fn parts<F: Follows<In>, In>(
    members: impl IntoIterator<Item = F>,
) -> (Vec<Part>, Option<AnswerOk<F::Output>>) {
    let mut answer = None;
    let parts = members.into_iter().map(|member| {
        answer = Some(member.answer());
        member.part()
    });
    (parts.collect(), answer)
}

impl<O: Send + 'static> Group<O> {
    /// Sets the id of the group, by which Celery's clients and monitors know it.
    pub fn id(mut self, id: impl Into<TaskId>) -> Self {
        self.id = Some(id.into());
        self
    }

    /// Sends the group and returns a handle to each member's result, in their order.
    ///
    /// # Errors
    ///
    /// Those of the sender, and [`EncodeError`] of any member. Some members may have been sent then.
    ///
    /// # Delivery
    ///
    /// `Ok` means that the broker has all members, or the chain that leads to them.
    ///
    /// # Cancel safety
    ///
    /// When the future is dropped, an unknown number of members has been sent.
    pub fn send<S: WorkflowSender>(
        self,
        sender: &S,
    ) -> impl Future<Output = Result<Vec<S::Handle<O, Json>>, S::Error>> + Send + use<'_, S, O>
    {
        let Self { part, id, answer } = self;
        let sealed = answer.map(|answer| Sealed::new(part, id, answer, sender));
        async move {
            match sealed {
                Some(sealed) => sender.deliver_workflow(sealed?).await,
                // nothing to send
                None => Ok(Vec::new()),
            }
        }
    }
}

/// Something that can send workflows: a client.
pub trait WorkflowSender: Sender {
    /// The queue that results go to.
    fn reply_queue(&self) -> Option<String>;

    /// Sends the first tasks of a workflow; a handle for each of its ends.
    fn deliver_workflow<O: Send + 'static>(
        &self,
        workflow: Sealed<O>,
    ) -> impl Future<Output = Result<Vec<Self::Handle<O, Json>>, Self::Error>> + Send;
}

impl<O> fmt::Debug for Chain<O> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(&self.parts).finish()
    }
}

impl<O> fmt::Debug for Group<O> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.part.fmt(f)
    }
}
