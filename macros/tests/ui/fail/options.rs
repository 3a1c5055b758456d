//! Each wrong option has one message; the task is there all the same.
#![allow(unused_variables)]
use coney::prelude::*;

#[task(queue = Emails, retires = 3)]
async fn unknown(x: i64) {}

#[task(timeout = "1s", expires = "1h", timeout = "2s")]
async fn twice() {}

#[task(name = shop, timeout = 30, queue = "emails", priority = urgent, ack = early)]
async fn wrong_kinds_of_values() {}

#[task(name = "", priority = 256, ack = "sometimes", crate = "coney")]
async fn wrong_values() {}

#[task(name, timeout, queue =)]
async fn values_missing() {}

#[task(ignore_result = true)]
async fn flag_with_a_value() {}

#[task(blocking = true)]
fn blocking_with_a_value() {}

#[task("fast")]
async fn no_option() {}

#[task(timeout = "1s" expires = "2s")]
async fn comma_missing() {}

#[task(timeout = "10s", soft_timeout = "10s")]
async fn soft_is_not_shorter() {}

#[task(name = "two\nlines")]
async fn name_with_control_characters() {}

#[task(rate_limit = "10/d")]
async fn no_time_of_a_rate() {}

#[task(rate_limit = 10, track_started = true)]
async fn no_text_of_a_rate() {}

#[derive(Queue)]
struct Emails;

fn main() {
    let _ = unknown::call(1).prepare();
    let _ = (twice::call(), wrong_kinds_of_values::call(), wrong_values::call());
    let _ = (values_missing::call(), flag_with_a_value::call(), no_option::call());
    blocking_with_a_value();
}
