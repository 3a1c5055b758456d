//! What `coney-amqp` promises, over a real RabbitMQ: one module per promise.
//!
//! The broker is the one at `CONEY_URL`, its management API the one at `CONEY_MANAGEMENT_URL` (port 15672 of the same
//! host if that is not set): `cargo xtask rabbitmq up` starts one, `cargo xtask test` sets both.

mod connect;
mod consume;
mod declare;
#[allow(unreachable_pub, reason = "shared with the tests of the facade")]
#[path = "../../../tests/support/management.rs"]
mod management;
#[path = "../../../tests/support/proxy.rs"]
mod proxy;
mod publish;
mod recover;
mod support;
#[cfg(feature = "tls")]
mod tls;
