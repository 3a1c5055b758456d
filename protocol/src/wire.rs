//! Celery's message protocol: task messages of version 2, read also those of version 1.

pub mod time;
