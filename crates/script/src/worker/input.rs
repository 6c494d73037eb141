//! Standard input: requests, one at a time.

use std::io::Read;

use crate::wire::{self, HEAD_BYTES, Request};

/// Longer frames are not from the server.
const FRAME_BYTES_MAX: usize = 1 << 30;

/// The next request and its fields; `None` when the server has closed the pipe.
pub(crate) fn next_request() -> Option<(Request, Vec<u8>)> {
    let mut input = std::io::stdin().lock();
    let mut head = [0; HEAD_BYTES];
    input.read_exact(&mut head).ok()?;
    let (length, kind) = wire::head(head);
    if length > FRAME_BYTES_MAX {
        return None;
    }
    let mut fields = vec![0; length];
    input.read_exact(&mut fields).ok()?;
    Some((Request::parse(kind)?, fields))
}
