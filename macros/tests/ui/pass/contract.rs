//! Tasks without a body: declared here, run elsewhere.
#![deny(warnings, missing_docs, missing_debug_implementations, unused)]

use coney::prelude::*;

/// A queue of somebody else.
#[derive(Debug, Queue)]
#[queue(name = "python")]
pub struct Python;

/// Multiplies.
#[task(queue = Python, name = "tasks.mul", timeout = "1s", expires = "1h", priority = high, ignore_result)]
pub async fn mul(x: i64, y: Option<i64>) -> i64;

/// Returns nothing.
#[task]
async fn fire();

/// May fail.
#[task]
pub(crate) async fn fails(x: Vec<u8>) -> Result<u8, coney::Failure>;

fn main() {
    let _ = mul::call(1, None).prepare().expect("numbers have a JSON form");
    let _ = (fire::call(), fails::call(vec![]));
}
