//! The real executable against a real server: `s3s-fs` on loopback, signatures checked.
#![cfg(unix)]

mod ahead;
mod conformance;
mod credentials;
mod faults;
mod link;
mod machines;
mod objects;
mod proxy;
mod secrets;
mod server;
mod store;
mod tls;
