//! gzip, byte for byte as `CouchDB` makes it, and back, both in bounded memory.
//!
//! An attachment's digest is the MD5 of its compressed bytes, and clients compare digests with
//! those of a `CouchDB` peer, so the compressor may not differ in a single bit: zlib itself, level
//! 8, 15 window bits, memory level 8, and the header that zlib writes on Unix. How the input is
//! cut into pieces does not change the output.

use std::io::{self, Write as _};

use bytes::{Buf as _, Bytes};
use flate2::write::GzEncoder;
use flate2::{Compression, Decompress, FlushDecompress, GzBuilder, Status};

use crate::error::UploadError;

/// `CouchDB`'s default `compression_level`.
const LEVEL: Compression = Compression::new(8);

/// The operating system that zlib names in its header on Unix.
const UNIX: u8 = 3;

/// How much input is compressed before its output is taken away, which bounds the output too.
const PIECE: usize = 16 * 1024;

/// A running compression.
#[derive(Debug)]
pub(crate) struct Compressor(GzEncoder<Vec<u8>>);

impl Compressor {
    pub(crate) fn new() -> Self {
        Self(
            GzBuilder::new()
                .operating_system(UNIX)
                .write(Vec::new(), LEVEL),
        )
    }

    /// Compresses some bytes and hands on what is ready, piece by piece.
    pub(crate) fn write(
        &mut self,
        bytes: &[u8],
        mut sink: impl FnMut(&[u8]) -> Result<(), UploadError>,
    ) -> Result<(), UploadError> {
        for piece in bytes.chunks(PIECE) {
            self.0.write_all(piece).map_err(UploadError::Io)?;
            let ready = self.0.get_mut();
            sink(ready)?;
            ready.clear();
        }
        Ok(())
    }

    /// The last bytes.
    pub(crate) fn finish(self) -> io::Result<Vec<u8>> {
        self.0.finish()
    }
}

/// The stored bytes are no gzip stream.
#[derive(Debug)]
pub(crate) struct Corrupt;

/// What a step of the decompression came to.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Progress {
    /// The output buffer is full, or all of the input is used up.
    Paused,
    /// Nothing comes after this, whatever the input still holds.
    Ended,
}

/// A running decompression of one or more gzip members, one after the other.
#[derive(Debug)]
pub(crate) struct Decompressor {
    inflate: Decompress,
    /// A whole member has been read and no byte of the next one.
    between_members: bool,
}

/// zlib's largest window.
const WINDOW_BITS: u8 = 15;

/// The first byte of every gzip member.
const MEMBER_START: u8 = 0x1f;

impl Decompressor {
    pub(crate) fn new() -> Self {
        Self {
            inflate: Decompress::new_gzip(WINDOW_BITS),
            between_members: false,
        }
    }

    /// Decompresses from `input`, which it shortens, into the free capacity of `output`.
    /// `at_end` says that no input will follow.
    pub(crate) fn step(
        &mut self,
        input: &mut Bytes,
        output: &mut Vec<u8>,
        at_end: bool,
    ) -> Result<Progress, Corrupt> {
        while output.len() < output.capacity() {
            if self.between_members {
                match input.first() {
                    Some(&MEMBER_START) => *self = Self::new(),
                    // Padding or rubbish after the end is none of the reader's business.
                    Some(_) => return Ok(Progress::Ended),
                    None if at_end => return Ok(Progress::Ended),
                    None => return Ok(Progress::Paused),
                }
            }
            let (read, written) = (self.inflate.total_in(), output.len());
            let status = self
                .inflate
                .decompress_vec(input, output, FlushDecompress::None)
                .map_err(|_| Corrupt)?;
            let used = usize::try_from(self.inflate.total_in() - read).map_err(|_| Corrupt)?;
            input.advance(used);
            if status == Status::StreamEnd {
                self.between_members = true;
            } else if used == 0 && output.len() == written {
                // Neither ate nor gave: it wants input. If none will come, the stream was cut.
                return if input.is_empty() && !at_end {
                    Ok(Progress::Paused)
                } else {
                    Err(Corrupt)
                };
            }
        }
        Ok(Progress::Paused)
    }
}

#[cfg(test)]
mod tests {
    use md5::{Digest as _, Md5};
    use proptest::prelude::*;

    use super::*;

    fn compress(pieces: &[&[u8]]) -> Vec<u8> {
        let mut compressor = Compressor::new();
        let mut out = Vec::new();
        for piece in pieces {
            let sink = |ready: &[u8]| {
                out.extend_from_slice(ready);
                Ok(())
            };
            compressor.write(piece, sink).unwrap();
        }
        out.extend(compressor.finish().unwrap());
        out
    }

    /// Decompresses as a reader with a small buffer would.
    fn decompress(mut stored: &[u8], piece: usize, room: usize) -> Result<Vec<u8>, Corrupt> {
        let mut decompressor = Decompressor::new();
        let (mut input, mut out) = (Bytes::new(), Vec::new());
        loop {
            if input.is_empty() {
                let (now, later) = stored.split_at(piece.min(stored.len()));
                (input, stored) = (Bytes::copy_from_slice(now), later);
            }
            let mut output = Vec::with_capacity(room);
            let at_end = stored.is_empty();
            let progress = decompressor.step(&mut input, &mut output, at_end)?;
            assert!(output.len() <= output.capacity());
            out.extend_from_slice(&output);
            if progress == Progress::Ended {
                return Ok(out);
            }
        }
    }

    /// Text that compresses neither well nor badly, the same on every machine.
    fn text(length: usize) -> Vec<u8> {
        let mut state = 1u32;
        let mut out = Vec::with_capacity(length + 16);
        while out.len() < length {
            state = state.wrapping_mul(1_103_515_245).wrapping_add(12_345);
            out.extend_from_slice(format!("{:x} ", (state >> 16) & 0xfff).as_bytes());
        }
        out.truncate(length);
        out
    }

    #[test]
    fn the_recorded_attachment_of_couchdb_comes_out_bit_for_bit() {
        let expected =
            b"\x1f\x8b\x08\0\0\0\0\0\0\x03\xcbH\xcd\xc9\xc9W(\xcf/\xcaI\x01\0\x85\x11J\r\x0b\0\0\0";
        assert_eq!(compress(&[b"hello world"]), expected);
    }

    #[test]
    fn a_megabyte_is_what_zlib_makes_of_it_elsewhere() {
        // zlib.compressobj(8, zlib.DEFLATED, 31, 8) of Python over the same text.
        let stored = compress(&[&text(1_000_000)]);
        assert_eq!(
            (stored.len(), hex(&Md5::digest(&stored))),
            (MEGABYTE_LENGTH, MEGABYTE_MD5.to_owned())
        );
    }

    const MEGABYTE_LENGTH: usize = 491_699;
    const MEGABYTE_MD5: &str = "9b251d2a0f5f7847b3964e5c0612b1bc";

    fn hex(bytes: &[u8]) -> String {
        bytes.iter().map(|byte| format!("{byte:02x}")).collect()
    }

    #[test]
    fn several_members_are_read_as_one_stream() {
        let mut stored = compress(&[b"hello "]);
        stored.extend(compress(&[]));
        stored.extend(compress(&[b"world"]));
        for (piece, room) in [(1, 1), (7, 3), (1000, 1000)] {
            assert_eq!(decompress(&stored, piece, room).unwrap(), b"hello world");
        }
    }

    #[test]
    fn what_follows_the_last_member_is_ignored() {
        let mut stored = compress(&[b"hello"]);
        stored.extend_from_slice(b"\0\0\0 rubbish");
        assert_eq!(decompress(&stored, 4, 100).unwrap(), b"hello");
    }

    #[test]
    fn a_cut_or_broken_stream_is_corrupt() {
        let stored = compress(&[&text(5000)]);
        for end in [0, 1, 9, 10, 100, stored.len() - 9, stored.len() - 1] {
            assert!(decompress(&stored[..end], 64, 64).is_err(), "{end}");
        }
        let mut wrong_sum = stored.clone();
        let at = stored.len() - 6;
        wrong_sum[at] ^= 1;
        assert!(decompress(&wrong_sum, 64, 64).is_err());
        assert!(decompress(b"plain text", 64, 64).is_err());
    }

    #[test]
    fn a_bomb_comes_out_a_buffer_at_a_time() {
        let stored = compress(&[&vec![0; 10_000_000]]);
        assert!(stored.len() < 20_000);
        assert_eq!(
            decompress(&stored, 65_536, 65_536).unwrap().len(),
            10_000_000
        );
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn the_pieces_of_the_input_do_not_show(seed in 0usize..1000, cuts in prop::collection::vec(0usize..200_000, 0..6)) {
            let text = text(200_000 + seed);
            let whole = compress(&[&text]);
            let mut cuts = cuts;
            cuts.extend([0, text.len()]);
            cuts.sort_unstable();
            let pieces: Vec<&[u8]> = cuts.windows(2).map(|cut| &text[cut[0]..cut[1]]).collect();
            prop_assert_eq!(&compress(&pieces), &whole);
            prop_assert_eq!(decompress(&whole, 1 + seed, 1 + seed * 3).unwrap(), text);
        }

        #[test]
        fn rubbish_never_panics(bytes in prop::collection::vec(any::<u8>(), 0..300), piece in 1usize..50) {
            let mut gzip = b"\x1f\x8b\x08\0\0\0\0\0\0\x03".to_vec();
            gzip.extend_from_slice(&bytes);
            // Either answer will do.
            drop(decompress(&bytes, piece, 50));
            drop(decompress(&gzip, piece, 50));
        }
    }
}
