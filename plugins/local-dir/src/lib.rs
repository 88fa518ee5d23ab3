//! A buildhook store in a local directory.
