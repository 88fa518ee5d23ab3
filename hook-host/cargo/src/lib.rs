//! The Cargo front end of the buildhook host.
