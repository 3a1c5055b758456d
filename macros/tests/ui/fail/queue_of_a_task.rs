//! A task goes to a queue, and to nothing else.
#![allow(unused_variables)]
use coney::prelude::*;

struct Emails;

#[task(queue = Emails)]
async fn no_queue() {}

#[task(queue = Mails)]
async fn no_such_type() {}

fn main() {}
