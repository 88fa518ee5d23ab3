//! Tests of the protocol crate against its spec, its schemas and its transcripts.

mod framing;
mod golden;
mod properties;
mod rules;
mod schema_check;
mod schemas;
mod transcript;
mod typed;
