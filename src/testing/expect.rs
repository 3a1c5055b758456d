//! What a test expects to be enqueued.

use std::time::{Duration, SystemTime};

use coney_protocol::argument::Params;
use coney_protocol::id::TaskId;
use coney_protocol::spec::Queue;
use coney_protocol::task::Task;
use serde::Serialize;
use serde_json::Value as Json;

use super::app::TestApp;
use super::course::list;
use super::enqueued::{Enqueued, Wait};

/// How far a time may be from the expected one: the ladder keeps it to about a second.
const TOLERANCE: Duration = Duration::from_secs(2);

/// What a test expects to be enqueued: made by [`assert_enqueued!`](crate::testing::assert_enqueued), whose options are
/// its methods.
#[derive(Debug)]
#[must_use = "an expectation is checked by `met_by`"]
pub struct Expectation {
    task: &'static str,
    parameters: Vec<&'static str>,
    arguments: Vec<(&'static str, Json)>,
    queue: Option<String>,
    id: Option<TaskId>,
    attempt: Option<u32>,
    due: Option<Due>,
    count: Option<usize>,
}

#[derive(Clone, Copy, Debug)]
enum Due {
    At(SystemTime),
    After(Duration),
    Within(Duration),
}

impl Expectation {
    /// Any call of the task `T`.
    pub fn of<T: Task>() -> Self {
        Self {
            task: T::SPEC.name,
            parameters: T::PARAMS.names(),
            arguments: Vec::new(),
            queue: None,
            id: None,
            attempt: None,
            due: None,
            count: None,
        }
    }

    /// Whose argument `name` is this value; others may be anything.
    ///
    /// # Panics
    ///
    /// If the task has no such parameter, or the value no JSON form.
    #[track_caller]
    pub fn argument(mut self, name: &'static str, value: &(impl Serialize + ?Sized)) -> Self {
        let Self {
            task, parameters, ..
        } = &self;
        assert!(
            parameters.contains(&name),
            "task `{task}` has no parameter `{name}`: it has {parameters:?}; options such as `count` come behind a `;`"
        );
        match serde_json::to_value(value) {
            Ok(value) => self.arguments.push((name, value)),
            Err(error) => panic!("the value of `{name}` has no JSON form: {error}"),
        }
        self
    }

    /// That waits in, or goes to, the queue `Q`.
    pub fn queue<Q: Queue>(self) -> Self {
        self.queue_named(Q::SPEC.name)
    }

    /// That waits in, or goes to, the queue of this name.
    pub fn queue_named(mut self, name: impl Into<String>) -> Self {
        self.queue = Some(name.into());
        self
    }

    /// With this id.
    pub fn id(mut self, id: impl Into<TaskId>) -> Self {
        self.id = Some(id.into());
        self
    }

    /// That is this attempt, 1 for the first.
    pub fn attempt(mut self, attempt: u32) -> Self {
        self.attempt = Some(attempt);
        self
    }

    /// That is due at this time, to two seconds.
    pub fn at(mut self, time: SystemTime) -> Self {
        self.due = Some(Due::At(time));
        self
    }

    /// That is due so long from now, to two seconds.
    pub fn after(mut self, wait: Duration) -> Self {
        self.due = Some(Due::After(wait));
        self
    }

    /// That is due now or within this time.
    pub fn within(mut self, wait: Duration) -> Self {
        self.due = Some(Due::Within(wait));
        self
    }

    /// Exactly so many of them; at least one unless set.
    pub fn count(mut self, calls: usize) -> Self {
        self.count = Some(calls);
        self
    }

    /// The calls that are expected and enqueued.
    ///
    /// # Panics
    ///
    /// If there is none, or another number of them than [`count`](Self::count) says; says what is enqueued instead.
    #[track_caller]
    pub fn met_by(&self, app: &TestApp) -> Vec<Enqueued> {
        let found = self.found_in(app);
        let is_met = match self.count {
            Some(count) => found.len() == count,
            None => !found.is_empty(),
        };
        if is_met {
            return found;
        }
        let expected = match self.count {
            Some(1) => "one call is".to_owned(),
            Some(count) => format!("{count} calls are"),
            None => "a call is".to_owned(),
        };
        panic!(
            "{expected} expected to be enqueued that {self}, and there are {}\n{}",
            found.len(),
            enqueued(app)
        );
    }

    /// Checks that no such call is enqueued.
    ///
    /// # Panics
    ///
    /// If there is one.
    #[track_caller]
    pub fn refuted_by(&self, app: &TestApp) {
        let found = self.found_in(app);
        assert!(
            found.is_empty(),
            "no call is expected to be enqueued that {self}, and there are {}\n{}",
            found.len(),
            enqueued(app)
        );
    }

    fn found_in(&self, app: &TestApp) -> Vec<Enqueued> {
        let now = app.now();
        let mut calls = app.enqueued();
        calls.retain(|call| self.fits(call, now));
        calls
    }

    fn fits(&self, call: &Enqueued, now: SystemTime) -> bool {
        call.task == self.task
            && self.queue.as_ref().is_none_or(|queue| call.queue == *queue)
            && self.id.as_ref().is_none_or(|id| call.id == *id)
            && self.attempt.is_none_or(|attempt| call.attempt == attempt)
            && self.due.is_none_or(|due| due.fits(call.due(), now))
            && self.arguments.iter().all(|(name, expected)| {
                let found = call.argument(name, &self.parameters);
                alike(found.unwrap_or(&Json::Null), expected)
            })
    }
}

impl Due {
    fn fits(self, due: Option<SystemTime>, now: SystemTime) -> bool {
        let due = due.unwrap_or(now);
        let is_about = |time: SystemTime| {
            let apart = due
                .duration_since(time)
                .or_else(|_| time.duration_since(due));
            apart.is_ok_and(|apart| apart <= TOLERANCE)
        };
        match self {
            Self::At(time) => is_about(time),
            Self::After(wait) => is_about(now + wait),
            Self::Within(wait) => due <= now + wait,
        }
    }
}

/// Equal as JSON, where 7 and 7.0 are the same number.
fn alike(one: &Json, other: &Json) -> bool {
    match (one, other) {
        (Json::Number(one), Json::Number(other)) => one == other || one.as_f64() == other.as_f64(),
        (Json::Array(ones), Json::Array(others)) => {
            let mut pairs = ones.iter().zip(others);
            ones.len() == others.len() && pairs.all(|(one, other)| alike(one, other))
        }
        (Json::Object(ones), Json::Object(others)) => {
            let mut ones_members = ones.iter();
            ones.len() == others.len()
                && ones_members
                    .all(|(name, one)| others.get(name).is_some_and(|other| alike(one, other)))
        }
        _ => one == other,
    }
}

/// What is enqueued, for the message of an assertion.
fn enqueued(app: &TestApp) -> String {
    let calls = app.enqueued();
    match calls.len() {
        0 => "nothing is enqueued".to_owned(),
        _ => format!("enqueued:\n  {}", list(&calls, app.now(), "\n  ")),
    }
}

/// What is expected, as the end of "a call that".
impl std::fmt::Display for Expectation {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let arguments = self.arguments.iter();
        let arguments: Vec<_> = arguments
            .map(|(name, value)| format!("{name} = {value}"))
            .collect();
        let more = if arguments.len() < self.parameters.len() {
            ".."
        } else {
            ""
        };
        let between = if arguments.is_empty() || more.is_empty() {
            ""
        } else {
            ", "
        };
        write!(
            f,
            "is `{}({}{between}{more})`",
            self.task,
            arguments.join(", ")
        )?;
        if let Some(queue) = &self.queue {
            write!(f, ", in `{queue}`")?;
        }
        if let Some(id) = &self.id {
            write!(f, ", with the id {id}")?;
        }
        if let Some(attempt) = self.attempt {
            write!(f, ", attempt {attempt}")?;
        }
        match self.due {
            None => Ok(()),
            Some(Due::At(time)) => {
                write!(f, ", due at {}", coney_protocol::wire::time::format(time))
            }
            Some(Due::After(wait)) => write!(f, ", due in {}", Wait(wait)),
            Some(Due::Within(wait)) => write!(f, ", due within {}", Wait(wait)),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn numbers_are_compared_by_value_and_all_else_exactly() {
        assert!(alike(&json!({"a": [7, "x"]}), &json!({"a": [7.0, "x"]})));
        assert!(alike(&json!(u64::MAX), &json!(u64::MAX)));
        for (one, other) in [
            (json!(7), json!("7")),
            (json!([7]), json!([7, 7])),
            (json!({"a": 7}), json!({"b": 7})),
            (json!(null), json!(false)),
        ] {
            assert!(!alike(&one, &other), "{one} {other}");
        }
    }

    #[test]
    fn what_is_ready_is_due_now() {
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(1_000);
        let hour = Duration::from_secs(3600);
        assert!(Due::Within(hour).fits(None, now));
        assert!(Due::At(now).fits(None, now));
        assert!(!Due::After(hour).fits(None, now));
        assert!(Due::After(hour).fits(Some(now + hour), now));
        assert!(!Due::Within(hour / 2).fits(Some(now + hour), now));
    }
}
