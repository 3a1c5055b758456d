//! Who was sent because of a task, as its result tells it.

use serde::de::{Deserialize, Deserializer, Error};
use serde::ser::{Serialize, SerializeTuple, Serializer};

use crate::id::TaskId;

/// A task or group that was sent by a task or because of it: what Celery's results list as `children`.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Child {
    /// Id of the task, or of the group.
    pub id: TaskId,
    /// The steps before it, the nearest first, where it is the end of a chain.
    pub before: Vec<TaskId>,
    /// The members, if it is a group.
    pub members: Option<Vec<Self>>,
}

/// Further steps before the end of a chain are not told: each is one level of nesting for whoever reads it.
const MOST_BEFORE: usize = 32;

impl Child {
    /// A single task.
    #[must_use]
    pub const fn task(id: TaskId) -> Self {
        Self {
            id,
            before: Vec::new(),
            members: None,
        }
    }

    /// A group and its members.
    #[must_use]
    pub const fn group(id: TaskId, members: Vec<Self>) -> Self {
        Self {
            id,
            before: Vec::new(),
            members: Some(members),
        }
    }

    /// Says which steps of its chain come before it, the nearest first.
    #[must_use]
    pub fn after(mut self, steps: impl IntoIterator<Item = TaskId>) -> Self {
        self.before = steps.into_iter().take(MOST_BEFORE).collect();
        self
    }
}

/// `[[id, before], members]`, where `before` is such a thing itself.
struct Node<'a> {
    id: &'a TaskId,
    before: &'a [TaskId],
    members: Option<&'a [Child]>,
}

impl Serialize for Node<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let before = self.before.split_first().map(|(id, before)| Node {
            id,
            before,
            members: None,
        });
        let mut tuple = serializer.serialize_tuple(2)?;
        tuple.serialize_element(&(self.id, before))?;
        tuple.serialize_element(&self.members)?;
        tuple.end()
    }
}

impl Serialize for Child {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let node = Node {
            id: &self.id,
            before: &self.before,
            members: self.members.as_deref(),
        };
        node.serialize(serializer)
    }
}

/// As it is read: `((id, before), members)`.
#[derive(serde::Deserialize)]
struct Read((TaskId, Option<Box<Read>>), Option<Vec<Child>>);

impl<'de> Deserialize<'de> for Child {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let Read((id, mut next), members) = Read::deserialize(deserializer)?;
        let mut before = Vec::new();
        while let Some(step) = next {
            let Read((id, further), _) = *step;
            before.push(id);
            next = further;
        }
        if before.len() > MOST_BEFORE * 2 {
            return Err(D::Error::custom("too many steps before a task"));
        }
        Ok(Self {
            id,
            before,
            members,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn children_have_the_form_of_celery_s_result_tuples() {
        let chain = Child::task("c".into()).after(["b".into(), "a".into()]);
        let group = Child::group("g".into(), vec![chain, Child::task("m".into())]);
        let text = serde_json::to_string(&[Child::task("t".into()), group.clone()]);
        let text = text.expect("texts have a JSON form");
        assert_eq!(
            text,
            r#"[[["t",null],null],[["g",null],[[["c",[["b",[["a",null],null]],null]],null],[["m",null],null]]]]"#
        );
        let read: Vec<Child> = serde_json::from_str(&text).expect("own children are readable");
        assert_eq!(read[1], group);
    }
}
