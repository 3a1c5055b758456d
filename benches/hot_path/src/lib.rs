//! The hot path of coney without a broker, cut into stages: what a message costs this process, and nothing else.
//!
//! | program | tells of each stage |
//! |---|---|
//! | `cargo bench --package coney-hot-path` | the time |
//! | `cargo run --release --package coney-hot-path --bin allocations` | the allocations |
//! | `cargo xtask instructions` | the instructions, compared with `instructions.toml` |
//!
//! Each stage prepares its input first, outside of what is measured, and then takes it through functions of coney.
//! lapin's own work, the network and the broker are not here.

mod bench;
mod stage;
mod stages;
mod tasks;

pub use stage::{Stage, measured};
pub use stages::stages;

/// The runtime that everything runs within: it has no threads, and drives nothing.
///
/// # Errors
///
/// Those of the operating system.
pub fn runtime() -> std::io::Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .build()
}
