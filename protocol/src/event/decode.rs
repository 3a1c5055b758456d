//! Bytes to events. Whatever is missing and can be missed is taken as none; what is no event fails alone.

use std::borrow::Cow;

use serde::de::DeserializeOwned;
use serde_json::{Map, Value as Json};

use super::Event;
use super::call::{Call, SentTo};
use super::what::{Attempt, Other, Revoked, Vitals, What};

/// Why something is no event.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum EventError {
    /// The body is not JSON.
    #[error("not a JSON body")]
    Json(#[source] serde_json::Error),
    /// It is neither an object nor a list of objects.
    #[error("an event is a JSON object")]
    NotAnObject,
    /// Something that every event of the type has is not there.
    #[error("the event has no `{name}`")]
    Missing {
        /// The name of the member.
        name: &'static str,
    },
    /// A member has another type than it should.
    #[error("the member `{name}` of the event has another type than it should")]
    Member {
        /// The name of the member.
        name: &'static str,
        /// What is wrong with it.
        #[source]
        source: serde_json::Error,
    },
}

/// Reads the body of a message: one event, or a list of them. Each that is malformed is an error of its own.
#[must_use]
pub fn decode(body: &[u8]) -> Vec<Result<Event<'static>, EventError>> {
    match serde_json::from_slice(body) {
        Ok(Json::Array(events)) => events.into_iter().map(one).collect(),
        Ok(event) => vec![one(event)],
        Err(error) => vec![Err(EventError::Json(error))],
    }
}

fn one(event: Json) -> Result<Event<'static>, EventError> {
    let Json::Object(members) = event else {
        return Err(EventError::NotAnObject);
    };
    let mut members = Members(members);
    let kind: String = members.need("type")?;
    Ok(Event {
        hostname: members.need("hostname")?,
        pid: members.take("pid")?,
        clock: members.take("clock")?.unwrap_or_default(),
        timestamp: members.take("timestamp")?.unwrap_or_default(),
        utcoffset: members.take("utcoffset")?.unwrap_or_default(),
        what: members.what(kind)?,
    })
}

type Text = Cow<'static, str>;

/// What is left of an event to be read.
struct Members(Map<String, Json>);

impl Members {
    /// A member that may be absent or null.
    fn take<T: DeserializeOwned>(&mut self, name: &'static str) -> Result<Option<T>, EventError> {
        match self.0.remove(name) {
            None | Some(Json::Null) => Ok(None),
            Some(value) => serde_json::from_value(value)
                .map(Some)
                .map_err(|source| EventError::Member { name, source }),
        }
    }

    fn need<T: DeserializeOwned>(&mut self, name: &'static str) -> Result<T, EventError> {
        self.take(name)?.ok_or(EventError::Missing { name })
    }

    fn text(&mut self, name: &'static str) -> Result<Text, EventError> {
        Ok(self.take(name)?.unwrap_or_default())
    }

    fn what(mut self, kind: String) -> Result<What<'static>, EventError> {
        Ok(match &*kind {
            "task-sent" => What::TaskSent(self.call()?),
            "task-received" => What::TaskReceived(self.call()?),
            "task-started" => What::TaskStarted {
                uuid: self.need("uuid")?,
            },
            "task-succeeded" => What::TaskSucceeded {
                uuid: self.need("uuid")?,
                result: self.text("result")?,
                runtime: self.take("runtime")?.unwrap_or_default(),
            },
            "task-failed" => What::TaskFailed(self.attempt()?),
            "task-retried" => What::TaskRetried(self.attempt()?),
            "task-revoked" => What::TaskRevoked(Revoked {
                uuid: self.need("uuid")?,
                terminated: self.take("terminated")?.unwrap_or_default(),
                signum: self.take("signum")?,
                expired: self.take("expired")?.unwrap_or_default(),
            }),
            "task-rejected" => What::TaskRejected {
                uuid: self.need("uuid")?,
                requeue: self.take("requeue")?.unwrap_or_default(),
            },
            "task-cancelled" => What::TaskCancelled {
                uuid: self.need("uuid")?,
            },
            "worker-online" => What::WorkerOnline(self.vitals()?),
            "worker-heartbeat" => What::WorkerHeartbeat(self.vitals()?),
            "worker-offline" => What::WorkerOffline(self.vitals()?),
            _ => What::Other(Other {
                kind,
                fields: self.0,
            }),
        })
    }

    fn call(&mut self) -> Result<Call<'static>, EventError> {
        Ok(Call {
            uuid: self.need("uuid")?,
            name: self.text("name")?,
            args: self.text("args")?,
            kwargs: self.text("kwargs")?,
            root_id: self.take("root_id")?,
            parent_id: self.take("parent_id")?,
            retries: self.take("retries")?.unwrap_or_default(),
            eta: self.take("eta")?,
            expires: self.take("expires")?,
            sent_to: self.sent_to()?,
        })
    }

    fn sent_to(&mut self) -> Result<Option<SentTo<'static>>, EventError> {
        let Some(routing_key) = self.take::<Text>("routing_key")? else {
            return Ok(None);
        };
        let queue = self.text("queue")?;
        Ok(Some(SentTo::new(
            queue,
            self.text("exchange")?,
            routing_key,
        )))
    }

    fn attempt(&mut self) -> Result<Attempt<'static>, EventError> {
        Ok(Attempt {
            uuid: self.need("uuid")?,
            exception: self.text("exception")?,
            traceback: self.take("traceback")?,
        })
    }

    fn vitals(&mut self) -> Result<Vitals<'static>, EventError> {
        Ok(Vitals {
            freq: self.take("freq")?.unwrap_or_default(),
            active: self.take("active")?,
            processed: self.take("processed")?,
            loadavg: self.take("loadavg")?,
            sw_ident: self.text("sw_ident")?,
            sw_ver: self.text("sw_ver")?,
            sw_sys: self.text("sw_sys")?,
        })
    }
}
