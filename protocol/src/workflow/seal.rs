//! A workflow with everything fixed: ids, groups, and where results go.

use crate::answer::AnswerOk;
use crate::call::{Prepared, Sender};
use crate::error::EncodeError;
use crate::id::TaskId;
use crate::options::Target;
use crate::spec::{DefaultQueue, Queue};
use crate::workflow::{Kind, Part, Single, WorkflowSender};

/// A workflow that can be sent.
#[derive(Debug)]
#[non_exhaustive]
pub struct Sealed<O> {
    /// The messages that start it. Nobody waits for their own results.
    pub heads: Vec<Prepared<O, serde_json::Value>>,
    /// The tasks whose results are its own, in order.
    pub ends: Vec<End>,
    /// How each of these results is read.
    pub answer: AnswerOk<O>,
}

/// A task whose result is one of a workflow's.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct End {
    /// Its id.
    pub id: TaskId,
    /// Its wire name.
    pub task: String,
    /// False if its call says that nobody wants its result.
    pub is_wanted: bool,
}

impl<O> Sealed<O> {
    pub(crate) fn new<S: WorkflowSender>(
        part: Part,
        group: Option<TaskId>,
        answer: AnswerOk<O>,
        sender: &S,
    ) -> Result<Self, EncodeError> {
        let mut part = flat(part);
        let reply_to = sender.reply_queue();
        let mut ends = Vec::new();
        let group = group.map(|id| id.to_string());
        let fixer = Fixer {
            reply_to: reply_to.as_deref(),
            group: group.as_deref(),
        };
        fixer.fix(&mut part, None, &mut ends)?;
        // each member of a group starts by itself
        let members = match part.0 {
            Kind::Group(members) => members,
            _ => vec![part],
        };
        let now = Sender::now(sender);
        let heads = members.into_iter().map(|member| {
            let mut steps = match member.0 {
                Kind::Chain(steps) => steps.into_iter(),
                other => vec![Part(other)].into_iter(),
            };
            let Some(Part(Kind::One(first))) = steps.next() else {
                return Err(EncodeError::Empty);
            };
            let Single {
                task,
                arguments,
                mut options,
                home,
                ..
            } = *first;
            options.chain = steps.collect();
            let target = options.target.clone().or(home);
            let target = target.unwrap_or(Target::Queue(DefaultQueue::SPEC));
            let mut head = Prepared::new(&task, arguments, options, target, answer, now)?;
            head.is_awaited = false;
            Ok(head)
        });
        Ok(Self {
            heads: heads.collect::<Result<_, _>>()?,
            ends,
            answer,
        })
    }
}

/// Chains within chains become one, and groups of groups as well.
fn flat(part: Part) -> Part {
    Part(match part.0 {
        Kind::Chain(parts) => {
            let parts = parts.into_iter().flat_map(|part| match flat(part).0 {
                Kind::Chain(inner) => inner,
                other => vec![Part(other)],
            });
            Kind::Chain(parts.collect())
        }
        Kind::Group(parts) => Kind::Group(parts.into_iter().map(flat).collect()),
        other => other,
    })
}

/// Gives everything its id and its place.
struct Fixer<'a> {
    reply_to: Option<&'a str>,
    /// The id of the group that the workflow is or ends in, if the caller gives one.
    group: Option<&'a str>,
}

impl Fixer<'_> {
    /// Adds those tasks to `ends` that the part ends in.
    fn fix(
        &self,
        part: &mut Part,
        group: Option<(&str, i64)>,
        ends: &mut Vec<End>,
    ) -> Result<(), EncodeError> {
        match &mut part.0 {
            Kind::One(single) => {
                let options = &mut single.options;
                let id = options.id.get_or_insert_with(TaskId::generate).clone();
                options.reply_to = self.reply_to.map(ToOwned::to_owned);
                options.group = group.map(|(group, at)| (group.to_owned(), at));
                ends.push(End {
                    id,
                    task: single.task.clone(),
                    is_wanted: options.ignore_result != Some(true),
                });
            }
            Kind::Chain(parts) => {
                let (last, before) = parts.split_last_mut().ok_or(EncodeError::Empty)?;
                // only the last step is an end
                let mut passed = Vec::new();
                for step in before {
                    self.fix(step, None, &mut passed)?;
                }
                self.fix(last, group, ends)?;
            }
            Kind::Group(members) => {
                let id = self.group.map(ToOwned::to_owned);
                let id = id.unwrap_or_else(|| TaskId::generate().to_string());
                for (member, at) in members.iter_mut().zip(0..) {
                    self.fix(member, Some((&id, at)), ends)?;
                }
            }
            Kind::Wrong(wrong) => return Err(EncodeError::Step(std::sync::Arc::clone(&wrong.0))),
        }
        Ok(())
    }
}
