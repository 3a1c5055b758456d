//! What `coney-amqp` promises, over a broker: one module per promise.
//!
//! The broker is a development broker in this process, or the RabbitMQ at `CONEY_URL` with its management API at
//! `CONEY_MANAGEMENT_URL` (port 15672 of the same host if that is not set); `cargo xtask test` runs both.

mod connect;
mod consume;
mod declare;
#[allow(unreachable_pub, reason = "shared with the tests of the facade")]
#[path = "../../../tests/support/management.rs"]
mod management;
mod outbox;
#[allow(unreachable_pub, reason = "shared with the tests of the facade")]
#[path = "../../../tests/support/place.rs"]
mod place;
#[path = "../../../tests/support/proxy.rs"]
mod proxy;
mod publish;
mod recover;
mod support;
#[cfg(feature = "tls")]
mod tls;
