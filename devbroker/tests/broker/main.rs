//! What the development broker promises, over real sockets. That it does what RabbitMQ does is tested elsewhere.

mod bounds;
mod client;
mod faults;
mod hostile;
mod life;
#[cfg(feature = "management")]
mod management;
mod queues;
mod time;
