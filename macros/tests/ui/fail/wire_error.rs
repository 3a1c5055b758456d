//! An error without serde does not come back whole, and the message is about the error, not about serde.
#![allow(unused_variables)]
use coney::TaskError;

#[derive(Debug, thiserror::Error, TaskError)]
#[error("x")]
struct MailError;

fn comes_back<E: coney::WireError>() {}

fn main() {
    comes_back::<MailError>();
}
