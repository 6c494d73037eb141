//! Rows of a feed as text, in the shape of the form that was asked for.
//!
//! A page only writes: what is read, and when a page is full, is decided by the feed that fills it.
//! Where contents of attachments are sent along, the text is cut at each of them into pieces. What
//! is in `pieces` always stands before what is in `out`; `told` counts the rows of the whole feed,
//! since the comma and `seq_interval` depend on those before this page.

use std::collections::VecDeque;

use adea_documents::json::write_json_string;
use adea_documents::record::Leaf;
use adea_documents::render::{Meta, Piece, Rendering, Shown, write_revision};
use adea_pod::{ChangeRow, Marks, RowDocument, ShownChange};

use crate::couch::changes::filter::Passing;
use crate::couch::changes::{Asked, Form};

/// Rows being written.
pub(super) struct Page<'p> {
    pub(super) asked: &'p Asked,
    pub(super) marks: Marks<'p>,
    pub(super) out: &'p mut Vec<u8>,
    /// What was written before `out`, where contents stand in between.
    pub(super) pieces: VecDeque<Piece>,
    pub(super) told: u64,
    pub(super) at: Option<u64>,
}

impl Page<'_> {
    /// Writes what passes the filter of a row.
    pub(super) fn row(&mut self, row: &ChangeRow<'_>) {
        match self.asked.filter.passing(row) {
            Passing::None => {}
            Passing::All => self.write(row, row.leaves),
            Passing::Some(leaves) => self.write(row, &leaves),
        }
    }

    /// Writes a change that a function judged, with the leaves that it let pass.
    pub(super) fn judged(&mut self, change: &ShownChange, leaves: &[Leaf]) {
        let (Some(winner), false) = (change.leaves.first(), leaves.is_empty()) else {
            return;
        };
        let row = ChangeRow {
            sequence: change.sequence,
            id: &change.id,
            winner,
            leaves,
            document: change.body.as_ref().map(|body| RowDocument {
                json: &body.json,
                attachments: body.attachments.clone(),
                conflicts: change.conflicts.clone(),
            }),
            losing: &[],
            removal: change.removal,
        };
        self.write(&row, leaves);
    }

    /// Writes a row that tells `leaves`.
    fn write(&mut self, row: &ChangeRow<'_>, leaves: &[Leaf]) {
        let out = &mut *self.out;
        match self.asked.form {
            Form::Normal | Form::Longpoll if self.told > 0 => out.extend_from_slice(b",\r\n"),
            Form::EventSource => out.extend_from_slice(b"data: "),
            Form::Normal | Form::Longpoll | Form::Continuous => {}
        }
        out.extend_from_slice(b"{\"seq\":");
        if self.told.is_multiple_of(self.asked.sequence_interval) {
            out.push(b'"');
            self.marks.row(out, row.sequence);
            out.push(b'"');
        } else {
            out.extend_from_slice(b"null");
        }
        out.extend_from_slice(b",\"id\":");
        write_json_string(out, row.id);
        out.extend_from_slice(b",\"changes\":[");
        for (n, leaf) in leaves.iter().enumerate() {
            out.extend_from_slice(if n == 0 { b"{\"rev\":" } else { b",{\"rev\":" });
            write_revision(out, &leaf.revision);
            out.push(b'}');
        }
        out.push(b']');
        if row.winner.deleted {
            out.extend_from_slice(b",\"deleted\":true");
        }
        if self.asked.include_docs {
            out.extend_from_slice(b",\"doc\":");
            self.document(row);
        }
        let out = &mut *self.out;
        out.push(b'}');
        match self.asked.form {
            Form::Normal | Form::Longpoll => {}
            Form::Continuous => out.push(b'\n'),
            Form::EventSource => {
                out.extend_from_slice(b"\nid: ");
                out.push(b'"');
                self.marks.row(out, row.sequence);
                out.push(b'"');
                out.extend_from_slice(b"\n\n");
            }
        }
        self.told += 1;
    }

    fn document(&mut self, row: &ChangeRow<'_>) {
        let Some(document) = &row.document else {
            self.out.extend_from_slice(b"null");
            return;
        };
        let meta = Meta {
            conflicts: document.conflicts.clone(),
            ..Meta::default()
        };
        let rendering = Rendering {
            id: row.id,
            revision: &row.winner.revision,
            deleted: row.winner.deleted,
            json: document.json,
            attachments: &document.attachments,
            meta: &meta,
            encoding_info: self.asked.encoding_info,
        };
        if !self.asked.attachments || document.attachments.is_empty() {
            return rendering.write(self.out);
        }
        let before = std::mem::take(self.out);
        self.pieces.push_back(Piece::Text(before));
        self.pieces.extend(rendering.pieces(|_| Shown::Data));
    }
}
