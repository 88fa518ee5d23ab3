//! Observes what a process tree reads.
