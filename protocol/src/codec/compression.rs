//! Compressed bodies.
