//! The buildhook protocol: wire types and bounded framing.
