//! Events to bytes: one pass straight into the body, as thousands may be said in a second.

use serde::Serialize;

use super::call::Call;
use super::what::{Attempt, Revoked, Vitals, What};
use super::{Event, MULTI_KEY};
use crate::codec;
use crate::property::{Properties, Table};
use crate::topology::{self, Route};

/// The most events that travel together, as Celery's workers have it.
pub const MOST_IN_BATCH: usize = 24;

/// A batch of this size travels, however few events it has: tracebacks can be long.
const FULL: usize = 64 * 1024;

/// The properties of a message with events of `hostname`: transient, and with the sender's name as a header.
#[must_use]
pub fn properties(hostname: &str) -> Properties {
    Properties {
        content_type: Some(codec::JSON.into()),
        content_encoding: Some(codec::UTF_8.into()),
        persistent: false,
        priority: Some(0),
        headers: Table::new().with("hostname", hostname.to_owned()),
        ..Properties::default()
    }
}

impl Event<'_> {
    /// The body of a message with this event alone.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut body = Vec::with_capacity(512);
        self.append_to(&mut body);
        body
    }

    /// Where it is published to if it travels alone.
    #[must_use]
    pub fn route(&self) -> Route {
        topology::event_route(self.routing_key())
    }

    fn append_to(&self, out: &mut Vec<u8>) {
        let mut object = Object::open(out);
        object.put("hostname", &self.hostname);
        object.put("utcoffset", &self.utcoffset);
        object.put("pid", &self.pid);
        object.put("clock", &self.clock);
        self.what.put_into(&mut object);
        object.put("timestamp", &self.timestamp);
        object.put("type", self.what.kind());
        object.close();
    }
}

impl What<'_> {
    fn put_into(&self, object: &mut Object<'_>) {
        match self {
            Self::TaskSent(call) | Self::TaskReceived(call) => call.put_into(object),
            Self::TaskStarted { uuid } | Self::TaskCancelled { uuid } => object.put("uuid", uuid),
            Self::TaskSucceeded {
                uuid,
                result,
                runtime,
            } => {
                object.put("uuid", uuid);
                object.put("result", result);
                object.put("runtime", runtime);
            }
            Self::TaskFailed(attempt) | Self::TaskRetried(attempt) => attempt.put_into(object),
            Self::TaskRevoked(revoked) => revoked.put_into(object),
            Self::TaskRejected { uuid, requeue } => {
                object.put("uuid", uuid);
                object.put("requeue", requeue);
            }
            Self::WorkerOnline(vitals)
            | Self::WorkerHeartbeat(vitals)
            | Self::WorkerOffline(vitals) => vitals.put_into(object),
            Self::Other(other) => {
                for (name, value) in &other.fields {
                    object.put(name, value);
                }
            }
        }
    }
}

impl Call<'_> {
    fn put_into(&self, object: &mut Object<'_>) {
        object.put("uuid", &self.uuid);
        object.put("name", &self.name);
        object.put("args", &self.args);
        object.put("kwargs", &self.kwargs);
        object.put("root_id", &self.root_id);
        object.put("parent_id", &self.parent_id);
        object.put("retries", &self.retries);
        object.put("eta", &self.eta);
        object.put("expires", &self.expires);
        if let Some(sent_to) = &self.sent_to {
            object.put("queue", &sent_to.queue);
            object.put("exchange", &sent_to.exchange);
            object.put("routing_key", &sent_to.routing_key);
        }
    }
}

impl Attempt<'_> {
    fn put_into(&self, object: &mut Object<'_>) {
        object.put("uuid", &self.uuid);
        object.put("exception", &self.exception);
        object.put_if_some("traceback", self.traceback.as_ref());
    }
}

impl Revoked<'_> {
    fn put_into(&self, object: &mut Object<'_>) {
        object.put("uuid", &self.uuid);
        object.put("terminated", &self.terminated);
        object.put("signum", &self.signum);
        object.put("expired", &self.expired);
    }
}

impl Vitals<'_> {
    fn put_into(&self, object: &mut Object<'_>) {
        object.put("freq", &self.freq);
        object.put_if_some("active", self.active.as_ref());
        object.put_if_some("processed", self.processed.as_ref());
        object.put_if_some("loadavg", self.loadavg.as_ref());
        object.put("sw_ident", &self.sw_ident);
        object.put("sw_ver", &self.sw_ver);
        object.put("sw_sys", &self.sw_sys);
    }
}

/// A JSON object that is being written.
struct Object<'b> {
    out: &'b mut Vec<u8>,
    is_empty: bool,
}

impl<'b> Object<'b> {
    fn open(out: &'b mut Vec<u8>) -> Self {
        out.push(b'{');
        Self {
            out,
            is_empty: true,
        }
    }

    fn put<T: Serialize + ?Sized>(&mut self, name: &str, value: &T) {
        if !std::mem::take(&mut self.is_empty) {
            self.out.push(b',');
        }
        self.write(name);
        self.out.push(b':');
        self.write(value);
    }

    fn put_if_some<T: Serialize>(&mut self, name: &str, value: Option<&T>) {
        if let Some(value) = value {
            self.put(name, value);
        }
    }

    fn write<T: Serialize + ?Sized>(&mut self, value: &T) {
        serde_json::to_writer(&mut *self.out, value)
            .expect("texts and numbers always have a JSON form, and memory takes every byte");
    }

    fn close(self) {
        self.out.push(b'}');
    }
}

/// Events about tasks that travel together.
#[derive(Debug, Default)]
pub struct Batch {
    /// The list, without its end.
    body: Vec<u8>,
    events: usize,
}

impl Batch {
    /// Adds an event at the end.
    pub fn push(&mut self, event: &Event<'_>) {
        self.body.push(if self.is_empty() { b'[' } else { b',' });
        event.append_to(&mut self.body);
        self.events += 1;
    }

    /// The number of events.
    #[must_use]
    pub fn len(&self) -> usize {
        self.events
    }

    /// True without events.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.events == 0
    }

    /// True if it should travel now.
    #[must_use]
    pub fn is_full(&self) -> bool {
        self.events >= MOST_IN_BATCH || self.body.len() >= FULL
    }

    /// Where it is published to.
    #[must_use]
    pub fn route() -> Route {
        topology::event_route(MULTI_KEY)
    }

    /// The body of the message: a list of all events.
    #[must_use]
    pub fn into_body(mut self) -> Vec<u8> {
        if self.is_empty() {
            self.body.push(b'[');
        }
        self.body.push(b']');
        self.body
    }
}
