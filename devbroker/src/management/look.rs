//! Requests that only look.

use std::sync::Arc;

use axum::extract::{Path, RawQuery, State};
use axum::{Extension, Json};
use serde_json::Value;

use super::{Asking, Refusal, json};
use crate::server::Broker;
use crate::snapshot::{ConnectionView, Snapshot, VhostView};

type Of = State<Arc<Broker>>;
type List = Json<Vec<Value>>;
type Shown<T = Value> = Result<Json<T>, Refusal>;

pub(super) async fn overview(State(broker): Of) -> Json<Value> {
    Json(json::overview(&broker.snapshot()))
}

pub(super) async fn whoami(of: Of, Extension(asking): Extension<Asking>) -> Shown {
    user(of, Path(asking.0)).await
}

pub(super) async fn vhosts(State(broker): Of) -> List {
    Json(broker.snapshot().vhosts.iter().map(json::vhost).collect())
}

pub(super) async fn vhost(State(broker): Of, Path(vhost): Path<String>) -> Shown {
    let all = broker.snapshot();
    Ok(Json(json::vhost(find(&all, &vhost)?)))
}

pub(super) async fn vhost_connections(
    State(broker): Of,
    Path(vhost): Path<String>,
) -> Shown<Vec<Value>> {
    let all = broker.snapshot();
    find(&all, &vhost)?;
    let own = all.connections.iter().filter(|one| one.vhost == vhost);
    Ok(Json(own.map(json::connection).collect()))
}

pub(super) async fn users(State(broker): Of) -> List {
    Json(broker.snapshot().users.iter().map(json::user).collect())
}

pub(super) async fn user(State(broker): Of, Path(user): Path<String>) -> Shown {
    let users = broker.snapshot().users;
    let found = users.iter().find(|one| one.name == user);
    Ok(Json(json::user(found.ok_or(Refusal::Missing)?)))
}

pub(super) async fn permissions(State(broker): Of) -> List {
    let all = broker.snapshot();
    Json(all.vhosts.iter().flat_map(permissions_of).collect())
}

pub(super) async fn vhost_permissions(
    State(broker): Of,
    Path(vhost): Path<String>,
) -> Shown<Vec<Value>> {
    let all = broker.snapshot();
    Ok(Json(permissions_of(find(&all, &vhost)?)))
}

fn permissions_of(vhost: &VhostView) -> Vec<Value> {
    let all = vhost.permissions.iter();
    all.map(|(user, may)| json::permission(&vhost.name, user, may))
        .collect()
}

pub(super) async fn permission(
    State(broker): Of,
    Path((vhost, user)): Path<(String, String)>,
) -> Shown {
    let all = broker.snapshot();
    let mut there = find(&all, &vhost)?.permissions.iter();
    let found = there.find(|(who, _)| *who == user);
    let (_, may) = found.ok_or(Refusal::Missing)?;
    Ok(Json(json::permission(&vhost, &user, may)))
}

pub(super) async fn exchanges(State(broker): Of) -> List {
    let all = broker.snapshot();
    Json(all.vhosts.iter().flat_map(exchanges_of).collect())
}

pub(super) async fn vhost_exchanges(
    State(broker): Of,
    Path(vhost): Path<String>,
) -> Shown<Vec<Value>> {
    let all = broker.snapshot();
    Ok(Json(exchanges_of(find(&all, &vhost)?)))
}

fn exchanges_of(vhost: &VhostView) -> Vec<Value> {
    let all = vhost.exchanges.iter();
    all.map(|one| json::exchange(&vhost.name, one)).collect()
}

pub(super) async fn exchange(
    State(broker): Of,
    Path((vhost, exchange)): Path<(String, String)>,
) -> Shown {
    let all = broker.snapshot();
    let mut there = find(&all, &vhost)?.exchanges.iter();
    let found = there.find(|one| one.name == exchange);
    let found = found.ok_or(Refusal::Missing)?;
    Ok(Json(json::exchange(&vhost, found)))
}

pub(super) async fn queues(State(broker): Of, RawQuery(query): RawQuery) -> List {
    let all = broker.snapshot();
    let queues = all.vhosts.iter().flat_map(queues_of).collect();
    Json(columns(query.as_deref(), queues))
}

pub(super) async fn vhost_queues(
    State(broker): Of,
    Path(vhost): Path<String>,
    RawQuery(query): RawQuery,
) -> Shown<Vec<Value>> {
    let all = broker.snapshot();
    let queues = queues_of(find(&all, &vhost)?);
    Ok(Json(columns(query.as_deref(), queues)))
}

fn queues_of(vhost: &VhostView) -> Vec<Value> {
    let all = vhost.queues.iter();
    all.map(|one| json::queue(&vhost.name, one)).collect()
}

/// Only the fields that `columns=a,b` names, if it is there.
fn columns(query: Option<&str>, mut rows: Vec<Value>) -> Vec<Value> {
    let mut parts = query.unwrap_or_default().split('&');
    if let Some(named) = parts.find_map(|part| part.strip_prefix("columns=")) {
        let named: Vec<_> = named.split(',').collect();
        let rows = rows.iter_mut().filter_map(Value::as_object_mut);
        rows.for_each(|row| row.retain(|field, _| named.contains(&field.as_str())));
    }
    rows
}

pub(super) async fn queue(
    State(broker): Of,
    Path((vhost, queue)): Path<(String, String)>,
) -> Shown {
    let all = broker.snapshot();
    let found = all.queue(&vhost, &queue).ok_or(Refusal::Missing)?;
    let mut shown = json::queue(&vhost, found);
    let consumers = consumers_of(&all, find(&all, &vhost)?);
    let own = consumers
        .into_iter()
        .filter(|one| one["queue"]["name"] == queue);
    shown["consumer_details"] = own.collect();
    Ok(Json(shown))
}

pub(super) async fn bindings(State(broker): Of) -> List {
    let all = broker.snapshot();
    Json(all.vhosts.iter().flat_map(json::bindings).collect())
}

pub(super) async fn vhost_bindings(
    State(broker): Of,
    Path(vhost): Path<String>,
) -> Shown<Vec<Value>> {
    let all = broker.snapshot();
    Ok(Json(json::bindings(find(&all, &vhost)?)))
}

pub(super) async fn connections(State(broker): Of) -> List {
    let all = broker.snapshot().connections;
    Json(all.iter().map(json::connection).collect())
}

pub(super) async fn connection(State(broker): Of, Path(name): Path<String>) -> Shown {
    let all = broker.snapshot().connections;
    let found = all.iter().find(|one| one.name == name);
    Ok(Json(json::connection(found.ok_or(Refusal::Missing)?)))
}

pub(super) async fn channels(State(broker): Of) -> List {
    let all = broker.snapshot().connections;
    let of = |connection: &ConnectionView| {
        let own = connection.channels.iter();
        own.map(|one| json::channel(connection, one))
            .collect::<Vec<_>>()
    };
    Json(all.iter().flat_map(of).collect())
}

pub(super) async fn consumers(State(broker): Of) -> List {
    let all = broker.snapshot();
    let vhosts = all.vhosts.iter();
    Json(vhosts.flat_map(|vhost| consumers_of(&all, vhost)).collect())
}

pub(super) async fn vhost_consumers(
    State(broker): Of,
    Path(vhost): Path<String>,
) -> Shown<Vec<Value>> {
    let all = broker.snapshot();
    Ok(Json(consumers_of(&all, find(&all, &vhost)?)))
}

/// Consumers whose connection is just going are left out.
fn consumers_of(all: &Snapshot, vhost: &VhostView) -> Vec<Value> {
    let mut shown = Vec::new();
    for queue in &vhost.queues {
        for consumer in &queue.consumers {
            let mut connections = all.connections.iter();
            if let Some(own) = connections.find(|one| one.id == consumer.connection) {
                shown.push(json::consumer(&vhost.name, queue, own, consumer));
            }
        }
    }
    shown
}

fn find<'a>(all: &'a Snapshot, vhost: &str) -> Result<&'a VhostView, Refusal> {
    let found = all.vhosts.iter().find(|one| one.name == vhost);
    found.ok_or(Refusal::Missing)
}
