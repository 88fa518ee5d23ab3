//! The buildhook host library: sessions, deadlines, seal, restore.
