//! Bodies: Celery's JSON layout, its typed values, its compression.

pub mod absent;
pub mod body;
pub mod compression;
pub mod typed;

/// The media type of JSON bodies, the only one that this version reads and writes.
pub const JSON: &str = "application/json";

/// The character set of JSON bodies.
pub const UTF_8: &str = "utf-8";
