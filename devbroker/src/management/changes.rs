//! Requests that change something.

use std::sync::Arc;

use amq_protocol::protocol::queue::Declare;
use axum::body::Bytes;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode};
use serde::Deserialize;

use super::{Refusal, json, read};
use crate::access::{Permissions, TopicPermissions};
use crate::channel::NO_CONNECTION;
use crate::error::Objection;
use crate::exchange::Destination;
use crate::server::Broker;
use crate::vhost::{Host, Vhost};

type Of = State<Arc<Broker>>;
type Changed = Result<StatusCode, Refusal>;

/// What RabbitMQ tells a client whose connection is closed, unless another reason is given.
const CLOSED: &str = "Closed via management plugin";

fn put(is_new: bool) -> StatusCode {
    if is_new {
        StatusCode::CREATED
    } else {
        StatusCode::NO_CONTENT
    }
}

fn deleted(was_there: bool) -> Changed {
    if was_there {
        Ok(StatusCode::NO_CONTENT)
    } else {
        Err(Refusal::Missing)
    }
}

fn host(broker: &Broker, vhost: &str) -> Result<Arc<Host>, Refusal> {
    broker.host(vhost).ok_or(Refusal::Missing)
}

pub(super) async fn put_vhost(State(broker): Of, Path(vhost): Path<String>) -> StatusCode {
    put(broker.add_vhost(&vhost))
}

pub(super) async fn delete_vhost(State(broker): Of, Path(vhost): Path<String>) -> Changed {
    deleted(broker.remove_vhost(&vhost))
}

#[derive(Deserialize)]
struct NewUser {
    password: Option<String>,
    tags: Option<Tags>,
}

/// `"a,b"` or `["a", "b"]`.
#[derive(Deserialize)]
#[serde(untagged)]
enum Tags {
    Text(String),
    List(Vec<String>),
}

impl Tags {
    fn list(self) -> Vec<String> {
        let all = match self {
            Self::Text(text) => text.split(',').map(str::to_owned).collect(),
            Self::List(list) => list,
        };
        let trimmed = all.iter().map(|tag| tag.trim().to_owned());
        trimmed.filter(|tag| !tag.is_empty()).collect()
    }
}

pub(super) async fn put_user(State(broker): Of, Path(user): Path<String>, body: Bytes) -> Changed {
    let new: NewUser = read(&body)?;
    let Some(tags) = new.tags else {
        return Err(Refusal::Bad("tags_not_present".to_owned()));
    };
    let Some(password) = new.password else {
        let reason = "coney-devbroker needs the field `password`: it knows no hashes";
        return Err(Refusal::Bad(reason.to_owned()));
    };
    Ok(put(broker.put_user(&user, &password, tags.list())))
}

pub(super) async fn delete_user(State(broker): Of, Path(user): Path<String>) -> Changed {
    deleted(broker.remove_user(&user))
}

/// The virtual host, if both it and the user are there.
fn host_of_user(broker: &Broker, vhost: &str, user: &str) -> Result<Arc<Host>, Refusal> {
    let found = broker.host(vhost).filter(|_| broker.has_user(user));
    found.ok_or_else(|| Refusal::Bad("vhost_or_user_not_found".to_owned()))
}

#[derive(Deserialize)]
struct NewPermissions {
    configure: String,
    write: String,
    read: String,
}

pub(super) async fn put_permission(
    State(broker): Of,
    Path((vhost, user)): Path<(String, String)>,
    body: Bytes,
) -> Changed {
    let new: NewPermissions = read(&body)?;
    let permissions = Permissions {
        configure: new.configure,
        write: new.write,
        read: new.read,
    };
    let host = host_of_user(&broker, &vhost, &user)?;
    let set = host.with(|vhost| {
        let is_new = !vhost.access.admits(&user);
        vhost.access.set(&user, &permissions).map(|()| is_new)
    });
    set.map(put)
        .map_err(|error| Refusal::Bad(error.to_string()))
}

pub(super) async fn delete_permission(
    State(broker): Of,
    Path((vhost, user)): Path<(String, String)>,
) -> Changed {
    let host = host(&broker, &vhost)?;
    deleted(host.with(|vhost| vhost.access.remove(&user)))
}

#[derive(Deserialize)]
struct NewTopicPermissions {
    exchange: String,
    write: String,
    read: String,
}

pub(super) async fn put_topic_permission(
    State(broker): Of,
    Path((vhost, user)): Path<(String, String)>,
    body: Bytes,
) -> Changed {
    let new: NewTopicPermissions = read(&body)?;
    let permissions = TopicPermissions {
        write: new.write,
        read: new.read,
    };
    let host = host_of_user(&broker, &vhost, &user)?;
    let set = host.with(|vhost| {
        let access = &mut vhost.access;
        access.set_topics(&user, &new.exchange, &permissions)
    });
    set.map(put)
        .map_err(|error| Refusal::Bad(error.to_string()))
}

pub(super) async fn delete_exchange(
    State(broker): Of,
    Path((vhost, exchange)): Path<(String, String)>,
) -> Changed {
    let host = host(&broker, &vhost)?;
    let there = host.with(|vhost| {
        vhost.check_not_system(&exchange)?;
        let there = vhost.exchanges.contains_key(&*exchange);
        vhost.remove_exchange(&exchange);
        Ok::<_, Objection>(there)
    })?;
    deleted(there)
}

#[derive(Deserialize)]
struct NewQueue {
    #[serde(default = "yes")]
    durable: bool,
    #[serde(default)]
    auto_delete: bool,
    #[serde(default)]
    arguments: serde_json::Map<String, serde_json::Value>,
}

fn yes() -> bool {
    true
}

pub(super) async fn put_queue(
    State(broker): Of,
    Path((vhost, queue)): Path<(String, String)>,
    body: Bytes,
) -> Changed {
    let new: NewQueue = read(&body)?;
    let host = host(&broker, &vhost)?;
    let declare = Declare {
        queue: json::short(&queue)?,
        passive: false,
        durable: new.durable,
        exclusive: false,
        auto_delete: new.auto_delete,
        nowait: true,
        arguments: json::field_table(new.arguments)?,
    };
    let is_new = host.with(|vhost| vhost.declare_for_all(declare))?;
    Ok(put(is_new))
}

pub(super) async fn delete_queue(
    State(broker): Of,
    Path((vhost, queue)): Path<(String, String)>,
) -> Changed {
    with_queue(&broker, &vhost, &queue, |vhost, id| {
        vhost.remove_queue(id);
        Ok(())
    })
}

pub(super) async fn purge_queue(
    State(broker): Of,
    Path((vhost, queue)): Path<(String, String)>,
) -> Changed {
    with_queue(&broker, &vhost, &queue, |vhost, id| {
        vhost.purge(id).map(|_| ())
    })
}

fn with_queue(
    broker: &Broker,
    vhost: &str,
    queue: &str,
    act: impl FnOnce(&mut Vhost, crate::queue::QueueId) -> Result<(), Objection>,
) -> Changed {
    let host = host(broker, vhost)?;
    host.with(|vhost| {
        if !vhost.names.contains_key(queue) {
            return Err(Refusal::Missing);
        }
        let id = vhost.usable_queue(queue, NO_CONNECTION)?;
        act(vhost, id)?;
        Ok(StatusCode::NO_CONTENT)
    })
}

#[derive(Deserialize)]
struct NewBinding {
    #[serde(default)]
    routing_key: String,
    #[serde(default)]
    arguments: serde_json::Map<String, serde_json::Value>,
}

pub(super) async fn bind_queue(
    State(broker): Of,
    Path((vhost, source, queue)): Path<(String, String, String)>,
    body: Bytes,
) -> Changed {
    let new: NewBinding = read(&body)?;
    let arguments = json::field_table(new.arguments)?;
    let host = host(&broker, &vhost)?;
    host.with(|vhost| {
        let to = Destination::Queue(vhost.usable_queue(&queue, NO_CONNECTION)?);
        vhost.bind(&source, to, &new.routing_key, arguments)
    })?;
    Ok(StatusCode::CREATED)
}

pub(super) async fn close_connection(
    State(broker): Of,
    Path(name): Path<String>,
    headers: HeaderMap,
) -> Changed {
    let reason = headers.get("x-reason").and_then(|text| text.to_str().ok());
    let client = broker.clients().into_iter().find(|one| one.name == name);
    let client = client.ok_or(Refusal::Missing)?;
    client.force_close(reason.unwrap_or(CLOSED));
    Ok(StatusCode::NO_CONTENT)
}
