//! Documents as the JSON text that clients read, in `CouchDB`'s order of fields.
//!
//! The body is stored as text and copied through; nothing is parsed. An attachment's content,
//! where it was asked for, is left out of the text and named as a piece, so that whoever sends
//! the document can stream it.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;

use crate::json::write_json_string;
use crate::record::{Attachment, Encoding};
use crate::revision::{Revision, RevisionId};

/// What is told of a document besides its body.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Meta {
    /// `_revisions`: the generation of the first id, and the ids from the newest down.
    pub revisions: Option<(u64, Vec<RevisionId>)>,
    /// `_revs_info`.
    pub revisions_info: Option<Vec<(Revision, Status)>>,
    /// `_local_seq`.
    pub local_sequence: Option<u64>,
    /// `_conflicts`.
    pub conflicts: Vec<Revision>,
    /// `_deleted_conflicts`.
    pub deleted_conflicts: Vec<Revision>,
}

/// What is known of a revision in `_revs_info`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status {
    /// Its body is here.
    Available,
    /// Its body is not here.
    Missing,
    /// It is a tombstone.
    Deleted,
}

/// How an attachment is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shown {
    /// As a stub: what it is, not what it holds.
    Stub,
    /// Its content is in the text, as base64 of the identity bytes.
    Data,
    /// Its content follows in a part of its own.
    Follows,
}

/// A piece of a rendered document.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Piece {
    /// JSON text.
    Text(Vec<u8>),
    /// The content of an attachment as base64, without quotes.
    Data(Attachment),
}

/// A document to be rendered.
#[derive(Clone, Copy, Debug)]
pub struct Rendering<'d> {
    /// Its id.
    pub id: &'d str,
    /// The revision shown.
    pub revision: &'d Revision,
    /// Whether that is a tombstone.
    pub deleted: bool,
    /// Its JSON object without the fields that begin with `_`.
    pub json: &'d [u8],
    /// Its attachments.
    pub attachments: &'d [Attachment],
    /// What else is told.
    pub meta: &'d Meta,
    /// Whether `encoding` and `encoded_length` are told of attachments.
    pub encoding_info: bool,
}

impl Rendering<'_> {
    /// Writes the document to `out`, with attachments as stubs.
    pub fn write(&self, out: &mut Vec<u8>) {
        self.write_head(out, Some(self.revision));
        self.write_stubs(out);
    }

    /// Writes the document to `out`, with attachments as stubs and without its revision: as one
    /// that nobody has stored yet.
    pub fn write_unrevised(&self, out: &mut Vec<u8>) {
        self.write_head(out, None);
        self.write_stubs(out);
    }

    fn write_stubs(&self, out: &mut Vec<u8>) {
        if !self.attachments.is_empty() {
            out.extend_from_slice(b",\"_attachments\":{");
            for (n, attachment) in self.attachments.iter().enumerate() {
                if n > 0 {
                    out.push(b',');
                }
                self.write_attachment(out, attachment, Shown::Stub);
                out.push(b'}');
            }
            out.push(b'}');
        }
        out.push(b'}');
    }

    /// The document in pieces, each attachment as `shown` says.
    pub fn pieces(&self, shown: impl Fn(&Attachment) -> Shown) -> Vec<Piece> {
        let mut pieces = Vec::new();
        let mut out = Vec::with_capacity(self.json.len() + 200);
        self.write_head(&mut out, Some(self.revision));
        for (n, attachment) in self.attachments.iter().enumerate() {
            out.extend_from_slice(if n == 0 { b",\"_attachments\":{" } else { b"," });
            let shown = shown(attachment);
            self.write_attachment(&mut out, attachment, shown);
            if shown == Shown::Data {
                out.extend_from_slice(b",\"data\":\"");
                pieces.push(Piece::Text(std::mem::take(&mut out)));
                pieces.push(Piece::Data(attachment.clone()));
                out.push(b'"');
            }
            out.push(b'}');
        }
        if !self.attachments.is_empty() {
            out.push(b'}');
        }
        out.push(b'}');
        pieces.push(Piece::Text(out));
        pieces
    }

    fn write_head(&self, out: &mut Vec<u8>, revision: Option<&Revision>) {
        out.extend_from_slice(b"{\"_id\":");
        write_json_string(out, self.id);
        if let Some(revision) = revision {
            out.extend_from_slice(b",\"_rev\":");
            write_revision(out, revision);
        }
        // The stored text is an object: `{}` or `{"a":1}`.
        if let Some(members) = self.json.get(1..self.json.len().saturating_sub(1))
            && !members.is_empty()
        {
            out.push(b',');
            out.extend_from_slice(members);
        }
        if self.deleted {
            out.extend_from_slice(b",\"_deleted\":true");
        }
        self.write_meta(out);
    }

    fn write_meta(&self, out: &mut Vec<u8>) {
        let meta = self.meta;
        if let Some((start, ids)) = &meta.revisions {
            out.extend_from_slice(
                format!(",\"_revisions\":{{\"start\":{start},\"ids\":[").as_bytes(),
            );
            for (n, id) in ids.iter().enumerate() {
                if n > 0 {
                    out.push(b',');
                }
                write_json_string(out, &id.to_string());
            }
            out.extend_from_slice(b"]}");
        }
        if let Some(revisions) = &meta.revisions_info {
            out.extend_from_slice(b",\"_revs_info\":[");
            for (n, (revision, status)) in revisions.iter().enumerate() {
                out.extend_from_slice(if n == 0 { b"{\"rev\":" } else { b",{\"rev\":" });
                write_revision(out, revision);
                out.extend_from_slice(match status {
                    Status::Available => b",\"status\":\"available\"}",
                    Status::Missing => b",\"status\":\"missing\"}",
                    Status::Deleted => b",\"status\":\"deleted\"}",
                });
            }
            out.push(b']');
        }
        if let Some(sequence) = meta.local_sequence {
            out.extend_from_slice(format!(",\"_local_seq\":{sequence}").as_bytes());
        }
        write_revisions(out, "_conflicts", &meta.conflicts);
        write_revisions(out, "_deleted_conflicts", &meta.deleted_conflicts);
    }

    /// Writes name and description, without the closing brace.
    fn write_attachment(&self, out: &mut Vec<u8>, attachment: &Attachment, shown: Shown) {
        write_json_string(out, &attachment.name);
        out.extend_from_slice(b":{\"content_type\":");
        write_json_string(out, &attachment.content_type);
        out.extend_from_slice(
            format!(
                ",\"revpos\":{},\"digest\":\"md5-{}\"",
                attachment.revision_position,
                BASE64.encode(attachment.md5)
            )
            .as_bytes(),
        );
        match shown {
            Shown::Data => return,
            Shown::Stub => out.extend_from_slice(
                format!(",\"length\":{},\"stub\":true", attachment.length).as_bytes(),
            ),
            Shown::Follows => out.extend_from_slice(
                format!(",\"length\":{},\"follows\":true", attachment.length).as_bytes(),
            ),
        }
        let told = self.encoding_info || shown == Shown::Follows;
        if told && attachment.encoding == Encoding::Gzip {
            out.extend_from_slice(
                format!(
                    ",\"encoding\":\"gzip\",\"encoded_length\":{}",
                    attachment.stored_length
                )
                .as_bytes(),
            );
        }
    }
}

/// Writes `revision` as a JSON string.
pub fn write_revision(out: &mut Vec<u8>, revision: &Revision) {
    match &revision.id {
        RevisionId::Md5(_) => {
            out.push(b'"');
            revision.write_to(out);
            out.push(b'"');
        }
        RevisionId::Text(_) => write_json_string(out, &revision.to_string()),
    }
}

fn write_revisions(out: &mut Vec<u8>, name: &str, revisions: &[Revision]) {
    if revisions.is_empty() {
        return;
    }
    out.extend_from_slice(b",\"");
    out.extend_from_slice(name.as_bytes());
    out.extend_from_slice(b"\":[");
    for (n, revision) in revisions.iter().enumerate() {
        if n > 0 {
            out.push(b',');
        }
        write_revision(out, revision);
    }
    out.push(b']');
}
