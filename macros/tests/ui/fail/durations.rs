//! Durations are checked where they are written.
#![allow(unused_variables)]
use coney::prelude::*;

#[task(timeout = "30")]
async fn no_unit() {}

#[task(timeout = "2 days")]
async fn calendar() {}

#[task(timeout = "soon")]
async fn no_duration() {}

#[task(timeout = "")]
async fn empty() {}

#[task(timeout = "-5s")]
async fn past() {}

#[task(timeout = "0s")]
async fn zero() {}

#[task(expires = "99999999999999999h")]
async fn too_long() {}

#[task(soft_timeout = "PT30S")]
async fn iso() {}

fn main() {}
