//! Where things lie in the checkout.

use std::env;
use std::path::{Path, PathBuf};

/// The root of the checkout.
pub(crate) fn root() -> PathBuf {
    // `cargo run` tells the folder of the package at run time: right even if the binary was built in another checkout
    let package = env::var_os("CARGO_MANIFEST_DIR")
        .map_or_else(|| PathBuf::from(env!("CARGO_MANIFEST_DIR")), PathBuf::from);
    package.parent().map_or(package.clone(), Path::to_path_buf)
}

/// What the fault suite leaves on the disk: its own broker, the logs of its last run.
pub(crate) fn faults_folder() -> PathBuf {
    root().join("target").join("faults")
}

/// Where the instructions of each stage of the hot path went when they were counted last.
pub(crate) fn callgrind_folder() -> PathBuf {
    root().join("target").join("callgrind")
}

/// Everything that a broker started from here leaves on the disk. It stays in the checkout whatever
/// `CARGO_TARGET_DIR` says, so that every shell finds the same broker.
pub(crate) fn rabbitmq_folder() -> PathBuf {
    root().join("target").join("rabbitmq")
}

/// The Python packages that the tests with other clients need.
pub(crate) fn clients_folder() -> PathBuf {
    root().join("target").join("clients")
}

/// The tests with Celery's own clients, workers and tools.
pub(crate) fn interop_folder() -> PathBuf {
    root().join("tests").join("interop").join("python")
}
