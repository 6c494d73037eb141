//! The store from outside: every engine against one suite, and the door for writes under faults.

mod engines;
mod group_commit;
