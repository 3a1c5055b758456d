//! The scenarios, an area a file.

pub mod acks;
pub mod channels;
pub mod confirms;
pub mod consumers;
pub mod contents;
pub mod dead_letters;
pub mod exchanges;
pub mod expiry;
pub mod handshake;
pub mod limits;
pub mod permissions;
pub mod queues;
pub mod quorum;
pub mod replies;
pub mod routing;
pub mod streams;
