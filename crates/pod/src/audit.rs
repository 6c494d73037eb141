//! The audit log: written in the commit of what it tells, read by administrators, kept for a while.
