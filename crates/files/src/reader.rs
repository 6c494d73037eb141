//! Bytes on their way out, a chunk at a time: whole, in part, or decompressed.
//!
//! A file is read on the blocking pool, a chunk when one is asked for, so a slow client costs one
//! chunk of memory. Inline bytes are handed out as slices of what they are.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::{Bytes, BytesMut};
use tokio::task::{JoinHandle, spawn_blocking};

use crate::backend::BackendFile;
use crate::blob::Digest;
use crate::error::ReadError;
use crate::gzip::{Decompressor, Progress};

/// How many bytes are read at a time.
pub(crate) const CHUNK: usize = 64 * 1024;

/// The stored bytes of one blob, opened.
#[derive(Clone, Debug)]
pub struct BlobReader {
    source: Source,
    length: u64,
}

#[derive(Clone, Debug)]
enum Source {
    Inline(Bytes),
    File(Arc<dyn BackendFile>, Digest),
}

impl BlobReader {
    /// Reads a blob whose bytes are at hand.
    #[must_use]
    pub fn inline(bytes: Bytes) -> Self {
        let length = u64::try_from(bytes.len()).unwrap_or(u64::MAX);
        Self {
            source: Source::Inline(bytes),
            length,
        }
    }

    pub(crate) const fn of_file(file: Arc<dyn BackendFile>, digest: Digest, length: u64) -> Self {
        Self {
            source: Source::File(file, digest),
            length,
        }
    }

    /// How many bytes are stored.
    #[must_use]
    pub const fn stored_length(&self) -> u64 {
        self.length
    }

    /// All stored bytes.
    #[must_use]
    pub fn read_all(&self) -> Chunks {
        self.chunks(0, self.length, None)
    }

    /// `length` stored bytes from `offset` on.
    ///
    /// # Errors
    /// If there are not that many.
    pub fn read_range(&self, offset: u64, length: u64) -> Result<Chunks, ReadError> {
        match offset.checked_add(length) {
            Some(end) if end <= self.length => Ok(self.chunks(offset, end, None)),
            _ => Err(ReadError::OutOfRange {
                length: self.length,
            }),
        }
    }

    /// What the stored bytes are the gzip form of.
    #[must_use]
    pub fn decompress(&self) -> Chunks {
        self.chunks(0, self.length, Some((Decompressor::new(), Bytes::new())))
    }

    fn chunks(
        &self,
        position: u64,
        end: u64,
        decompressor: Option<(Decompressor, Bytes)>,
    ) -> Chunks {
        let cursor = Cursor {
            source: self.source.clone(),
            position,
            end,
            length: self.length,
            decompressor,
        };
        Chunks {
            state: State::Idle(Box::new(cursor)),
        }
    }
}

/// A stream of chunks of at most 64 KiB (inline bytes that are not decompressed come in one).
/// After the last chunk or an error comes nothing.
#[derive(Debug)]
pub struct Chunks {
    state: State,
}

type Step = (Box<Cursor>, Result<Option<Bytes>, ReadError>);

#[derive(Debug)]
enum State {
    Idle(Box<Cursor>),
    Reading(JoinHandle<Step>),
    Done,
}

impl Chunks {
    /// The next chunk, never an empty one.
    pub async fn next(&mut self) -> Option<Result<Bytes, ReadError>> {
        std::future::poll_fn(|context| self.poll_next(context)).await
    }

    /// The next chunk, for who implements a stream or a body with it.
    pub fn poll_next(
        &mut self,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Bytes, ReadError>>> {
        loop {
            let (cursor, read) = match std::mem::replace(&mut self.state, State::Done) {
                State::Done => return Poll::Ready(None),
                State::Idle(mut cursor) => match &cursor.source {
                    Source::File(..) => {
                        self.state = State::Reading(spawn_blocking(move || {
                            let read = cursor.next();
                            (cursor, read)
                        }));
                        continue;
                    }
                    Source::Inline(_) => {
                        let read = cursor.next();
                        (cursor, read)
                    }
                },
                State::Reading(mut reading) => match Pin::new(&mut reading).poll(context) {
                    Poll::Pending => {
                        self.state = State::Reading(reading);
                        return Poll::Pending;
                    }
                    Poll::Ready(Ok(step)) => step,
                    Poll::Ready(Err(_)) => return Poll::Ready(Some(Err(ReadError::Interrupted))),
                },
            };
            if matches!(read, Ok(Some(_))) {
                self.state = State::Idle(cursor);
            }
            return Poll::Ready(read.transpose());
        }
    }
}

/// A place in a blob. Blocks if that is a file.
#[derive(Debug)]
struct Cursor {
    source: Source,
    position: u64,
    end: u64,
    /// How long the file should be.
    length: u64,
    /// With what it has read and not yet used.
    decompressor: Option<(Decompressor, Bytes)>,
}

impl Cursor {
    fn next(&mut self) -> Result<Option<Bytes>, ReadError> {
        let Some((mut decompressor, mut input)) = self.decompressor.take() else {
            return self.read();
        };
        let mut output = Vec::with_capacity(CHUNK);
        let mut progress = Progress::Paused;
        while progress == Progress::Paused && output.len() < output.capacity() {
            if input.is_empty() {
                input = self.read()?.unwrap_or_default();
            }
            let at_end = self.position == self.end;
            let step = decompressor.step(&mut input, &mut output, at_end);
            progress = step.map_err(|_| ReadError::CorruptGzip)?;
        }
        if progress == Progress::Paused {
            self.decompressor = Some((decompressor, input));
        } else {
            // Nothing more is to be read, and no decompressor may say otherwise.
            self.position = self.end;
        }
        Ok(if output.is_empty() {
            None
        } else {
            Some(Bytes::from(output))
        })
    }

    /// The next stored bytes.
    fn read(&mut self) -> Result<Option<Bytes>, ReadError> {
        let left = self.end - self.position;
        if left == 0 {
            return Ok(None);
        }
        let bytes = match &self.source {
            Source::Inline(bytes) => {
                let position = usize::try_from(self.position).unwrap_or(usize::MAX);
                let end = usize::try_from(self.end).unwrap_or(usize::MAX);
                bytes.slice(position.min(bytes.len())..end.min(bytes.len()))
            }
            Source::File(file, digest) => {
                let wanted = usize::try_from(left).unwrap_or(CHUNK).min(CHUNK);
                let mut buffer = BytesMut::zeroed(wanted);
                let read = file
                    .read_at(&mut buffer, self.position)
                    .map_err(ReadError::Io)?;
                if read == 0 {
                    let (digest, expected, found) = (*digest, self.length, self.position);
                    return Err(ReadError::WrongLength {
                        digest,
                        expected,
                        found,
                    });
                }
                buffer.truncate(read);
                buffer.freeze()
            }
        };
        self.position +=
            u64::try_from(bytes.len()).map_err(|error| ReadError::Io(io::Error::other(error)))?;
        Ok(Some(bytes))
    }
}
