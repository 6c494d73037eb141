//! One pass over JSON that checks it, normalises it and writes its Erlang term.
//!
//! The normal text differs from what clients send in few places (white space, needless escapes,
//! floats, replaced members), so the scanner copies the input in the longest runs it can: `kept` is
//! where the run that was not copied yet begins, and whoever wants other text calls [`flush`] up to
//! the place, writes his own, and lets the next run begin behind it. The term is written as the
//! values are met; lists and binaries whose length is known only at their end get it then.
//!
//! Invariant: `input[kept..at]` belongs to the normal text behind `text`, so the place in the normal
//! text that answers to `at` is known at any time, whether or not the run was copied.
//!
//! [`flush`]: Scanner::flush

use super::{JsonError, MAX_DEPTH, duplicate_keys, term};

mod numbers;
mod reading;
mod strings;

pub(super) use reading::Scalar;
pub(super) use strings::plain_run;

/// Where a member of an object that is not closed yet begins, in both outputs.
#[derive(Clone, Copy)]
struct Member {
    text: u32,
    term: u32,
}

/// Bytes between the start of a member in the term and the content of its key: a tuple of two, and
/// the head of a binary.
const KEY_OFFSET: usize = 2 + term::BINARY_HEAD;

/// An object that is being written.
#[derive(Clone, Copy)]
pub(super) struct OpenObject {
    /// Where its term begins.
    head: usize,
    /// How many members the objects around it have so far.
    outer_members: usize,
}

/// The start of an object's term, the count of its members still zero.
const OBJECT_HEAD: [u8; 7] = [term::TUPLE, 1, term::LIST, 0, 0, 0, 0];

/// See the module.
pub(super) struct Scanner<'a> {
    input: &'a str,
    at: usize,
    kept: usize,
    depth: usize,
    text: Vec<u8>,
    term: Vec<u8>,
    members: Vec<Member>,
}

impl<'a> Scanner<'a> {
    /// A scanner at the first value of `input`.
    pub(super) fn new(input: &'a [u8]) -> Result<Self, JsonError> {
        let input = std::str::from_utf8(input).map_err(|_| JsonError::Invalid)?;
        let mut scanner = Self {
            input,
            at: 0,
            kept: 0,
            depth: 0,
            text: Vec::new(),
            term: Vec::new(),
            members: Vec::new(),
        };
        scanner.space();
        scanner.clear();
        Ok(scanner)
    }

    /// Makes room for outputs about as long as the input.
    pub(super) fn reserve(&mut self) {
        self.text.reserve(self.input.len());
        // Each value costs a few bytes more in a term than in text.
        self.term.reserve(self.input.len() + self.input.len() / 2);
        self.members.reserve(self.input.len().min(1024) / 32);
    }

    /// Forgets all that was written; what follows is written from here on.
    pub(super) fn clear(&mut self) {
        self.text.clear();
        self.term.clear();
        self.members.clear();
        self.kept = self.at;
    }

    /// The text and the term written so far.
    pub(super) fn output(&mut self) -> (&mut Vec<u8>, &mut Vec<u8>) {
        self.flush(self.at);
        (&mut self.text, &mut self.term)
    }

    /// Nothing but white space may follow.
    pub(super) fn end(&mut self) -> Result<(), JsonError> {
        self.space();
        if self.at == self.input.len() {
            Ok(())
        } else {
            Err(JsonError::Invalid)
        }
    }

    /// Runs `read` as though the value began at the surface, so that a document may be as deep
    /// inside of a bulk request as alone.
    pub(super) fn at_surface<T>(&mut self, read: impl FnOnce(&mut Self) -> T) -> T {
        let depth = std::mem::take(&mut self.depth);
        let answer = read(self);
        self.depth = depth;
        answer
    }

    // ---- The input.

    /// The next byte; zero, which is valid nowhere, at the end.
    pub(super) fn peek(&self) -> u8 {
        self.input.as_bytes().get(self.at).copied().unwrap_or(0)
    }

    /// Where the next byte stands.
    pub(super) fn at(&self) -> usize {
        self.at
    }

    /// The input from `start` to here.
    pub(super) fn since(&self, start: usize) -> &'a str {
        self.input.get(start..self.at).unwrap_or_default()
    }

    fn expect(&mut self, byte: u8) -> Result<(), JsonError> {
        if self.peek() == byte {
            self.at += 1;
            Ok(())
        } else {
            Err(JsonError::Invalid)
        }
    }

    /// Leaves out white space.
    pub(super) fn space(&mut self) {
        if self.peek() <= b' ' {
            self.space_run();
        }
    }

    #[inline(never)]
    fn space_run(&mut self) {
        let start = self.at;
        while matches!(self.peek(), b' ' | b'\t' | b'\n' | b'\r') {
            self.at += 1;
        }
        if self.at > start {
            self.flush(start);
            self.kept = self.at;
        }
    }

    fn enter(&mut self) -> Result<(), JsonError> {
        self.depth += 1;
        if self.depth > MAX_DEPTH {
            return Err(JsonError::TooDeep);
        }
        self.at += 1;
        self.space();
        Ok(())
    }

    fn leave(&mut self) {
        self.depth -= 1;
        self.at += 1;
    }

    /// After an item: whether another one follows. Stops before the closing bracket.
    fn comma(&mut self, close: u8) -> Result<bool, JsonError> {
        self.space();
        let next = self.peek();
        if next == b',' {
            self.at += 1;
            self.space();
            Ok(true)
        } else if next == close {
            Ok(false)
        } else {
            Err(JsonError::Invalid)
        }
    }

    fn colon(&mut self) -> Result<(), JsonError> {
        self.space();
        self.expect(b':')?;
        self.space();
        Ok(())
    }

    // ---- The normal text.

    /// Copies the run that ends at `end`.
    fn flush(&mut self, end: usize) {
        if let Some(run) = self.input.as_bytes().get(self.kept..end) {
            self.text.extend_from_slice(run);
            self.kept = end;
        }
    }

    /// Where in the normal text the next byte will stand.
    fn text_position(&self) -> usize {
        self.text.len() + (self.at - self.kept)
    }

    /// Leaves out all text since `position`, whether or not it was copied.
    fn forget_text_since(&mut self, position: usize) {
        match position.checked_sub(self.text.len()) {
            Some(pending) => self.flush(self.kept + pending),
            None => self.text.truncate(position),
        }
        self.kept = self.at;
    }

    // ---- Values, written to both outputs.

    /// Any value.
    pub(super) fn value(&mut self) -> Result<(), JsonError> {
        match self.peek() {
            b'"' => self.string(),
            b'{' => self.object(),
            b'[' => self.array(),
            b't' => self.literal("true"),
            b'f' => self.literal("false"),
            b'n' => self.literal("null"),
            b'-' | b'0'..=b'9' => self.number(),
            _ => Err(JsonError::Invalid),
        }
    }

    fn literal(&mut self, name: &'static str) -> Result<(), JsonError> {
        let rest = self.input.as_bytes().get(self.at..).unwrap_or_default();
        if !rest.starts_with(name.as_bytes()) {
            return Err(JsonError::Invalid);
        }
        self.at += name.len();
        term::put_atom(&mut self.term, name);
        Ok(())
    }

    fn array(&mut self) -> Result<(), JsonError> {
        self.enter()?;
        let head = self.term.len();
        term::put_list_head(&mut self.term);
        let mut count = 0;
        let mut all_small = true;
        if self.peek() != b']' {
            loop {
                let start = self.term.len();
                self.value()?;
                all_small &= term::is_small_integer(&self.term, start);
                count += 1;
                if !self.comma(b']')? {
                    break;
                }
            }
        }
        self.leave();
        match u16::try_from(count) {
            Ok(0) => {
                self.term.truncate(head);
                self.term.push(term::NIL);
            }
            Ok(count) if all_small => term::make_string(&mut self.term, head, count),
            Ok(_) | Err(_) => {
                self.term.push(term::NIL);
                term::set_count(&mut self.term, head, count)?;
            }
        }
        Ok(())
    }

    fn object(&mut self) -> Result<(), JsonError> {
        let object = self.open_object()?;
        if self.peek() != b'}' {
            loop {
                self.key()?;
                self.value()?;
                if !self.comma(b'}')? {
                    break;
                }
            }
        }
        self.close_object(object)
    }

    /// Reads the opening brace.
    pub(super) fn open_object(&mut self) -> Result<OpenObject, JsonError> {
        self.enter()?;
        let head = self.term.len();
        self.term.extend_from_slice(&OBJECT_HEAD);
        let outer_members = self.members.len();
        Ok(OpenObject {
            head,
            outer_members,
        })
    }

    /// Reads the key of a member and the colon behind it, and begins that member.
    pub(super) fn key(&mut self) -> Result<(), JsonError> {
        if self.peek() != b'"' {
            return Err(JsonError::Invalid);
        }
        self.members.push(Member {
            text: u32::try_from(self.text_position()).map_err(|_| JsonError::Invalid)?,
            term: u32::try_from(self.term.len()).map_err(|_| JsonError::Invalid)?,
        });
        self.term.extend_from_slice(&[term::TUPLE, 2]);
        self.string()?;
        self.colon()
    }

    /// The key that was read last, decoded, before its value is.
    pub(super) fn last_key(&self) -> &[u8] {
        self.members
            .last()
            .and_then(|member| self.term.get(offset(member.term) + KEY_OFFSET..))
            .unwrap_or_default()
    }

    /// After a value: whether another member follows. Stops before the closing brace.
    pub(super) fn member_follows(&mut self) -> Result<bool, JsonError> {
        self.comma(b'}')
    }

    /// Leaves the member that was begun last out of both outputs, with all read since, which
    /// includes the comma behind it.
    pub(super) fn forget_member(&mut self) {
        if let Some(member) = self.members.pop() {
            self.term.truncate(offset(member.term));
            self.forget_text_since(offset(member.text));
        }
    }

    /// Removes a comma that stands before the closing brace since the members behind it were
    /// forgotten.
    pub(super) fn trim_comma(&mut self) {
        self.flush(self.at);
        if self.text.last() == Some(&b',') {
            self.text.pop();
        }
    }

    /// Reads the closing brace, and removes members that a later one replaces.
    pub(super) fn close_object(&mut self, object: OpenObject) -> Result<(), JsonError> {
        let OpenObject {
            head,
            outer_members,
        } = object;
        let members = self.members.get(outer_members..).unwrap_or_default();
        let mut count = members.len();
        if count == 0 {
            self.term.truncate(head);
            self.term.extend_from_slice(&[term::TUPLE, 1, term::NIL]);
        } else {
            if count > 1
                && let Some(replaced) =
                    duplicate_keys::replaced(count, |index| self.key_of(members.get(index)))
            {
                count -= replaced.iter().filter(|&&gone| gone).count();
                self.remove_members(outer_members, &replaced);
            }
            self.term.push(term::NIL);
            term::set_count(&mut self.term, head + 2, count)?;
        }
        self.members.truncate(outer_members);
        self.leave();
        Ok(())
    }

    fn key_of(&self, member: Option<&Member>) -> &[u8] {
        let start = member.map_or(0, |member| offset(member.term) + KEY_OFFSET);
        let length = self
            .term
            .get(..start)
            .and_then(<[u8]>::last_chunk::<4>)
            .map_or(0, |length| offset(u32::from_be_bytes(*length)));
        self.term.get(start..start + length).unwrap_or_default()
    }

    /// Closes the gaps of members that were replaced. The last member never is, so that each one
    /// before it ends with its comma.
    fn remove_members(&mut self, outer_members: usize, replaced: &[bool]) {
        self.flush(self.at);
        let members = self.members.get(outer_members..).unwrap_or_default();
        let end = Member {
            text: u32::try_from(self.text.len()).unwrap_or(u32::MAX),
            term: u32::try_from(self.term.len()).unwrap_or(u32::MAX),
        };
        let ends = members.iter().skip(1).chain(std::iter::once(&end));
        let first = members.first().copied().unwrap_or(end);
        let mut text_end = offset(first.text);
        let mut term_end = offset(first.term);
        for ((member, next), &gone) in members.iter().zip(ends).zip(replaced) {
            if !gone {
                let text = offset(member.text)..offset(next.text);
                let term = offset(member.term)..offset(next.term);
                let (text_length, term_length) = (text.len(), term.len());
                self.text.copy_within(text, text_end);
                self.term.copy_within(term, term_end);
                text_end += text_length;
                term_end += term_length;
            }
        }
        self.text.truncate(text_end);
        self.term.truncate(term_end);
    }
}

/// A place in an output. Outputs stay below 4 GiB, which `key` makes sure of.
fn offset(position: u32) -> usize {
    usize::try_from(position).unwrap_or(usize::MAX)
}
