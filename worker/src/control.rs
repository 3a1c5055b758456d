//! Remote control as Celery's tools use it: the worker answers requests while it runs, and also while all its slots are
//! busy or the broker takes no messages.
//!
//! | module | commands |
//! |---|---|
//! | [`mailbox`] | none: receives requests, sends replies |
//! | [`inspect`] | tasks, queues and revocations that the worker has |
//! | [`report`] | what it says of itself: `stats`, `conf`, `report`, `memsample` |
//! | [`revoke`] | `revoke`, `terminate`, `revoke_by_stamped_headers`, `hello` |
//! | [`tune`] | limits, slots and queues |
//! | [`monitor`] | events, `ping`, `clock`, `shutdown`, `election` |

mod inspect;
mod mailbox;
mod monitor;
mod process;
mod report;
mod revoke;
mod tune;

use std::sync::Arc;

use coney_protocol::context::BoxFuture;
use coney_protocol::control::answer::Word;
use coney_protocol::control::arguments::{Arguments, CommandError};
use serde::Serialize;
use serde_json::Value as Json;
use serde_json::value::{RawValue, to_raw_value};

use crate::node::Node;

pub(crate) use self::mailbox::Mailbox;

/// What a command says.
type Said = Result<Box<RawValue>, CommandError>;

/// What a command comes to.
enum Answer {
    /// It has something to say.
    Now(Said),
    /// It will have when this is done; others are answered meanwhile.
    Later(BoxFuture<'static, Said>),
    /// It says nothing.
    Never,
}

/// A command: its names, the arguments that it has to have, and what carries it out.
struct Command {
    names: &'static [&'static str],
    required: &'static [&'static str],
    run: fn(&Arc<Node>, &Arguments) -> Answer,
}

const fn command(
    names: &'static [&'static str],
    required: &'static [&'static str],
    run: fn(&Arc<Node>, &Arguments) -> Answer,
) -> Command {
    Command {
        names,
        required,
        run,
    }
}

/// All commands. The first name of each is the one that Celery's texts mention.
const COMMANDS: &[Command] = &[
    command(&["active", "dump_active"], &[], |node, arguments| {
        inspect::active(node, arguments).into()
    }),
    command(&["active_queues"], &[], |node, _| {
        inspect::active_queues(node).into()
    }),
    command(&["add_consumer"], &["queue"], tune::add_consumer),
    command(&["autoscale"], &[], |node, arguments| {
        tune::autoscale(node, arguments).into()
    }),
    command(&["cancel_consumer"], &["queue"], tune::cancel_consumer),
    command(&["clock"], &[], |node, _| monitor::clock(node).into()),
    command(&["conf", "dump_conf"], &[], |node, arguments| {
        report::conf(node, arguments).into()
    }),
    command(&["disable_events"], &[], |node, _| {
        monitor::disable_events(node).into()
    }),
    command(&["election"], &["id", "topic"], |_, _| {
        monitor::election().into()
    }),
    command(&["enable_events"], &[], |node, _| {
        monitor::enable_events(node).into()
    }),
    command(&["heartbeat"], &[], |node, _| {
        monitor::heartbeat(node).into()
    }),
    command(&["hello"], &["from_node"], |node, arguments| {
        revoke::hello(node, arguments).into()
    }),
    command(&["memsample"], &[], |_, _| report::memsample().into()),
    command(&["ping"], &[], |_, _| monitor::ping().into()),
    command(&["pool_grow"], &[], |node, arguments| {
        tune::pool_grow(node, arguments).into()
    }),
    command(&["pool_restart"], &[], |_, _| tune::pool_restart().into()),
    command(&["pool_shrink"], &[], |node, arguments| {
        tune::pool_shrink(node, arguments).into()
    }),
    command(&["query_task"], &["ids"], |node, arguments| {
        inspect::query_task(node, arguments).into()
    }),
    command(
        &["rate_limit"],
        &["task_name", "rate_limit"],
        |node, arguments| tune::rate_limit(node, arguments).into(),
    ),
    command(&["registered", "dump_tasks"], &[], |node, arguments| {
        inspect::registered(node, arguments).into()
    }),
    command(&["report"], &[], |node, _| report::report(node).into()),
    command(&["reserved", "dump_reserved"], &[], |node, _| {
        inspect::reserved(node).into()
    }),
    command(&["revoke"], &["task_id"], |node, arguments| {
        revoke::revoke(node, arguments).into()
    }),
    command(
        &["revoke_by_stamped_headers"],
        &["headers"],
        |node, arguments| revoke::revoke_by_stamped_headers(node, arguments).into(),
    ),
    command(&["revoked", "dump_revoked"], &[], |node, _| {
        revoke::revoked(node).into()
    }),
    command(&["scheduled", "dump_schedule"], &[], |node, _| {
        inspect::scheduled(node).into()
    }),
    command(&["shutdown"], &[], monitor::shutdown),
    command(&["stats"], &[], |node, _| report::stats(node).into()),
    command(&["terminate"], &["signal", "task_id"], |node, arguments| {
        revoke::terminate(node, arguments).into()
    }),
    command(&["time_limit"], &[], |node, arguments| {
        tune::time_limit(node, arguments).into()
    }),
];

/// Carries a command out.
fn carry_out(node: &Arc<Node>, method: &str, arguments: Json) -> Answer {
    let known = COMMANDS
        .iter()
        .find(|command| command.names.contains(&method));
    let Some(command) = known else {
        return Err(CommandError::key(method)).into();
    };
    match Arguments::new(command.names[0], arguments, command.required) {
        Ok(arguments) => (command.run)(node, &arguments),
        Err(error) => Err(error).into(),
    }
}

impl From<Said> for Answer {
    fn from(said: Said) -> Self {
        Self::Now(said)
    }
}

/// Says a value.
fn say<T: Serialize>(value: &T) -> Said {
    to_raw_value(value).map_err(|error| CommandError::failed(error.to_string()))
}

/// Says that a command was carried out.
fn done(word: impl Into<String>) -> Said {
    say(&Word::Ok(word.into()))
}

/// Says that a command was not carried out, in words of its own.
fn refused(word: impl Into<String>) -> Said {
    say(&Word::Error(word.into()))
}

/// What is sent back: an error has a form as well.
fn spoken(said: Said) -> Box<RawValue> {
    said.or_else(|error| refused(error.to_string()))
        .unwrap_or_else(|_| RawValue::NULL.to_owned())
}
