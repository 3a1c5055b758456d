//! The options of `retry`.
#![allow(unused_variables)]
use coney::prelude::*;

#[task(retry(attempts = 3, max = "3"))]
async fn unknown_and_no_number() {}

#[task(retry = 3)]
async fn no_list() {}

#[task(retry(3))]
async fn no_name() {}

#[task(retry(max = -1, jitter = "no"))]
async fn negative() {}

#[task(retry(backoff = exponential))]
async fn without_waits() {}

#[task(retry(backoff = exponential("1s")))]
async fn without_cap() {}

#[task(retry(backoff = quadratic("1s", "2s")))]
async fn unknown_backoff() {}

#[task(retry(backoff = linear(5, 60)))]
async fn numbers() {}

#[task(retry(backoff = linear("1m", "5s")))]
async fn cap_below_the_first() {}

#[task(retry(backoff = exponential("0s", "10s")))]
async fn growing_from_zero() {}

#[task(retry(backoff = "30s"))]
async fn text() {}

fn main() {}
