//! A task without a body can be sent, not run.
#![allow(unused_variables)]
use coney::prelude::*;

#[task]
async fn mul(x: i64, y: i64) -> i64;

fn run<T: coney::Run>() {}

fn main() {
    let _ = mul::call(2, 3).prepare();
    let _ = mul(2, 3);
    let _ = async { mul(2, 3).await };
    run::<mul>();
}
