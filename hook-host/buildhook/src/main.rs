//! A build cache host for Cargo with plugins in any language.
fn main() {}
