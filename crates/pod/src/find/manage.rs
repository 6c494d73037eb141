//! Making and deleting Mango indexes: edits of the design documents that define them.

use std::sync::Arc;

use adea_base::{Caller, DocumentId};
use adea_documents::WriteError;
use adea_documents::json::parse_document;
use adea_documents::selector::{FieldPath, Selector, erlang_term};
use serde_json::{Map, Value, json};

use super::naming::Naming;
use super::{FindError, MangoIndex};
use crate::databases::DatabaseEntry;
use crate::error::PodError;
use crate::pod::Pod;
use crate::read_document::{Found, Told, Which};
use crate::write_document::{DraftedEdit, Prepared};

/// An index that is asked for.
#[derive(Clone, Debug)]
pub struct NewIndex {
    /// The definition as it was sent.
    pub definition: Value,
    /// The fields and their directions, which are all the same.
    pub fields: Vec<(FieldPath, &'static str)>,
    /// Which documents are indexed; `None` for all that have the fields.
    pub filter: Option<Selector>,
    /// Its name, if one is given.
    pub name: Option<String>,
    /// The design document, if one is given.
    pub design: Option<String>,
    /// Whether it is parted, if that is said.
    pub partitioned: Option<bool>,
    /// The write quorum that was asked for, which only matters to the name.
    pub quorum: String,
}

/// An index that is there now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MadeIndex {
    /// Whether it was not there before.
    pub created: bool,
    /// The design document.
    pub design: String,
    /// Its name.
    pub name: String,
}

/// How often an edit is tried anew because another one came first.
const ATTEMPTS_MAX: usize = 8;

/// A design document on its way to an edit.
struct Draft {
    id: DocumentId,
    before: Option<Found>,
    members: Map<String, Value>,
}

impl Pod {
    /// Makes an index, or finds that it is there. It is built behind the answer.
    ///
    /// # Errors
    /// [`PodError::Refused`] if the caller is no administrator of the database, [`FindError`] if
    /// the design document cannot hold the index.
    pub async fn create_index(
        &self,
        entry: &Arc<DatabaseEntry>,
        caller: &Caller,
        new: &NewIndex,
    ) -> Result<MadeIndex, PodError> {
        let definition = new.definition.to_string();
        let naming = Naming {
            definition: &definition,
            design: new.design.as_deref(),
            name: new.name.as_deref(),
            partitioned: new.partitioned,
            kind: "json",
            quorum: &new.quorum,
        };
        let automatic = naming.name()?;
        let name = new.name.clone().unwrap_or_else(|| automatic.clone());
        let design = new.design.as_deref().unwrap_or(&automatic);
        let design = design.strip_prefix("_design/").unwrap_or(design);
        let design = format!("_design/{design}");
        let mut made = MadeIndex {
            created: true,
            design,
            name,
        };
        for _ in 0..ATTEMPTS_MAX {
            let mut draft = self.draft_design(entry, caller, &made.design)?;
            if !draft.put_index(new, &made.name)? {
                made.created = false;
                return Ok(made);
            }
            if self.write_design(entry, caller, draft).await? {
                self.build_index(entry, &made)?;
                return Ok(made);
            }
        }
        Err(FindError::SavingConflict.into())
    }

    fn build_index(&self, entry: &Arc<DatabaseEntry>, made: &MadeIndex) -> Result<(), PodError> {
        let indexes = self.mango_indexes(entry)?;
        let is_it =
            |index: &&Arc<MangoIndex>| index.design == made.design && index.name == made.name;
        if let Some(index) = indexes.iter().find(is_it) {
            self.index_in_background(entry, vec![Arc::clone(&index.plan)]);
        }
        Ok(())
    }

    /// Deletes index `name` of design document `design`; without a name, all that it has. The
    /// design document goes with its last index.
    ///
    /// # Errors
    /// [`PodError::Missing`] if there is none, [`PodError::Refused`] if the caller is no
    /// administrator of the database.
    pub async fn delete_index(
        &self,
        entry: &Arc<DatabaseEntry>,
        caller: &Caller,
        design: &str,
        name: Option<&str>,
    ) -> Result<(), PodError> {
        let design = design.strip_prefix("_design/").unwrap_or(design);
        let design = format!("_design/{design}");
        for _ in 0..ATTEMPTS_MAX {
            let indexes = self.mango_indexes_seen(entry)?;
            let named = indexes.iter().filter(|index| {
                index.design == design && name.is_none_or(|name| index.name == name)
            });
            let names: Vec<&str> = named.map(|index| &*index.name).collect();
            if names.is_empty() {
                return Err(PodError::Missing);
            }
            let mut draft = self.draft_design(entry, caller, &design)?;
            draft.remove_indexes(&names);
            if self.write_design(entry, caller, draft).await? {
                return Ok(());
            }
        }
        Err(FindError::SavingConflict.into())
    }

    /// A design document for indexes, as it is or as it would be made.
    fn draft_design(
        &self,
        entry: &DatabaseEntry,
        caller: &Caller,
        id: &str,
    ) -> Result<Draft, PodError> {
        let read = self.read(entry, caller, id, &Which::Winner, Told::default());
        let before = match read {
            Ok(found) => Some(found),
            Err(PodError::Missing | PodError::Deleted) => None,
            Err(error) => return Err(error),
        };
        let mut members = Map::new();
        if let Some(found) = &before {
            members = serde_json::from_slice(&found.body.json)
                .map_err(|_| adea_documents::json::JsonError::TooDeep)?;
            let language = members.get("language");
            if language.and_then(Value::as_str) != Some("query") {
                let shown = language.map_or_else(
                    || "false".to_owned(),
                    |language| {
                        format!(
                            "{{{},{}}}",
                            erlang_term(&"language".into()),
                            erlang_term(language)
                        )
                    },
                );
                return Err(FindError::InvalidLanguage(shown).into());
            }
        } else {
            members.insert("language".to_owned(), "query".into());
        }
        let id = DocumentId::parse(id)
            .map_err(|_| FindError::InvalidIndexName(erlang_term(&id.into())))?;
        Ok(Draft {
            id,
            before,
            members,
        })
    }

    /// Writes a design document; false if another edit came first.
    async fn write_design(
        &self,
        entry: &Arc<DatabaseEntry>,
        caller: &Caller,
        draft: Draft,
    ) -> Result<bool, PodError> {
        let prepared = self.prepare_design(entry, caller, draft).await?;
        match self.write(entry, prepared).await {
            Ok(_) => Ok(true),
            Err(PodError::Write(WriteError::Conflict)) => Ok(false),
            Err(error) => Err(error),
        }
    }

    async fn prepare_design(
        &self,
        entry: &DatabaseEntry,
        caller: &Caller,
        draft: Draft,
    ) -> Result<Prepared, PodError> {
        let Draft {
            id,
            before,
            members,
        } = draft;
        let deleted = members.len() == 1 && members.contains_key("language");
        let text = if deleted {
            b"{}".to_vec()
        } else {
            Value::Object(members).to_string().into_bytes()
        };
        let revision = before.as_ref().map(|found| found.revision.clone());
        let edit = DraftedEdit::Edit(revision);
        if let Some(mut found) = before
            && !found.body.attachments.is_empty()
            && !deleted
        {
            found.body.json = text;
            return Self::with_attachments(entry, caller, id, &found.body, edit, None, None);
        }
        let mut parsed = parse_document(&text)?;
        parsed.deleted = deleted;
        self.prepare(entry, caller, id, parsed, edit, Vec::new())
            .await
    }
}

impl Draft {
    /// Puts an index in; false if it is there as it should be.
    fn put_index(&mut self, new: &NewIndex, name: &str) -> Result<bool, PodError> {
        let fields = new.fields.iter();
        let fields: Map<String, Value> = fields
            .map(|(path, direction)| (path.name().to_owned(), (*direction).into()))
            .collect();
        let filter = new
            .filter
            .as_ref()
            .map_or_else(|| json!({}), Selector::to_json);
        let view = json!({
            "map": {"fields": fields, "partial_filter_selector": filter},
            "reduce": "_count",
            "options": {"def": new.definition},
        });
        let is_new = self.before.is_none();
        self.part(new.partitioned, is_new)?;
        let views = self.members.entry("views").or_insert_with(|| json!({}));
        if !views.is_object() {
            *views = json!({});
        }
        let Some(views) = views.as_object_mut() else {
            return Ok(true);
        };
        let same = views.get(name) == Some(&view);
        views.insert(name.to_owned(), view);
        Ok(is_new || !same)
    }

    /// A design document is parted as a whole, and stays as it was made.
    fn part(&mut self, wanted: Option<bool>, is_new: bool) -> Result<(), FindError> {
        let options = self.members.get("options");
        let parted = options.and_then(|options| options.get("partitioned"));
        if parted.and_then(Value::as_bool) == wanted {
            return Ok(());
        }
        if !is_new {
            let id = self.id.as_str().to_owned();
            return Err(FindError::PartitionedMismatch(id));
        }
        if let Some(wanted) = wanted {
            let options = json!({"partitioned": wanted});
            self.members.insert("options".to_owned(), options);
        }
        Ok(())
    }

    /// Takes indexes out. Without any other, the document has nothing left but its language.
    fn remove_indexes(&mut self, names: &[&str]) {
        let Some(views) = self.members.get_mut("views").and_then(Value::as_object_mut) else {
            return;
        };
        for name in names {
            views.shift_remove(*name);
        }
        if views.is_empty() {
            self.members.shift_remove("views");
        }
    }
}
