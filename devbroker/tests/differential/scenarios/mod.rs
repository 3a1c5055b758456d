//! The scenarios, an area a file.

pub mod acks;
pub mod channels;
pub mod consumers;
pub mod exchanges;
pub mod handshake;
pub mod queues;
pub mod routing;
