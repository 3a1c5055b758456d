//! The nouns and pure rules of coney: no I/O, no runtime, no broker.
//!
//! The bottom crate of the workspace; every other crate speaks its words.
//!
//! | module | holds |
//! |---|---|
//! | [`name`], [`id`] | checked names, task ids |
//! | [`task`], [`argument`], [`answer`], [`inject`] | what `#[task]` implements: the contract of a task |
//! | [`call`], [`options`], [`spec`] | one call, its options, the options of tasks and queues |
//! | [`header`], [`message`] | all that travels: beside the body, and the body |
//! | [`property`] | AMQP properties and header values, free of any client library |
//! | [`codec`], [`wire`] | Celery's body format and message protocol |
//! | [`workflow`], [`canvas`] | chains, groups and links: how they are sent, and what a worker makes of them |
//! | [`reply`], [`repr`] | results on their way back; values as text for people |
//! | [`policy`], [`rate`], [`delay`], [`clock`] | when the next attempt comes; how often; how it waits in the broker; what time it is |
//! | [`event`] | what clients and workers say of tasks and of themselves |
//! | [`revoke`] | revocations on their way to all workers |
//! | [`control`] | remote control of workers |
//! | [`dead`], [`history`] | dead letters and their reasons; earlier attempts |
//! | [`topology`] | exchanges, queues and bindings as data |
//! | [`trace`] | W3C trace context |
//! | [`context`], [`outcome`] | what a running task sees, and what it may answer |

pub mod answer;
pub mod argument;
pub mod call;
pub mod canvas;
pub mod clock;
pub mod codec;
pub mod context;
pub mod control;
pub mod dead;
pub mod delay;
pub mod error;
pub mod event;
#[doc(hidden)]
pub mod expansion;
pub mod header;
pub mod history;
pub mod id;
pub mod inject;
pub mod message;
pub mod name;
pub mod options;
pub mod outcome;
pub mod policy;
pub mod property;
pub mod rate;
pub mod reply;
pub mod repr;
pub mod revoke;
pub mod signal;
pub mod spec;
pub mod task;
pub mod topology;
pub mod trace;
pub mod wire;
pub mod workflow;
