//! Apps over a store in memory.
