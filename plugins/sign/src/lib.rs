//! Signatures over entries, for caches that somebody else can write to.
//!
//! `buildhook-sign` adds a file `@sign/<key name>` to each entry that is stored;
//! `buildhook-verify` lets only those entries through that enough trusted operators have
//! signed, and takes the files off again. A signature covers the entry's key, purpose and
//! seal, names, sizes, digests and executable bits of all its other files, when it was made
//! and when it ends. Contents are compared with their digests by the host (BH-WANT-006), not
//! a second time here.
//!
//! Other filters may be above or below, with one rule: who signs and who verifies stand at
//! the same place in their stacks, so that they see the same files.
//!
//! # What it protects from, and what not
//!
//! Someone who can write to the store can change, swap, mix, strip and replay what is in it.
//! All that comes of it is a miss. Entries of purpose `inputs` are signed as well: who could
//! forge one could hide an input, and have an old entry taken for a new one.
//!
//! - **Whoever has the private key can sign anything**, and so can whatever runs on the
//!   signer's machine as the same user: build scripts and macros of dependencies. Keys of
//!   machines that build strangers' code get a narrow scope.
//! - **The scope of a key is held against what the host says it is building** (`unit`), which
//!   is this machine's own description of its own build: nothing in the store has a say in
//!   it. It is no part of the key, so a filter between host and verifier could change it, and
//!   so could the project that is built, by its names; neither is the store's attacker.
//! - **Replay** of an entry that is signed and not expired is a hit, and a correct one: its
//!   key stands for all its inputs. Taking entries away is a miss.
//! - Times are those of the machines' clocks.
//!
//! Known gaps: a variable with the private key is inherited by the plugins below; where that
//! matters, use a file. Two signers that store one entry at the same moment can lose one of
//! two signatures.

mod gate;
mod judge;
mod key;
mod moment;
mod statement;
mod trust;

pub use gate::{Gate, is_signature, read_signature, signature_name};
pub use judge::{Signed, Subject};
pub use key::{KeyError, PrivateKey, PublicKey};
pub use moment::Moment;
pub use statement::{KeyName, MAX_SIGNATURE_BYTES, Statement, digest_of_files};
pub use trust::{Origin, Scope, Trust, TrustedKey};
