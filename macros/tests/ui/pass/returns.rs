//! Return types are seen through: plain values, results, and aliases of both.
use coney::prelude::*;
use coney::{BoxError, Failure};
use serde::{Deserialize, Serialize};

#[derive(Debug, thiserror::Error, TaskError)]
#[error("mail")]
struct MailError;

type Res<T> = Result<T, MailError>;
type Swapped<E, T> = Result<T, E>;
type Number = i64;

#[derive(Serialize, Deserialize)]
struct Row {
    id: u64,
}

mod named_like_std {
    // a type that is only called Result
    #[derive(serde::Serialize, serde::Deserialize)]
    pub struct Result<A, B>(pub A, pub B);
}

#[task]
async fn unit() {}

#[task]
async fn plain() -> Row {
    Row { id: 1 }
}

#[task]
async fn alias_of_a_value() -> Number {
    1
}

#[task]
async fn result() -> Result<Row, MailError> {
    Err(MailError)
}

#[task]
async fn alias() -> Res<u8> {
    Ok(1)
}

#[task]
async fn swapped() -> Swapped<MailError, u8> {
    Ok(1)
}

#[task]
async fn failure() -> coney::Result<u8> {
    let number: u8 = "1".parse()?;
    if number == 0 {
        return Err(Failure::discard("zero"));
    }
    Ok(number)
}

#[task]
async fn any() -> anyhow::Result<u8> {
    Ok("1".parse()?)
}

#[task]
async fn boxed() -> Result<u8, BoxError> {
    Ok("1".parse()?)
}

#[task]
async fn own_result() -> named_like_std::Result<u8, u8> {
    named_like_std::Result(1, 2)
}

#[task]
async fn result_as_a_value() -> Result<Result<u8, String>, MailError> {
    Ok(Err("both are data".to_owned()))
}

fn outputs<T: coney::Task<Output = O, Error = E>, O, E>() {}

fn main() {
    use std::convert::Infallible;
    outputs::<unit, (), Infallible>();
    outputs::<plain, Row, Infallible>();
    outputs::<alias_of_a_value, i64, Infallible>();
    outputs::<result, Row, MailError>();
    outputs::<alias, u8, MailError>();
    outputs::<swapped, u8, MailError>();
    outputs::<failure, u8, Failure>();
    outputs::<any, u8, anyhow::Error>();
    outputs::<boxed, u8, BoxError>();
    outputs::<own_result, named_like_std::Result<u8, u8>, Infallible>();
    outputs::<result_as_a_value, Result<u8, String>, MailError>();
}
