//! A thousand apps of `coney::testing` at once: apart from the other tests, which could not say any more what is slow.

#![allow(unreachable_pub, reason = "modules of one test binary")]
#![allow(dead_code, reason = "shared with the other tests of the kit")]

#[path = "testing/many.rs"]
mod many_tests_run_beside_each_other;
#[path = "testing/tasks.rs"]
mod tasks;
