//! Pages that a feed makes for itself and for others who wait at the same place, or finds made.
//!
//! Only where all who read the same face of a database are told the same: what each may read for
//! himself is read for him alone.

use adea_documents::render::Piece;
use adea_pod::PodError;
use bytes::Bytes;

use super::{Feed, Told};
use crate::couch::changes::Form;
use crate::couch::changes::filter::Filter;
use crate::couch::changes::shared::{PageKey, SharedPage};

impl Feed {
    /// What the page that is due depends on, if others may be told the same.
    fn shared_key(&self) -> Option<PageKey> {
        let asked = &self.asked;
        // One that asks once is told one state after the other, and none that is older.
        let alike = asked.form != Form::Normal
            && matches!(asked.filter, Filter::All)
            && !asked.descending
            && asked.sequence_interval == 1
            && !asked.attachments
            && asked.limit == u64::MAX
            && !self.entry.tells_each_his_own()
            // Descriptions of replications are shown to each as he may see them.
            && !(asked.include_docs && self.entry.holds_descriptions());
        let after = self.course.position();
        (alike && after < self.until).then(|| PageKey {
            database: self.entry.number.0,
            face: self.entry.face.clone(),
            labels: self.entry.settings.labels,
            after,
            until: self.until,
            form: asked.form,
            all_leaves: asked.all_leaves,
            include_docs: asked.include_docs,
            conflicts: asked.conflicts,
            encoding_info: asked.encoding_info,
            comma: self.told > 0,
        })
    }

    /// A page, made or shared; and whether there may be more right away.
    pub(super) fn shared_page(&mut self) -> Result<(Option<Told>, bool), PodError> {
        let key = self.shared_key();
        if let Some(key) = &key
            && let Some(page) = self.app.feeds.get(key)
        {
            self.course.reach(page.position);
            self.told += page.rows;
            let SharedPage { text, framed, .. } = page;
            return Ok((Some(Told::Shared { text, framed }), false));
        }
        let before = self.told;
        let mut out = Vec::new();
        let more = self.page(&mut out)?;
        if !self.pieces.is_empty() {
            self.pieces.push_back(Piece::Text(out));
            return Ok((None, more));
        }
        if out.is_empty() {
            return Ok((None, more));
        }
        let text = Bytes::from(out);
        if let Some(key) = key.filter(|_| !more) {
            let framed = crate::body::frame_chunk(&text);
            let page = SharedPage {
                text: text.clone(),
                framed: framed.clone(),
                rows: self.told - before,
                position: self.course.position(),
            };
            self.app.feeds.insert(key, page);
            return Ok((Some(Told::Shared { text, framed }), more));
        }
        Ok((Some(Told::Own(text)), more))
    }
}
