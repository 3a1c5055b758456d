//! What the development broker promises, over real sockets. That it does what RabbitMQ does is tested elsewhere.

mod bounds;
mod client;
mod faults;
mod hostile;
mod life;
mod queues;
mod time;
