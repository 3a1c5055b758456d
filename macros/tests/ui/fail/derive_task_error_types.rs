//! Marks that name a field of another type, and a type that is no error.
#![allow(unused_variables)]
use coney::TaskError;
use std::time::Duration;

#[derive(Debug, thiserror::Error, TaskError)]
enum Wrong {
    #[error("number")]
    #[defer(after = .0)]
    Number(u64),
    #[error("float")]
    #[retry(after = .wait)]
    Perhaps { wait: f64 },
    #[error("method")]
    #[defer(after = .0.as_secs())]
    Method(Duration),
}

#[derive(TaskError)]
#[dead]
struct NoError;

#[derive(Debug, thiserror::Error, TaskError)]
#[error("rc")]
struct NotSend(std::rc::Rc<u8>);

fn main() {}
