//! Remote control as Celery 5.7 speaks it: requests to all workers, and what they reply.
//!
//! | module | holds |
//! |---|---|
//! | [`mailbox`] | exchanges and queues |
//! | [`request`], [`address`], [`arguments`] | what is asked, of whom, with what |
//! | [`consumer`] | queues to consume |
//! | [`answer`], [`task_info`], [`reply`] | what a worker says, and how it travels |
//! | [`stamp`] | stamps, by which tasks can be revoked |
//! | [`python`] | values as Python writes them |

pub mod address;
pub mod answer;
pub mod arguments;
pub mod consumer;
pub mod mailbox;
pub mod python;
pub mod reply;
pub mod request;
pub mod stamp;
pub mod task_info;

use crate::codec;
use crate::property::{Properties, Table, Value};

/// The properties of a message of remote control.
fn properties(persistent: bool, headers: Table) -> Properties {
    Properties {
        content_type: Some(codec::JSON.into()),
        content_encoding: Some(codec::UTF_8.into()),
        persistent,
        priority: Some(0),
        headers,
        ..Properties::default()
    }
}

/// The time of a logical clock as a header: short while it is small, as Celery writes it.
fn clock(time: u64) -> Value {
    match i32::try_from(time) {
        Ok(small) => Value::I32(small),
        Err(_) => Value::I64(i64::try_from(time).unwrap_or(i64::MAX)),
    }
}

/// What the `clock` header says; 0 if nothing.
#[must_use]
pub fn clock_of(headers: &Table) -> u64 {
    let time = headers.get("clock").and_then(Value::as_i64);
    time.and_then(|time| time.try_into().ok()).unwrap_or(0)
}
