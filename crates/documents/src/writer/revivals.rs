//! Writing where readers hold virtual revisions: edits of revivals, tombstones that come back, and the
//! end of the chains under a revision that has a successor. See [`crate::seen`].

use adea_base::DocumentId;
use adea_store::{Decline, EngineError};

use super::{Content, Draft, Writer, revision_id};
use crate::error::WriteError;
use crate::labels::{Before, LabelChanges};
use crate::record::Record;
use crate::revision::{Revision, RevisionId};
use crate::seen;

impl Writer<'_, '_> {
    /// The chain of virtual revisions from `based_on` down to a live leaf, newest first, if it is a
    /// revival; and that leaf.
    pub(super) fn revived(
        &mut self,
        id: &DocumentId,
        record: &Record,
        based_on: &Revision,
    ) -> Result<Option<(Vec<RevisionId>, Revision)>, EngineError> {
        if !self.has_labels() || record.tree.find(based_on).is_some() {
            return Ok(None);
        }
        let key = self.labels.key(self.tx)?;
        let live = record.tree.leaves().filter(|leaf| !leaf.is_deleted());
        let found = live.filter_map(|leaf| {
            let leaf = leaf.revision();
            let steps = seen::steps_between(&key, self.database, id.as_str(), &leaf, based_on)?;
            let (_, path) = seen::chain(&key, self.database, id.as_str(), &leaf, steps);
            Some((path, leaf)).filter(|_| steps % 2 == 0)
        });
        Ok({ found }.next())
    }

    /// An edit of a revival: it goes into the tree with the chain below it, as other replicas have it.
    pub(super) fn edit_revival(
        &mut self,
        draft: &Draft,
        mut record: Record,
        before: &Before,
        based_on: &Revision,
        chain: Vec<RevisionId>,
        base: &Revision,
    ) -> Result<Revision, Decline<WriteError>> {
        let generation = based_on.generation + 1;
        let attachments = self.resolve(draft, &record, Some(base), generation)?;
        let id = revision_id(draft, Some(based_on), &attachments);
        let revision = Revision { generation, id };
        let mut path = vec![revision.id.clone()];
        path.extend(chain);
        let sequence = self.tx.sequence() + 1;
        record
            .tree
            .merge(&path, generation, draft.deleted, sequence)
            .map_err(|_| Decline::Refused(WriteError::Conflict))?;
        self.tx.advance_sequence(sequence);
        let body = Some(Content::of(draft, &attachments));
        self.finish_document(&draft.id, record, before, sequence, body.as_ref())?;
        Ok(revision)
    }

    /// Whether `path` begins with a virtual revision of document `id`: somebody has it from this
    /// server, and it says nothing.
    pub(super) fn is_virtual(
        &mut self,
        id: &DocumentId,
        record: &Record,
        start: u64,
        path: &[RevisionId],
    ) -> Result<bool, EngineError> {
        if !self.has_labels() {
            return Ok(false);
        }
        let key = self.labels.key(self.tx)?;
        Ok(seen::begins_virtual(
            &key,
            self.database,
            id.as_str(),
            record,
            start,
            path,
        ))
    }

    /// Puts a tombstone beyond what any reader may hold of the chains under live leaves that are
    /// leaves no more: else a revival would stay beside what came after it. See [`crate::seen`].
    pub(super) fn end_revivals(
        &mut self,
        id: &DocumentId,
        record: &mut Record,
        before: &Before,
    ) -> Result<(), EngineError> {
        let Some(labelled) = &before.labelled else {
            return Ok(());
        };
        let returned_at = self.statistics.returned_at;
        for (leaf, body) in &before.live {
            if (returned_at <= *body && labelled.earlier.is_empty())
                || record.tree.is_leaf(leaf)
                || record.tree.find(leaf).is_none()
            {
                continue;
            }
            let returns =
                LabelChanges::returns_of(self.tx, self.database, labelled, *body, returned_at)?;
            if returns == 0 {
                continue;
            }
            let key = self.labels.key(self.tx)?;
            let (start, path) =
                seen::chain(&key, self.database, id.as_str(), leaf, 2 * returns + 1);
            let sequence = self.tx.next_sequence();
            let merged = record.tree.merge(&path, start, true, sequence);
            // One that is too large already says so to nobody: its author is not to blame.
            if merged.is_ok_and(crate::rev_tree::Merged::stores_body) {
                self.put_body(sequence, &[], b"{}");
            }
        }
        Ok(())
    }
}
