//! The parts of the conformance binary that its own tests drive.

pub mod cache;
