//! The frames between the server and a worker, written and read on both sides.
//!
//! A frame is its length in four bytes (little endian), a kind, and fields; a field is a number
//! or a text with its length before it. Nothing in a text can be taken for a frame, so what a
//! function emits cannot speak for the worker. Each side refuses a frame that is longer than it
//! allows or that ends in the middle of a field.

/// Both sides say it first; a binary replaced under a running server is noticed by it.
pub(crate) const VERSION: u32 = 2;

/// Bytes before the fields: the length of what follows it, and the kind.
pub(crate) const HEAD_BYTES: usize = 5;

/// Declares the kinds of one direction: their numbers, and the way back.
macro_rules! kinds {
    ($(#[$meta:meta])* $name:ident { $($(#[$doc:meta])* $kind:ident = $number:literal,)* }) => {
        $(#[$meta])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub(crate) enum $name { $($(#[$doc])* $kind,)* }

        impl $name {
            /// The number on the wire.
            pub(crate) fn number(self) -> u8 {
                match self { $(Self::$kind => $number,)* }
            }

            /// What the number means, if anything.
            pub(crate) fn parse(number: u8) -> Option<Self> {
                match number { $($number => Some(Self::$kind),)* _ => None }
            }
        }
    };
}

kinds! {
    /// What the server sends.
    Request {
        /// Version, bytes of memory, milliseconds of time. The first frame.
        Setup = 1,
        /// Program number, program kind, sources: from now on it can be run.
        Load = 2,
        /// Library and `(name, source)`s, to be compiled and forgotten.
        Compile = 3,
        /// Program number, careful or not, lines to skip, action, inputs.
        Run = 4,
        /// Program number, name, head, request: a list function.
        List = 5,
        /// A JSON array of rows for the list at work; empty: there are no more.
        Rows = 6,
    }
}

kinds! {
    /// What the worker answers.
    Answer {
        /// Version, and what could not be confined.
        Ready = 1,
        /// The program is loaded, or the functions compile.
        Done = 2,
        /// The whole call failed: fault, name or error, reason.
        Failed = 3,
        /// Answers of a run so far, one line each.
        Lines = 4,
        /// The run or the list is over: [`Ending`].
        Ended = 5,
        /// A line that a function logged.
        Log = 6,
        /// The list asks for rows.
        WantRows = 7,
        /// JSON of the list's status and headers.
        Start = 8,
        /// Text of the list.
        Chunk = 9,
    }
}

kinds! {
    /// How a program is made of its sources.
    ProgramKind {
        /// Library, then map functions.
        Map = 1,
        /// Library, then reduce functions.
        Reduce = 2,
        /// A design document.
        Design = 3,
    }
}

kinds! {
    /// What a run does with each input.
    Action {
        /// The input is a document; a line for each map function.
        Map = 1,
        /// The input is `[function,keys,values]`.
        Reduce = 2,
        /// The input is `[newDoc,oldDoc,userCtx,secObj]`.
        Validate = 3,
        /// The input is a document; the action has the filter's name and the request.
        Filter = 4,
        /// The input is a document; the action has the view's name.
        ViewFilter = 5,
        /// The input is the array of arguments; the action has the path.
        Call = 6,
        /// The input is the array of arguments of a function that answers with a value; the
        /// action has the path.
        Answer = 7,
    }
}

kinds! {
    /// How a run ended.
    Ending {
        /// All inputs are answered.
        Whole = 1,
        /// All inputs are answered, and the worker ends itself: it has debris it cannot clear.
        Spent = 2,
        /// The unit after the last line ran out of memory, and the worker ends itself.
        Memory = 3,
        /// The unit of the last line was stopped for time, and the worker ends itself: what it
        /// was doing, such as loading a module, was left half done.
        Stopped = 4,
    }
}

kinds! {
    /// Why a call failed as a whole.
    Fault {
        /// A source is not a function: name, reason.
        Compilation = 1,
        /// No such function: sentence.
        Missing = 2,
        /// It threw: error, reason.
        Threw = 3,
        /// It was stopped for time.
        TimedOut = 4,
        /// It was stopped for memory; the worker ends itself.
        Memory = 5,
    }
}

/// Writes frames into one buffer.
#[derive(Debug, Default)]
pub(crate) struct FrameWriter {
    bytes: Vec<u8>,
    start: usize,
}

impl FrameWriter {
    /// Begins a frame.
    pub(crate) fn begin(&mut self, kind: u8) -> &mut Self {
        self.start = self.bytes.len();
        self.bytes.extend_from_slice(&[0; 4]);
        self.bytes.push(kind);
        self
    }

    /// A small number.
    pub(crate) fn byte(&mut self, value: u8) -> &mut Self {
        self.bytes.push(value);
        self
    }

    /// A number.
    pub(crate) fn number(&mut self, value: u64) -> &mut Self {
        self.bytes.extend_from_slice(&value.to_le_bytes());
        self
    }

    /// A text with its length.
    pub(crate) fn text(&mut self, text: &[u8]) -> &mut Self {
        self.number(text.len() as u64);
        self.bytes.extend_from_slice(text);
        self
    }

    /// A JSON array of JSON texts, as one text.
    pub(crate) fn array<T: AsRef<[u8]>>(&mut self, texts: &[T]) -> &mut Self {
        self.written(|bytes| put_array(bytes, texts))
    }

    /// A text that is written in place.
    pub(crate) fn written(&mut self, write: impl FnOnce(&mut Vec<u8>)) -> &mut Self {
        let at = self.bytes.len();
        self.number(0);
        let start = self.bytes.len();
        write(&mut self.bytes);
        let length = (self.bytes.len() - start) as u64;
        if let Some(field) = self.bytes.get_mut(at..).and_then(<[u8]>::first_chunk_mut) {
            *field = length.to_le_bytes();
        }
        self
    }

    /// A text that may be missing.
    pub(crate) fn option(&mut self, text: Option<&[u8]>) -> &mut Self {
        match text {
            None => self.byte(0),
            Some(text) => self.byte(1).text(text),
        }
    }

    /// Bytes to the end of the frame, without a length.
    pub(crate) fn rest(&mut self, bytes: &[u8]) -> &mut Self {
        self.bytes.extend_from_slice(bytes);
        self
    }

    /// Ends the frame. Longer ones than four bytes can say are cut off by their reader, who
    /// refuses them long before.
    pub(crate) fn end(&mut self) -> &mut Self {
        let length = self.bytes.len().saturating_sub(self.start + 4);
        let length = u32::try_from(length).unwrap_or(u32::MAX);
        if let Some(head) = self
            .bytes
            .get_mut(self.start..)
            .and_then(|frame| frame.first_chunk_mut::<4>())
        {
            *head = length.to_le_bytes();
        }
        self
    }

    /// What is written so far.
    pub(crate) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Forgets it, and most of the room it took.
    pub(crate) fn clear(&mut self) {
        self.bytes.clear();
        self.bytes.shrink_to(1 << 20);
    }
}

/// Writes a JSON array of JSON texts.
pub(crate) fn put_array<T: AsRef<[u8]>>(bytes: &mut Vec<u8>, texts: &[T]) {
    bytes.push(b'[');
    for (at, text) in texts.iter().enumerate() {
        if at > 0 {
            bytes.push(b',');
        }
        bytes.extend_from_slice(text.as_ref());
    }
    bytes.push(b']');
}

/// The length of the rest and the kind, from the first bytes of a frame.
pub(crate) fn head(head: [u8; HEAD_BYTES]) -> (usize, u8) {
    let [a, b, c, d, kind] = head;
    let length = u32::from_le_bytes([a, b, c, d]);
    (
        usize::try_from(length)
            .unwrap_or(usize::MAX)
            .saturating_sub(1),
        kind,
    )
}

/// Reads the fields of a frame; `None` when it ends too early.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Fields<'f>(pub(crate) &'f [u8]);

impl<'f> Fields<'f> {
    /// A small number.
    pub(crate) fn byte(&mut self) -> Option<u8> {
        let (first, rest) = self.0.split_first()?;
        self.0 = rest;
        Some(*first)
    }

    /// A number.
    pub(crate) fn number(&mut self) -> Option<u64> {
        let (first, rest) = self.0.split_first_chunk::<8>()?;
        self.0 = rest;
        Some(u64::from_le_bytes(*first))
    }

    /// A text.
    pub(crate) fn text(&mut self) -> Option<&'f [u8]> {
        let length = usize::try_from(self.number()?).ok()?;
        let (text, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        Some(text)
    }

    /// A text that is UTF-8.
    pub(crate) fn string(&mut self) -> Option<&'f str> {
        std::str::from_utf8(self.text()?).ok()
    }

    /// A text that may be missing.
    pub(crate) fn option(&mut self) -> Option<Option<&'f str>> {
        match self.byte()? {
            0 => Some(None),
            _ => self.string().map(Some),
        }
    }

    /// Texts, their number before them.
    pub(crate) fn strings(&mut self) -> Option<Vec<&'f str>> {
        let count = self.number()?;
        (0..count).map(|_| self.string()).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn fields_come_back(number: u64, text: Vec<u8>, other: Option<String>, cut in 0usize..40) {
            let mut frame = FrameWriter::default();
            frame.begin(7).number(number).text(&text).option(other.as_deref().map(str::as_bytes)).end();
            let (length, kind) = head(*frame.bytes().first_chunk().unwrap());
            let fields = &frame.bytes()[HEAD_BYTES..];
            prop_assert_eq!((length, kind), (fields.len(), 7));
            let mut reader = Fields(fields);
            prop_assert_eq!(reader.number(), Some(number));
            prop_assert_eq!(reader.text(), Some(&text[..]));
            prop_assert_eq!(reader.option(), Some(other.as_deref()));
            prop_assert!(reader.0.is_empty());
            let mut short = Fields(&fields[..fields.len().saturating_sub(cut + 1)]);
            let whole = short.number().and_then(|_| short.text()).and_then(|_| short.option());
            prop_assert_eq!(whole, None);
        }
    }
}
