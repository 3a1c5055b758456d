//! A future that cannot move between threads is blamed on the task, not on the attribute.
#![allow(unused_variables)]
use coney::prelude::*;
use std::rc::Rc;

#[task]
async fn holds_an_rc(x: u8) {
    let shared = Rc::new(x);
    std::future::ready(()).await;
    drop(shared);
}

fn main() {}
