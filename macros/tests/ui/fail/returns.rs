//! What a task cannot return.
#![allow(unused_variables)]
use coney::prelude::*;

#[task]
async fn reference() -> &'static str { "x" }

#[task]
async fn reference_in_a_result(x: i64) -> Result<i64, &'static str> { Ok(x) }

#[task]
async fn opaque() -> impl Send {}

#[task]
async fn endless() -> ! { loop {} }

fn main() {
    let _ = reference::call().prepare();
    let _ = reference_in_a_result::call(1).prepare();
}
