//! Under which label a document is stored: its access list, by the rule of its database.
//!
//! The rule is a property, an expression of paths, or a function of a design document. The first two
//! are answered at once from the stored text of the body; the function is asked in the judging stage
//! (`validate/labels.rs`), many documents at a time.
//!
//! Invariant: a document for which no list can be told is not stored; one that is stored without being
//! judged is stored for admins alone.

use std::sync::Arc;

use adea_access::rules::Rights;
use adea_access::{
    AccessList, AccessSettings, DefaultList, InvalidAccessList, ListFault, Rule, WriteRules,
};
use adea_documents::json::skim;
use adea_documents::labels::DraftLabel;
use adea_script::DesignProgram;
use serde_json::Value;

use super::WriteRefused;

/// How the documents of a database are labelled.
#[derive(Debug)]
pub(crate) struct Labelling {
    settings: Arc<AccessSettings>,
    /// There if a function says it: it, or why there is none.
    function: Option<Result<Arc<DesignProgram>, String>>,
    /// Members of a document that are looked at, as they stand in its text.
    access: Vec<u8>,
    writers: Vec<u8>,
    owners: Vec<u8>,
    recipient: Option<Vec<u8>>,
}

/// What can be told of a document without asking a function.
pub(crate) struct Told {
    /// Who may read it, if that is known already.
    list: Option<AccessList>,
    stated: bool,
    by_document: bool,
    writers: Option<AccessList>,
    owners: Option<AccessList>,
}

/// The members of a document that say who may do what with it.
#[derive(Default)]
struct Members<'t> {
    access: Option<&'t [u8]>,
    writers: Option<&'t [u8]>,
    owners: Option<&'t [u8]>,
    recipient: Option<&'t [u8]>,
}

impl Labelling {
    /// Labelling by `settings`, with the function if they name one.
    pub(crate) fn new(
        settings: Arc<AccessSettings>,
        function: Option<Result<Arc<DesignProgram>, String>>,
    ) -> Self {
        let access = match &settings.rule {
            Rule::Property(name) => skim::key_of(name),
            Rule::Expression(_) | Rule::Function { .. } => Vec::new(),
        };
        let rules = settings.write_rules.as_ref();
        let key = |name: fn(&WriteRules) -> &String| rules.map(|rules| skim::key_of(name(rules)));
        Self {
            access,
            writers: key(|rules| &rules.writers).unwrap_or_default(),
            owners: key(|rules| &rules.owners).unwrap_or_default(),
            recipient: settings
                .mailboxes
                .as_ref()
                .map(|boxes| skim::key_of(&boxes.recipient)),
            settings,
            function,
        }
    }

    /// The function that is asked: the program, and the name of the function in it.
    pub(crate) fn function(&self) -> Option<(&Result<Arc<DesignProgram>, String>, &str)> {
        match (&self.function, &self.settings.rule) {
            (Some(function), Rule::Function { name, .. }) => Some((function, name)),
            _ => None,
        }
    }

    /// The design document that says who may read, if one does.
    pub(crate) fn design(&self) -> Option<&str> {
        match &self.settings.rule {
            Rule::Function { design, .. } => Some(design),
            Rule::Property(_) | Rule::Expression(_) => None,
        }
    }

    /// Whether the built-in rules are on.
    pub(crate) fn has_rules(&self) -> bool {
        self.settings.write_rules.is_some()
    }

    /// Whether nobody but workers reads the database.
    pub(crate) fn is_write_only(&self) -> bool {
        self.settings.write_only
    }

    /// What the stored text of a document says. A list is `None` if the function must be asked.
    ///
    /// # Errors
    /// [`WriteRefused::List`] that names the field.
    pub(crate) fn told(
        &self,
        id: &str,
        json: &[u8],
        author: Option<&Arc<str>>,
    ) -> Result<Told, WriteRefused> {
        let members = self.members(json);
        let (list, stated, by_document) = self.list(id, json, &members, author)?;
        let (mut writers, mut owners) = (None, None);
        if let Some(rules) = &self.settings.write_rules {
            writers = named(&rules.writers, members.writers)?;
            owners = named(&rules.owners, members.owners)?;
        }
        Ok(Told {
            list,
            stated,
            by_document,
            writers,
            owners,
        })
    }

    /// Who may read a document with this stored text; `None` if the function must be asked.
    ///
    /// # Errors
    /// [`WriteRefused::List`] that names the field.
    pub(crate) fn list_of(
        &self,
        id: &str,
        json: &[u8],
        author: Option<&Arc<str>>,
    ) -> Result<Option<AccessList>, WriteRefused> {
        let (list, _, _) = self.list(id, json, &self.members(json), author)?;
        Ok(list)
    }

    /// Who may read a design document: its property may say so; else admins do. (A function, or a
    /// member that is something else in design documents, is asked nothing.)
    pub(crate) fn of_design(&self, json: &[u8]) -> AccessList {
        let Rule::Property(name) = &self.settings.rule else {
            return AccessList::admin();
        };
        let value = self.members(json).access.and_then(skim::read_value);
        let list = value.and_then(|value| AccessList::parse(name, &value).ok().flatten());
        list.unwrap_or_else(AccessList::admin)
    }

    /// The list that the function's answer makes, and whether it says one.
    ///
    /// # Errors
    /// [`WriteRefused::Function`] if it is none.
    pub(crate) fn answered(
        &self,
        answer: &str,
        author: Option<&Arc<str>>,
    ) -> Result<AccessList, WriteRefused> {
        let not_understood = |reason: String| WriteRefused::Function(reason);
        let value = skim::read_value(answer.as_bytes())
            .ok_or_else(|| not_understood("its result is no JSON".to_owned()))?;
        if value.is_null() {
            return Ok(self.settings.default_list(author));
        }
        let list = AccessList::parse("its result", &value);
        let list = list.map_err(|error| not_understood(error.to_string()))?;
        Ok(list.unwrap_or_else(|| self.settings.default_list(author)))
    }

    fn members<'t>(&self, json: &'t [u8]) -> Members<'t> {
        let mut found = Members::default();
        for (name, value) in skim::members(json) {
            for (wanted, slot) in [
                (&self.access, &mut found.access),
                (&self.writers, &mut found.writers),
                (&self.owners, &mut found.owners),
            ] {
                if !wanted.is_empty() && name == *wanted {
                    *slot = Some(value);
                }
            }
            if self.recipient.as_deref() == Some(name) {
                found.recipient = Some(value);
            }
        }
        found
    }

    /// The list, whether the document states it, and whether documents here say it themselves.
    fn list(
        &self,
        id: &str,
        json: &[u8],
        members: &Members<'_>,
        author: Option<&Arc<str>>,
    ) -> Result<(Option<AccessList>, bool, bool), WriteRefused> {
        if self.settings.write_only {
            return Ok((Some(self.workers()), false, false));
        }
        if let (Some(recipient), Some(boxes)) = (members.recipient, &self.settings.mailboxes) {
            let list = mailbox(&boxes.recipient, recipient)?;
            // Anybody may send; but the document says to whom, and only its owners say otherwise.
            return Ok((Some(list), false, true));
        }
        let stated = match &self.settings.rule {
            Rule::Function { .. } => return Ok((None, false, false)),
            Rule::Property(name) => match members.access.and_then(skim::read_value) {
                None => None,
                Some(value) => AccessList::parse(name, &value)?,
            },
            Rule::Expression(expression) => expression.evaluate_body(id, json)?,
        };
        let is_stated = stated.is_some();
        let list = stated.unwrap_or_else(|| self.settings.default_list(author));
        Ok((Some(list), is_stated, true))
    }

    /// Who reads a database that is only written to.
    fn workers(&self) -> AccessList {
        match &self.settings.default {
            DefaultList::List(list) => list.clone(),
            DefaultList::Admin | DefaultList::Author => AccessList::admin(),
        }
    }
}

impl Told {
    /// Whether the function must be asked.
    pub(crate) fn asks(&self) -> bool {
        self.list.is_none()
    }

    /// The rights, with `list` where the text did not tell.
    pub(crate) fn with(self, list: impl FnOnce() -> AccessList) -> Rights {
        Rights {
            access: self.list.unwrap_or_else(list),
            stated: self.stated,
            by_document: self.by_document,
            writers: self.writers,
            owners: self.owners,
        }
    }
}

/// The label of a list.
pub(crate) fn label_of(list: &AccessList) -> DraftLabel {
    DraftLabel {
        name: Arc::clone(list.signature()),
        members: Arc::clone(list.principals()),
    }
}

/// Whose mailbox it is: one user or several, by their names or as principals.
fn mailbox(field: &str, recipient: &[u8]) -> Result<AccessList, WriteRefused> {
    let invalid = |fault| {
        WriteRefused::List(InvalidAccessList {
            place: field.to_owned(),
            fault,
        })
    };
    let names = match skim::read_value(recipient) {
        Some(Value::String(name)) => vec![name],
        Some(Value::Array(items)) => items
            .into_iter()
            .map(|item| item.as_str().map(str::to_owned))
            .collect::<Option<Vec<String>>>()
            .ok_or_else(|| invalid(ListFault::NotText))?,
        _ => return Err(invalid(ListFault::NotAList)),
    };
    if names.iter().any(String::is_empty) {
        return Err(invalid(ListFault::EmptyText));
    }
    let users = names
        .into_iter()
        .map(|name| match name.starts_with("user:") {
            true => Arc::from(name),
            false => Arc::from(format!("user:{name}")),
        });
    Ok(AccessList::new(field, users)?)
}

/// The principals that a member names; none where it is missing or `null`.
fn named(field: &str, value: Option<&[u8]>) -> Result<Option<AccessList>, WriteRefused> {
    let Some(value) = value.and_then(skim::read_value).filter(|v| !v.is_null()) else {
        return Ok(None);
    };
    let not_a_list = || InvalidAccessList {
        place: field.to_owned(),
        fault: ListFault::NotAList,
    };
    if !value.is_array() {
        return Err(not_a_list().into());
    }
    let list = AccessList::parse(field, &value)?;
    Ok(Some(list.ok_or_else(not_a_list)?))
}
