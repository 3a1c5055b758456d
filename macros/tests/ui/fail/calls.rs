//! Wrong calls.
#![allow(unused_variables)]
use coney::prelude::*;

#[task]
async fn add(x: i64, y: i64, ctx: TaskContext) -> i64 {
    let _ = ctx;
    x + y
}

fn main() {
    let _ = add::call("1", 2);
    let _ = add::call(1);
    let _ = add::call(1, 2, TaskContext::test());
    let _ = add::call(1, 2).send(&1_u8);
}
