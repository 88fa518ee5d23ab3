//! Every bound of the protocol, by name (SPEC.md §1, §2, §4).

/// Longest message in bytes, its line feed included (BH-WIRE-002).
pub const MAX_LINE_BYTES: usize = 16 * 1024 * 1024;
/// Deepest nesting of objects and arrays; the message itself is level 1 (BH-WIRE-002).
pub const MAX_DEPTH: usize = 32;
/// Most records in `files` or in `relocated` (BH-WIRE-002).
pub const MAX_FILES: usize = 16_384;
/// Most objects and arrays in a message, itself included (BH-WIRE-002): twice what both lists of
/// records can have.
pub const MAX_CONTAINERS: usize = 65_536;
/// Largest integer that every JSON reader keeps exactly, 2^53 − 1 (BH-WIRE-007).
pub const MAX_INTEGER: u64 = (1 << 53) - 1;
/// Most requests that a plugin may accept before it has answered (SPEC.md §2).
pub const MAX_IN_FLIGHT: u32 = 256;
/// Longest name within an entry, in bytes (BH-FILE-001).
pub const MAX_NAME_BYTES: usize = 1024;
/// Longest segment of a name, in bytes (BH-FILE-001).
pub const MAX_SEGMENT_BYTES: usize = 255;
/// Longest seal, in bytes (SPEC.md §11).
pub const MAX_SEAL_BYTES: usize = 256;
/// Most segments of a name (BH-FILE-001).
pub const MAX_SEGMENTS: usize = 16;
