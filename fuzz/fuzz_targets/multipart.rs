//! Multipart bodies from anybody: no input may panic, and how it is cut into chunks may not show.

#![no_main]

#[path = "../../crates/http/src/wire/multipart_reader.rs"]
#[allow(dead_code, reason = "the module is whole here and used in part")]
mod multipart_reader;

use bytes::Bytes;
use libfuzzer_sys::fuzz_target;
use multipart_reader::{Boundary, Event, MultipartError, MultipartReader};

/// The events of a body that comes in chunks of one size, with the data of a part in one piece.
fn read(body: &[u8], boundary: &Boundary, size: usize) -> (Vec<Event>, Result<(), MultipartError>) {
    let mut reader = MultipartReader::new(boundary, 16);
    let mut events: Vec<Event> = Vec::new();
    for chunk in body.chunks(size) {
        reader.feed(Bytes::copy_from_slice(chunk));
        loop {
            match reader.next_event() {
                Ok(Some(Event::Data(more))) => {
                    if let Some(Event::Data(before)) = events.last_mut() {
                        *before = Bytes::from([&before[..], &more].concat());
                    } else {
                        events.push(Event::Data(more));
                    }
                }
                Ok(Some(event)) => events.push(event),
                Ok(None) => break,
                Err(error) => return (events, Err(error)),
            }
        }
    }
    (events, reader.finish())
}

// The first byte is the size of the chunks, the text up to the first line end a `Content-Type`, and
// the rest the body.
fuzz_target!(|input: &[u8]| {
    let Some((size, input)) = input.split_first() else {
        return;
    };
    let mut fields = input.splitn(2, |byte| *byte == b'\n');
    let (Some(content_type), Some(body)) = (fields.next(), fields.next()) else {
        return;
    };
    let content_type = String::from_utf8_lossy(content_type);
    let boundary = Boundary::from_content_type(&content_type).or_else(|_| Boundary::new("B"));
    let Ok(boundary) = boundary else { return };
    let whole = read(body, &boundary, usize::MAX);
    assert_eq!(read(body, &boundary, usize::from(*size).max(1)), whole);
});
