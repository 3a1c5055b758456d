//! Behaviour over a broker, one module for each promise: a development broker in this process, or the RabbitMQ at
//! `CONEY_URL`; see `cargo xtask test`.

#![allow(unreachable_pub, reason = "modules of one test binary")]
#![allow(
    clippy::redundant_closure_for_method_calls,
    reason = "set-ups read alike, with one task or with several"
)]

#[path = "support/mod.rs"]
mod support;

#[path = "rabbitmq/calls.rs"]
mod a_call_comes_back;
#[path = "rabbitmq/revoking.rs"]
mod a_cancelled_task_does_not_run;
#[path = "rabbitmq/retries.rs"]
mod a_failed_attempt_is_repeated;
#[path = "rabbitmq/mistakes.rs"]
mod a_mistake_is_a_typed_error;
#[path = "rabbitmq/repeats.rs"]
mod a_repeated_message_does_no_harm;
#[path = "rabbitmq/context.rs"]
mod a_task_sees_its_context;
#[path = "rabbitmq/running.rs"]
mod a_worker_runs_until_it_is_told_to_stop;
#[path = "rabbitmq/dead_letters.rs"]
mod dead_letters_can_be_put_back;
#[path = "rabbitmq/topology.rs"]
mod either_side_may_start_first;
#[path = "rabbitmq/events.rs"]
mod monitors_are_told;
#[path = "rabbitmq/poison.rs"]
mod nothing_is_acked_away;
#[path = "rabbitmq/delays.rs"]
mod nothing_waits_in_a_worker;
#[path = "rabbitmq/tasks.rs"]
mod tasks;
#[path = "rabbitmq/management.rs"]
mod the_broker_shows_what_is_there;
#[path = "rabbitmq/limits.rs"]
mod time_limits_are_kept;
#[path = "rabbitmq/control.rs"]
mod workers_answer_remote_control;
