//! Standard output: lines collect here and leave in frames.
//!
//! Nothing else writes there. When the server is gone the worker ends.

use std::cell::RefCell;
use std::io::Write;

use crate::wire::{Answer, FrameWriter};

/// So many bytes of lines make a frame.
const LINES_BYTES: usize = 64 * 1024;

/// What has not left yet.
#[derive(Debug, Default)]
pub(crate) struct Output {
    frames: RefCell<FrameWriter>,
    lines: RefCell<Vec<u8>>,
}

impl Output {
    /// Adds lines, each with its end.
    pub(crate) fn lines(&self, lines: &[u8]) {
        self.lines.borrow_mut().extend_from_slice(lines);
    }

    /// Are there lines that the server has not seen?
    pub(crate) fn has_lines(&self) -> bool {
        !self.lines.borrow().is_empty()
    }

    /// Are there many?
    pub(crate) fn is_full(&self) -> bool {
        self.lines.borrow().len() >= LINES_BYTES
    }

    /// Adds a frame. Lines before it go first.
    pub(crate) fn frame(&self, answer: Answer, fill: impl FnOnce(&mut FrameWriter)) {
        self.wrap_lines();
        let mut frames = self.frames.borrow_mut();
        fill(frames.begin(answer.number()));
        frames.end();
    }

    /// Sends everything.
    pub(crate) fn flush(&self) {
        self.wrap_lines();
        let mut frames = self.frames.borrow_mut();
        let mut out = std::io::stdout().lock();
        if out
            .write_all(frames.bytes())
            .and_then(|()| out.flush())
            .is_err()
        {
            std::process::exit(0);
        }
        frames.clear();
    }

    fn wrap_lines(&self) {
        let mut lines = self.lines.borrow_mut();
        if !lines.is_empty() {
            let mut frames = self.frames.borrow_mut();
            frames.begin(Answer::Lines.number()).rest(&lines).end();
            lines.clear();
            lines.shrink_to(LINES_BYTES * 2);
        }
    }
}
