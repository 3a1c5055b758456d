//! The promises of `coney::testing`, over the broker in the test's own process.

#![allow(unreachable_pub, reason = "modules of one test binary")]

#[path = "testing/tasks.rs"]
mod tasks;

#[path = "testing/asserting.rs"]
mod an_assertion_says_what_is_there;
#[path = "testing/draining.rs"]
mod draining_runs_everything;
#[path = "testing/looking.rs"]
mod looking_changes_nothing;
#[path = "testing/performing.rs"]
mod one_attempt_has_a_typed_outcome;
#[path = "testing/time.rs"]
mod time_passes_when_it_is_told_to;
