//! The recorder in real processes: compiled fixtures, the C driver, rustc.
//!
//! Needs `cc` and `rustc`, as building this crate does.
#![cfg(all(target_os = "linux", target_env = "gnu"))]

mod calls;
mod compiles;
mod faults;
mod programs;
mod support;
