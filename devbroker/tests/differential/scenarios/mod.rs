//! The scenarios, an area a file.

pub mod acks;
pub mod channels;
pub mod confirms;
pub mod consumers;
pub mod dead_letters;
pub mod exchanges;
pub mod expiry;
pub mod handshake;
pub mod limits;
pub mod queues;
pub mod replies;
pub mod routing;
