//! The lines between the parts of a multipart answer, byte for byte as `CouchDB` writes them.
//!
//! The bodies of the parts are the caller's, who sends them between the lines that are made here;
//! nothing is read or written. Every piece begins with the delimiter that ends what was before it,
//! so a body is: a head, its content, the next head, …, the end.
//!
//! Names and types of attachments are whatever a client once wrote into a document, so no
//! control character of theirs may reach a header line.

use bytes::Bytes;

use crate::reader::Boundary;

const JSON: &str = "Content-Type: application/json";

/// An attachment that follows its document.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AttachmentPart<'a> {
    /// Its name in `_attachments`.
    pub name: &'a str,
    /// Its type there.
    pub content_type: &'a str,
    /// How many bytes are sent.
    pub length: u64,
    /// Whether these are gzip.
    pub gzip: bool,
}

impl AttachmentPart<'_> {
    fn headers(&self) -> String {
        let mut out = format!(
            "Content-Disposition: attachment; {}\r\nContent-Type: {}\r\nContent-Length: {}",
            filename_parameter(self.name),
            without_controls(self.content_type, ' '),
            self.length
        );
        if self.gzip {
            out.push_str("\r\nContent-Encoding: gzip");
        }
        out
    }
}

/// A document with attachments: `multipart/related`. Send [`Self::document_head`], the JSON, then
/// for each attachment [`Self::attachment_head`] and its bytes, then [`Self::end`]. A document of
/// which no attachment is sent is not multipart but plain JSON.
#[derive(Clone, Debug)]
pub struct RelatedWriter {
    boundary: Boundary,
}

impl RelatedWriter {
    /// A body with this boundary.
    #[must_use]
    pub const fn new(boundary: Boundary) -> Self {
        Self { boundary }
    }

    /// The body's `Content-Type`.
    #[must_use]
    pub fn content_type(&self) -> String {
        format!("multipart/related; boundary=\"{}\"", self.boundary.as_str())
    }

    /// How long the whole body will be, for a JSON text of that length and these attachments.
    #[must_use]
    pub fn content_length<'a>(
        &self,
        json_length: u64,
        attachments: impl IntoIterator<Item = AttachmentPart<'a>>,
    ) -> u64 {
        let lines = |lines: &Bytes| u64::try_from(lines.len()).unwrap_or(u64::MAX);
        let document = lines(&self.document_head())
            .saturating_add(json_length)
            .saturating_add(lines(&self.end()));
        attachments.into_iter().fold(document, |sum, attachment| {
            sum.saturating_add(lines(&self.attachment_head(&attachment)))
                .saturating_add(attachment.length)
        })
    }

    /// What stands before the JSON.
    #[must_use]
    pub fn document_head(&self) -> Bytes {
        Bytes::from(format!("--{}\r\n{JSON}\r\n\r\n", self.boundary.as_str()))
    }

    /// What stands before an attachment's bytes.
    #[must_use]
    pub fn attachment_head(&self, attachment: &AttachmentPart<'_>) -> Bytes {
        Bytes::from(format!(
            "\r\n--{}\r\n{}\r\n\r\n",
            self.boundary.as_str(),
            attachment.headers()
        ))
    }

    /// What stands after all.
    #[must_use]
    pub fn end(&self) -> Bytes {
        Bytes::from(format!("\r\n--{}--", self.boundary.as_str()))
    }
}

/// Several revisions in one answer: `multipart/mixed`. Send for each a head and its body (JSON
/// text, or a whole body of [`RelatedWriter`]), then [`Self::end`].
#[derive(Debug)]
pub struct MixedWriter {
    boundary: Boundary,
    form: Form,
    has_parts: bool,
}

/// The two requests that are answered so do not agree on the line ends around.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Form {
    OpenRevs,
    BulkGet,
}

/// What a part of a mixed body is.
#[derive(Clone, Copy, Debug)]
pub enum MixedPart<'a> {
    /// The JSON of a document.
    Document,
    /// JSON that says why there is none.
    Error,
    /// A document with attachments.
    Related {
        /// How it will be written.
        writer: &'a RelatedWriter,
        /// The document's id, which `_bulk_get` writes into the head.
        id: &'a str,
        /// Its revision, likewise.
        rev: &'a str,
    },
}

impl MixedWriter {
    /// The answer to `GET /db/doc?open_revs=…`.
    #[must_use]
    pub const fn open_revs(boundary: Boundary) -> Self {
        Self {
            boundary,
            form: Form::OpenRevs,
            has_parts: false,
        }
    }

    /// The answer to `POST /db/_bulk_get`; `CouchDB`'s boundary there begins with two dashes, see
    /// [`Boundary::from_random_with_dashes`].
    #[must_use]
    pub const fn bulk_get(boundary: Boundary) -> Self {
        Self {
            boundary,
            form: Form::BulkGet,
            has_parts: false,
        }
    }

    /// The body's `Content-Type`.
    #[must_use]
    pub fn content_type(&self) -> String {
        format!("multipart/mixed; boundary=\"{}\"", self.boundary.as_str())
    }

    /// What stands before the next part.
    #[must_use]
    pub fn part_head(&mut self, part: &MixedPart<'_>) -> Bytes {
        let headers = match (part, self.form) {
            (MixedPart::Document, _) => JSON.to_owned(),
            (MixedPart::Error, _) => format!("{JSON}; error=\"true\""),
            (MixedPart::Related { writer, .. }, Form::OpenRevs) => {
                format!("Content-Type: {}", writer.content_type())
            }
            (MixedPart::Related { writer, id, rev }, Form::BulkGet) => format!(
                "X-Doc-Id: {}\r\nX-Rev-Id: {}\r\nContent-Type: multipart/related; boundary={}",
                without_controls(id, '_'),
                without_controls(rev, '_'),
                writer.boundary.as_str()
            ),
        };
        let delimiter = self.delimiter();
        self.has_parts = true;
        Bytes::from(format!("{delimiter}\r\n{headers}\r\n\r\n"))
    }

    /// What stands after all. A `_bulk_get` of nothing is answered with nothing.
    #[must_use]
    pub fn end(&self) -> Bytes {
        match self.form {
            Form::OpenRevs => Bytes::from(format!("{}--", self.delimiter())),
            Form::BulkGet if self.has_parts => Bytes::from(format!("{}--\r\n", self.delimiter())),
            Form::BulkGet => Bytes::new(),
        }
    }

    /// The next delimiter: the first of `open_revs` stands at the very beginning.
    fn delimiter(&self) -> String {
        let line_end = if self.form == Form::OpenRevs && !self.has_parts {
            ""
        } else {
            "\r\n"
        };
        format!("{line_end}--{}", self.boundary.as_str())
    }
}

/// `filename="…"`, as it is but for quotes and backslashes, which are escaped. A name that a
/// header cannot carry so is written a second time in the form of RFC 8187.
fn filename_parameter(name: &str) -> String {
    let mut out = String::with_capacity(name.len() + 16);
    out.push_str("filename=\"");
    for character in name.chars() {
        match character {
            '"' | '\\' => out.extend(['\\', character]),
            control if control.is_ascii_control() => out.push('_'),
            other => out.push(other),
        }
    }
    out.push('"');
    if name.contains(|character: char| character.is_ascii_control()) {
        out.push_str("; filename*=UTF-8''");
        for byte in name.bytes() {
            if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~') {
                out.push(char::from(byte));
            } else {
                out.push_str(&format!("%{byte:02X}"));
            }
        }
    }
    out
}

/// The text with something harmless for each control character.
fn without_controls(text: &str, instead: char) -> String {
    text.chars()
        .map(|character| {
            if character.is_ascii_control() {
                instead
            } else {
                character
            }
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::reader::{Event, MultipartReader, PartHeaders};

    fn boundary(text: &str) -> Boundary {
        Boundary::new(text).unwrap()
    }

    fn related(
        writer: &RelatedWriter,
        json: &[u8],
        attachments: &[(AttachmentPart<'_>, &[u8])],
    ) -> Vec<u8> {
        let mut body = writer.document_head().to_vec();
        body.extend_from_slice(json);
        for (attachment, bytes) in attachments {
            body.extend_from_slice(&writer.attachment_head(attachment));
            body.extend_from_slice(bytes);
        }
        body.extend_from_slice(&writer.end());
        let length = writer.content_length(
            json.len() as u64,
            attachments.iter().map(|(attachment, _)| *attachment),
        );
        assert_eq!(length, body.len() as u64);
        body
    }

    fn mixed(mut writer: MixedWriter, parts: &[(MixedPart<'_>, &[u8])]) -> Vec<u8> {
        let mut body = Vec::new();
        for (part, bytes) in parts {
            body.extend_from_slice(&writer.part_head(part));
            body.extend_from_slice(bytes);
        }
        body.extend_from_slice(&writer.end());
        body
    }

    /// The headers and data of the parts of a body.
    fn read(body: &[u8], boundary: &Boundary) -> Vec<(PartHeaders, Vec<u8>)> {
        let mut reader = MultipartReader::new(boundary, 1000);
        reader.feed(Bytes::copy_from_slice(body));
        let mut parts = Vec::new();
        while let Some(event) = reader.next_event().unwrap() {
            match event {
                Event::PartStart(headers) => parts.push((headers, Vec::new())),
                Event::Data(data) => parts.last_mut().unwrap().1.extend_from_slice(&data),
                Event::PartEnd | Event::End => {}
            }
        }
        reader.finish().unwrap();
        parts
    }

    #[test]
    fn a_document_with_an_attachment_is_written_as_recorded() {
        let writer = RelatedWriter::new(boundary("c9bf8fb254252c7f51487203c8fbd72c"));
        assert_eq!(
            writer.content_type(),
            "multipart/related; boundary=\"c9bf8fb254252c7f51487203c8fbd72c\""
        );
        let json = br#"{"_id":"att","_rev":"1-abdb3616f30d8d7c5403c939aee45fea","_attachments":{"f.txt":{"content_type":"text/plain","revpos":1,"digest":"md5-7mkg+nM0HN26sZkLN8KVSA==","length":11,"follows":true,"encoding":"gzip","encoded_length":31}}}"#;
        let attachment = AttachmentPart {
            name: "f.txt",
            content_type: "text/plain",
            length: 31,
            gzip: true,
        };
        let gzip = b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\x03\xcbH\xcd\xc9\xc9W(\xcf/\xcaI\x01\x00\x85\x11J\r\x0b\x00\x00\x00";
        let recorded = b"--c9bf8fb254252c7f51487203c8fbd72c\r\nContent-Type: application/json\r\n\r\n{\"_id\":\"att\",\"_rev\":\"1-abdb3616f30d8d7c5403c939aee45fea\",\"_attachments\":{\"f.txt\":{\"content_type\":\"text/plain\",\"revpos\":1,\"digest\":\"md5-7mkg+nM0HN26sZkLN8KVSA==\",\"length\":11,\"follows\":true,\"encoding\":\"gzip\",\"encoded_length\":31}}}\r\n--c9bf8fb254252c7f51487203c8fbd72c\r\nContent-Disposition: attachment; filename=\"f.txt\"\r\nContent-Type: text/plain\r\nContent-Length: 31\r\nContent-Encoding: gzip\r\n\r\n\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\x03\xcbH\xcd\xc9\xc9W(\xcf/\xcaI\x01\x00\x85\x11J\r\x0b\x00\x00\x00\r\n--c9bf8fb254252c7f51487203c8fbd72c--";
        assert_eq!(related(&writer, json, &[(attachment, gzip)]), recorded);
    }

    #[test]
    fn open_revs_are_written_as_recorded() {
        let writer = MixedWriter::open_revs(boundary("f4e90815abeb80db3c73948cab3b2054"));
        assert_eq!(
            writer.content_type(),
            "multipart/mixed; boundary=\"f4e90815abeb80db3c73948cab3b2054\""
        );
        let parts: Vec<(MixedPart<'_>, &[u8])> = vec![
            (
                MixedPart::Document,
                br#"{"_id":"c","_rev":"2-bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb","v":2}"#,
            ),
            (
                MixedPart::Document,
                br#"{"_id":"c","_rev":"2-cccccccccccccccccccccccccccccccc","v":3}"#,
            ),
            (
                MixedPart::Document,
                br#"{"_id":"c","_rev":"3-dddddddddddddddddddddddddddddddd","_deleted":true}"#,
            ),
        ];
        let recorded = b"--f4e90815abeb80db3c73948cab3b2054\r\nContent-Type: application/json\r\n\r\n{\"_id\":\"c\",\"_rev\":\"2-bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb\",\"v\":2}\r\n--f4e90815abeb80db3c73948cab3b2054\r\nContent-Type: application/json\r\n\r\n{\"_id\":\"c\",\"_rev\":\"2-cccccccccccccccccccccccccccccccc\",\"v\":3}\r\n--f4e90815abeb80db3c73948cab3b2054\r\nContent-Type: application/json\r\n\r\n{\"_id\":\"c\",\"_rev\":\"3-dddddddddddddddddddddddddddddddd\",\"_deleted\":true}\r\n--f4e90815abeb80db3c73948cab3b2054--";
        assert_eq!(mixed(writer, &parts), recorded);
    }

    #[test]
    fn bulk_get_is_written_as_recorded() {
        let writer = MixedWriter::bulk_get(boundary("--65e4a63fee41c9726da755432b5705fe"));
        assert_eq!(
            writer.content_type(),
            "multipart/mixed; boundary=\"--65e4a63fee41c9726da755432b5705fe\""
        );
        let parts: Vec<(MixedPart<'_>, &[u8])> = vec![
            (
                MixedPart::Document,
                br#"{"_id":"a","_rev":"1-967a00dff5e02add41819138abb3284d"}"#,
            ),
            (
                MixedPart::Error,
                br#"{"rev":"1-a","error":"not_found","reason":"missing"}"#,
            ),
        ];
        let recorded = b"\r\n----65e4a63fee41c9726da755432b5705fe\r\nContent-Type: application/json\r\n\r\n{\"_id\":\"a\",\"_rev\":\"1-967a00dff5e02add41819138abb3284d\"}\r\n----65e4a63fee41c9726da755432b5705fe\r\nContent-Type: application/json; error=\"true\"\r\n\r\n{\"rev\":\"1-a\",\"error\":\"not_found\",\"reason\":\"missing\"}\r\n----65e4a63fee41c9726da755432b5705fe--\r\n";
        assert_eq!(mixed(writer, &parts), recorded);
    }

    #[test]
    fn what_is_missing_among_open_revs_is_marked_as_an_error() {
        let body = mixed(
            MixedWriter::open_revs(boundary("B")),
            &[(MixedPart::Error, br#"{"missing":"1-a"}"#)],
        );
        let expected = b"--B\r\nContent-Type: application/json; error=\"true\"\r\n\r\n{\"missing\":\"1-a\"}\r\n--B--";
        assert_eq!(body, expected);
    }

    #[test]
    fn a_mixed_body_without_parts_ends_as_couchdb_ends_it() {
        assert_eq!(mixed(MixedWriter::open_revs(boundary("B")), &[]), b"--B--");
        assert_eq!(mixed(MixedWriter::bulk_get(boundary("B")), &[]), b"");
    }

    #[test]
    fn documents_with_attachments_nest_in_mixed_bodies() {
        let inner = RelatedWriter::new(boundary("inner"));
        let attachment = AttachmentPart {
            name: "a",
            content_type: "b/c",
            length: 3,
            gzip: false,
        };
        let document = related(&inner, b"{}", &[(attachment, b"xyz")]);
        let part = MixedPart::Related {
            writer: &inner,
            id: "d\r\nX: y",
            rev: "1-a",
        };
        let body = mixed(
            MixedWriter::open_revs(boundary("B")),
            &[(part, &document), (MixedPart::Document, b"{}")],
        );
        let expected = "--B\r\nContent-Type: multipart/related; boundary=\"inner\"\r\n\r\n--inner\r\nContent-Type: application/json\r\n\r\n{}\r\n\
            --inner\r\nContent-Disposition: attachment; filename=\"a\"\r\nContent-Type: b/c\r\nContent-Length: 3\r\n\r\nxyz\r\n--inner--\r\n\
            --B\r\nContent-Type: application/json\r\n\r\n{}\r\n--B--";
        assert_eq!(std::str::from_utf8(&body).unwrap(), expected);
        let body = mixed(MixedWriter::bulk_get(boundary("B")), &[(part, &document)]);
        let head = b"\r\n--B\r\nX-Doc-Id: d__X: y\r\nX-Rev-Id: 1-a\r\nContent-Type: multipart/related; boundary=inner\r\n\r\n--inner\r\n";
        assert!(body.starts_with(head));
        let parts = read(&body, &boundary("B"));
        let [(headers, data)] = &parts[..] else {
            panic!("{parts:?}")
        };
        let inner = Boundary::from_content_type(headers.content_type.as_deref().unwrap()).unwrap();
        assert_eq!(read(data, &inner)[1].1, b"xyz");
    }

    #[test]
    fn names_and_types_cannot_break_out_of_their_line() {
        let part = AttachmentPart {
            name: "a\"\\\r\nX: y",
            content_type: "t/p\r\n\r\nx",
            length: 0,
            gzip: false,
        };
        let expected = "Content-Disposition: attachment; filename=\"a\\\"\\\\__X: y\"; filename*=UTF-8''a%22%5C%0D%0AX%3A%20y\r\n\
            Content-Type: t/p    x\r\nContent-Length: 0";
        assert_eq!(part.headers(), expected);
    }

    #[test]
    fn random_boundaries_are_as_long_as_couchdbs() {
        assert_eq!(Boundary::from_random([1; 16]).as_str(), "01".repeat(16));
        assert_eq!(
            Boundary::from_random_with_dashes([1; 16]).as_str(),
            format!("--{}", "01".repeat(16))
        );
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_again(
            json in prop::collection::vec(any::<u8>(), 0..100),
            attachments in prop::collection::vec((any::<String>(), any::<bool>(), prop::collection::vec(any::<u8>(), 0..100)), 0..4),
            random in any::<[u8; 16]>(),
        ) {
            let writer = RelatedWriter::new(Boundary::from_random(random));
            let described: Vec<(AttachmentPart<'_>, &[u8])> = attachments
                .iter()
                .map(|(name, gzip, bytes)| {
                    (AttachmentPart { name, content_type: "text/plain", length: bytes.len() as u64, gzip: *gzip }, &bytes[..])
                })
                .collect();
            let parts = read(&related(&writer, &json, &described), &Boundary::from_content_type(&writer.content_type()).unwrap());
            prop_assert_eq!(parts.len(), 1 + described.len());
            prop_assert_eq!(&parts[0].1, &json);
            for ((headers, data), (attachment, bytes)) in parts[1..].iter().zip(&described) {
                prop_assert_eq!(headers.filename.as_deref().unwrap_or_default(), attachment.name);
                prop_assert_eq!(headers.content_type.as_deref(), Some(attachment.content_type));
                prop_assert_eq!(headers.content_length, Some(attachment.length));
                prop_assert_eq!(headers.content_encoding.as_deref(), attachment.gzip.then_some("gzip"));
                prop_assert_eq!(&data[..], *bytes);
            }
        }
    }
}
