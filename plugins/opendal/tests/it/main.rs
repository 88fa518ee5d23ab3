//! The real executable against real servers: Redis, memcached, and lighttpd for WebDAV.
#![cfg(unix)]

mod conformance;
mod faults;
mod machines;
mod server;
mod store;
