//! Under which labels a document stands: by a new rule, and for the moment in which its author writes it.

use adea_base::DocumentId;
use adea_store::{EngineError, Space};

use super::{Content, Writer};
use crate::keys;
use crate::labels::{Before, DraftLabel, Labelled};
use crate::record::{Record, encode_change};
use crate::rev_tree::Node;
use crate::seen;

impl Writer<'_, '_> {
    /// Puts document `id` under the labels that its bodies have by the rule in force: `labels` names a
    /// body by the sequence it was written under, the winner's among them. A body that is not named is
    /// shown to nobody who does not see all. Where the label stays, so does the sequence.
    ///
    /// # Errors
    /// [`EngineError`] if the store cannot be read.
    pub fn relabel(
        &mut self,
        id: &DocumentId,
        labels: &[(u64, DraftLabel)],
    ) -> Result<(), EngineError> {
        let mut record = self.record(id)?;
        let Some(winner) = record.tree.winner().map(Node::body) else {
            return Ok(());
        };
        let before = Before::of(&record, false);
        let mut known = Vec::with_capacity(labels.len());
        for (body, label) in labels {
            let number = self.labels.find_or_make(self.tx, self.database, label)?;
            known.push((*body, number));
        }
        let label_of = |body: u64| {
            let found = known.iter().find(|(of, _)| *of == body);
            found.map_or(seen::NOBODY, |(_, label)| *label)
        };
        let label = winner.map_or(seen::NOBODY, label_of);
        let bodies = record.tree.nodes().filter_map(Node::body);
        let others = bodies.map(|body| (body, label_of(body)));
        let mut others: Vec<(u64, u64)> = others.filter(|(_, other)| *other != label).collect();
        others.sort_unstable();
        let old = record.labelled.take();
        let stays = old
            .as_ref()
            .is_some_and(|old| old.label == label && old.others == others);
        let now = Labelled {
            generation: self.settings.labels,
            label,
            others,
            ruled_at: self.tx.sequence() + 1,
            ..old.unwrap_or_default()
        };
        if stays {
            record.labelled = Some(Labelled {
                ruled_at: before.labelled.as_ref().map_or(0, |old| old.ruled_at),
                ..now
            });
        } else {
            let sequence = self.tx.next_sequence();
            record.sequence = sequence;
            self.tx
                .delete(Space::Index, keys::sequence(self.database, before.sequence));
            self.counts.removed(before.sequence);
            self.labels
                .relabel(self.tx, self.database, id, &before, &mut record, now);
            let change = encode_change(id.as_str(), sequence, &record.tree);
            let key = keys::sequence(self.database, sequence);
            self.tx.put(Space::Index, key, change);
            self.counts.added(sequence);
            self.statistics.update_sequence = sequence;
            self.changed = true;
        }
        let key = keys::document(self.database, id.as_str());
        self.tx.put(Space::Index, key, record.encode());
        Ok(())
    }

    /// The label under which the author of the content written under `sequence` sees it for a moment, if
    /// he does not see it where it stands from then on: the document, or the leaf, where it lost and has
    /// another label than the winner.
    pub(super) fn given_away<'d>(
        &self,
        before: &Before,
        record: &Record,
        sequence: u64,
        content: &Content<'d>,
    ) -> Result<Option<&'d DraftLabel>, EngineError> {
        let Some(author) = content.author else {
            return Ok(None);
        };
        let new = (sequence, content.label);
        let stands = self
            .labels
            .stands_under(self.tx, self.database, before, record, new)?;
        let hidden = record.tree.leaves().skip(1).any(|leaf| {
            leaf.body() == Some(sequence)
                && !leaf.is_deleted()
                && content.label.is_none_or(|label| label.members != stands)
        });
        Ok((hidden || !author.sees(&stands)).then_some(&author.label))
    }
}
