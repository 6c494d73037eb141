//! Design functions in a sandbox with limits of time and memory.
