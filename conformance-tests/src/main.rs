//! Tests any buildhook plugin, host or build cache.
fn main() {}
