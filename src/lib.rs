//! AMQP-native job queue and worker framework for Rust, in the style of Celery, on RabbitMQ.
//!
//! This crate only re-exports: the nouns from `coney-protocol`, the macros, and with features the two sides that need
//! a broker.
//!
//! # Features
//!
//! | feature | default | adds |
//! |---|---|---|
//! | `macros` | yes | `#[task]`, `#[derive(Queue)]`, `#[derive(TaskError)]` |
//! | `producer` | yes | the client: send calls and await their results |
//! | `worker` | | the worker: run tasks |
//! | `tls` | yes | `amqps://` with rustls |
//! | `anyhow` | | `anyhow::Error` as the error type of a task |
//! | `bzip2`, `zstd` | | messages compressed that way |
//! | `msgpack` | | MessagePack as an alternative to JSON |
//! | `testing` | | [`testing`]: broker, client and worker in the process of a test |
//!
//! A crate that only defines tasks needs `default-features = false, features = ["macros"]` and compiles no AMQP client.

#![cfg_attr(docsrs, feature(doc_cfg))]

#[doc(hidden)]
#[path = "private.rs"]
pub mod __private;

#[cfg(feature = "testing")]
#[cfg_attr(docsrs, doc(cfg(feature = "testing")))]
pub mod testing;

use std::time::Duration;

#[cfg(feature = "macros")]
#[cfg_attr(docsrs, doc(cfg(feature = "macros")))]
pub use coney_macros::{Queue, TaskError, task};
pub use coney_protocol::argument::{Args, Kwargs};
pub use coney_protocol::call::{Call, DynamicCall, Sender};
pub use coney_protocol::codec::compression::Compression;
pub use coney_protocol::codec::{RawJson, Serializer};
pub use coney_protocol::context::{CancellationToken, ProgressError, TaskContext};
pub use coney_protocol::error::{ArgumentError, ArgumentErrorKind, DecodeError, EncodeError};
pub use coney_protocol::id::TaskId;
pub use coney_protocol::inject::{FromContext, Requirements, State};
pub use coney_protocol::options::Priority;
pub use coney_protocol::outcome::{
    BoxError, ErrorReport, Exception, Failure, Next, Result, TaskError, WireError,
};
pub use coney_protocol::property::{Table, Value};
pub use coney_protocol::rate::Rate;
pub use coney_protocol::spec::{
    AckMode, Backoff, DefaultQueue, Queue, QueueSpec, RetryPolicy, TaskSpec,
};
pub use coney_protocol::task::{Run, Task};

/// Chains, groups and links: calls that follow each other or run beside each other.
#[doc(inline)]
pub use coney_protocol::workflow;

/// The nouns and pure rules below this crate, for tools that read or write messages themselves.
#[doc(inline)]
pub use coney_protocol as protocol;

/// Connections, declarations, publishing and consuming, for tools that go below calls and tasks.
#[cfg(any(feature = "producer", feature = "worker"))]
#[cfg_attr(docsrs, doc(cfg(any(feature = "producer", feature = "worker"))))]
#[doc(inline)]
pub use coney_amqp as amqp;
#[cfg(any(feature = "producer", feature = "worker"))]
#[cfg_attr(docsrs, doc(cfg(any(feature = "producer", feature = "worker"))))]
pub use coney_amqp::{
    Broker, BrokerBuilder, ConnectError, ConnectErrorKind, DeclareError, PublishError,
    PublishErrorKind, PublisherStatus, SessionStatus, Tls,
};
#[cfg(feature = "producer")]
#[cfg_attr(docsrs, doc(cfg(feature = "producer")))]
pub use coney_producer::{
    Answers, Broadcast, Client, ClientBuilder, ClientStatus, Control, ControlError, DeadLetter,
    DeadLetterError, DeadLetterErrorKind, DeadLetters, DeadReason, Discarded, EventStream,
    Progress, Redriven, ResultError, ResultErrorKind, RevokeError, RevokeErrorKind, Selection,
    SendError, SendErrorKind, TaskFailed, TaskHandle,
};
#[cfg(feature = "worker")]
#[cfg_attr(docsrs, doc(cfg(feature = "worker")))]
pub use coney_worker::{
    BuildError, BuildProblem, Readiness, Ready, Tasks, Worker, WorkerBuilder, WorkerError,
    shutdown_signal,
};

/// All tasks with a body that are linked into this program.
///
/// A crate that the program never names is not linked, and its tasks are not here: for tasks of other crates use
/// [`tasks!`], which links them and checks that each registers something.
#[cfg(feature = "worker")]
#[cfg_attr(docsrs, doc(cfg(feature = "worker")))]
#[must_use]
pub fn registered() -> Tasks {
    __private::registered()
}

/// The tasks of these crates: links them, and makes it an error of `build()` if one registers nothing.
///
/// ```ignore
/// Worker::builder(&broker).tasks(coney::tasks![billing_tasks, mail_tasks]).build()?;
/// ```
#[cfg(feature = "worker")]
#[cfg_attr(docsrs, doc(cfg(feature = "worker")))]
#[macro_export]
macro_rules! tasks {
    ($($name:ident),+ $(,)?) => {{
        $(use $name as _;)+
        $crate::__private::registered_in(&[$(::core::stringify!($name)),+])
    }};
}

/// What nearly every file that defines, sends or runs tasks needs: `use coney::prelude::*;`.
pub mod prelude {
    #[cfg(feature = "macros")]
    #[doc(no_inline)]
    pub use crate::task;
    #[doc(no_inline)]
    pub use crate::{Failure, Priority, Queue, State, TaskContext, TaskError, hours, mins, secs};

    #[cfg(any(feature = "producer", feature = "worker"))]
    #[doc(no_inline)]
    pub use crate::Broker;
    #[cfg(feature = "producer")]
    #[doc(no_inline)]
    pub use crate::{Client, ResultError, SendError, TaskHandle};
    #[cfg(feature = "worker")]
    #[doc(no_inline)]
    pub use crate::{Worker, shutdown_signal};
}

/// So many seconds.
#[must_use]
pub const fn secs(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

/// So many minutes.
#[must_use]
pub const fn mins(minutes: u64) -> Duration {
    Duration::from_secs(minutes.saturating_mul(60))
}

/// So many hours.
#[must_use]
pub const fn hours(hours: u64) -> Duration {
    Duration::from_secs(hours.saturating_mul(60 * 60))
}
