//! A running task that another takes the place of.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::SystemTime;

use serde_json::Value as Json;
use serde_json::value::RawValue;

use crate::answer::answer_ok;
use crate::call::Prepared;
use crate::canvas::{Destination, Outgoing, Plan};
use crate::error::EncodeError;
use crate::header::Header;
use crate::options::Target;
use crate::spec::{DefaultQueue, Queue};
use crate::workflow::{Kind, Single, Workflow};

/// Where a running task puts the call that takes its place.
#[derive(Clone, Default)]
pub struct Replacement(Arc<Mutex<Option<Box<Single>>>>);

impl Replacement {
    /// Sets the call; the last one counts.
    ///
    /// # Errors
    ///
    /// [`EncodeError`] of the call, and for what is no single call.
    pub fn set<W: Workflow>(&self, call: W) -> Result<(), EncodeError> {
        match call.part().0 {
            Kind::One(single) => {
                *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(single);
                Ok(())
            }
            Kind::Wrong(wrong) => Err(EncodeError::Step(wrong.0)),
            _ => Err(EncodeError::NotOne),
        }
    }

    /// The call, as what is sent instead of the result of the task with this header: under its id, to its caller, with
    /// all that shall follow from it.
    ///
    /// # Errors
    ///
    /// [`EncodeError`] of the call.
    pub fn take(
        &self,
        header: &Header,
        plan: Option<&Plan>,
        now: SystemTime,
    ) -> Option<Result<Outgoing, EncodeError>> {
        let mut place = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        place
            .take()
            .map(|single| single.replacing(header, plan, now))
    }
}

impl Single {
    fn replacing(
        self,
        old: &Header,
        plan: Option<&Plan>,
        now: SystemTime,
    ) -> Result<Outgoing, EncodeError> {
        let Self {
            task,
            arguments,
            mut options,
            ..
        } = self;
        options.id = Some(old.id.clone());
        let destination = match &options.target {
            None => Destination::Default,
            Some(Target::Exchange {
                exchange,
                routing_key,
            }) => Destination::Exchange {
                name: exchange.clone(),
                key: Some(routing_key.clone()),
            },
            Some(queue) => Destination::Queue(queue.name().to_owned()),
        };
        let target = Target::Queue(DefaultQueue::SPEC);
        let answer = answer_ok::<Json>();
        let call =
            Prepared::<_, Json>::new(&task, arguments.clone(), options, target, answer, now)?;
        let mut header = call.message.header;
        header.reply_to.clone_from(&old.reply_to);
        header.correlation_id.clone_from(&old.correlation_id);
        header.root_id = Some(old.root().clone());
        // as Celery does
        header.parent_id = Some(old.id.clone());
        header.group.clone_from(&old.group);
        header.group_index = old.group_index;
        header.ignore_result = header.ignore_result.or(old.ignore_result);
        header.replaced_task_nesting = old.replaced_task_nesting.saturating_add(1);
        header.stamped_headers.clone_from(&old.stamped_headers);
        header.stamps.clone_from(&old.stamps);
        let embed = plan.map(Plan::embed).unwrap_or_default();
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let args = text(&arguments.args);
        let kwargs = format!("{{{}}}", text(&arguments.kwargs));
        Ok(Outgoing::new(header, destination, args, kwargs).embedding(
            inside(embed.callbacks),
            inside(embed.errbacks),
            inside(embed.chain),
        ))
    }
}

/// The inside of a list; empty if there is none.
fn inside(list: Option<&RawValue>) -> &str {
    let text = list.map_or("", RawValue::get).trim();
    let inner = text
        .strip_prefix('[')
        .and_then(|rest| rest.strip_suffix(']'));
    inner.unwrap_or(text)
}

impl fmt::Debug for Replacement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Replacement")
    }
}
