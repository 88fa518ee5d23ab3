//! The real executable against real servers: Redis, memcached, and lighttpd for WebDAV.
#![cfg(unix)]

mod conformance;
mod faults;
mod machines;
mod sasl;
mod server;
mod store;
