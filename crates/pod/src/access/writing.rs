//! What a database says of writing, made ready: how documents are labelled, the schemas of their types,
//! and what becomes of forks.

use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::sync::Arc;

use adea_access::conflict::Resolver;
use adea_access::schema::DocumentSchemas;
use adea_access::{AccessSettings, Conflicts, Rule};
use adea_documents::database::Settings;
use adea_documents::reader::Reader;
use adea_documents::record::Body;
use adea_documents::render::{Meta, Rendering};
use adea_script::DesignProgram;
use adea_store::EngineError;

use super::AccessError;
use super::label::Labelling;
use crate::error::PodError;

/// A function of a design document, or why there is none.
pub(crate) type Function = Result<Arc<DesignProgram>, String>;

/// What a database says of writing.
#[derive(Debug, Default)]
pub(crate) struct Writing {
    /// There if documents have labels.
    pub(crate) labelling: Option<Labelling>,
    /// The schemas of documents, if there are any.
    pub(crate) schemas: Option<DocumentSchemas>,
    /// What becomes of forks.
    pub(crate) forks: Forks,
    /// Tells apart what was set.
    set: u64,
}

/// What becomes of a write that leaves more than one live leaf.
#[derive(Debug, Default)]
pub(crate) enum Forks {
    /// It stays, as in `CouchDB`.
    #[default]
    Kept,
    /// It is refused.
    Refused,
    /// It is ended by a merge.
    Merged(Resolver, Option<Function>),
}

impl Writing {
    /// Reads it, with the functions that it names.
    pub(crate) fn load(reader: &Reader<'_>, settings: &Settings) -> Result<Self, PodError> {
        let set = told_apart(settings);
        if settings.access.is_empty() {
            let labelling = (settings.labels != 0)
                .then(|| Labelling::new(Arc::new(AccessSettings::default()), None));
            return Ok(Self {
                labelling,
                set,
                ..Self::default()
            });
        }
        let access = AccessSettings::parse(&settings.access)
            .map_err(|error| EngineError::Corrupt(format!("access of a database: {error}")))?;
        let access = Arc::new(access);
        let function = |design: &str| program(reader, design);
        let labelling = if settings.labels == 0 {
            None
        } else {
            let asked = match &access.rule {
                Rule::Function { design, .. } => Some(function(design)?),
                Rule::Property(_) | Rule::Expression(_) => None,
            };
            Some(Labelling::new(Arc::clone(&access), asked))
        };
        let forks = match &access.conflicts {
            Conflicts::Keep => Forks::Kept,
            Conflicts::Reject => Forks::Refused,
            Conflicts::Merge(resolver) => match Resolver::parse(resolver) {
                Ok(resolver) => {
                    let asked = match &resolver {
                        Resolver::Function { design, .. } => Some(function(design)?),
                        Resolver::Fields | Resolver::Newest(_) => None,
                    };
                    Forks::Merged(resolver, asked)
                }
                // What was set once is not understood any more: nothing is lost.
                Err(_) => Forks::Kept,
            },
        };
        let schemas = access
            .schemas
            .as_ref()
            .map(DocumentSchemas::compile)
            .transpose();
        let schemas = schemas
            .map_err(|error| EngineError::Corrupt(format!("schemas of a database: {error}")))?;
        Ok(Self {
            labelling,
            schemas,
            forks,
            set,
        })
    }

    /// Whether documents are judged by this before they are written.
    pub(crate) fn judges(&self) -> bool {
        self.labelling.is_some()
            || self.schemas.is_some()
            || matches!(self.forks, Forks::Merged(..))
    }

    /// Whether this is what is set.
    pub(crate) fn is_of(&self, settings: &Settings) -> bool {
        self.set == told_apart(settings)
    }

    /// Whether a function of this design document says who may read.
    pub(crate) fn is_labelled_by(&self, design: &str) -> bool {
        let labelling = self.labelling.as_ref();
        labelling.and_then(Labelling::design) == Some(design)
    }
}

/// Refuses settings of which something is understood only when it is made ready.
///
/// # Errors
/// [`AccessError::Invalid`] with what is wrong.
pub(crate) fn check(settings: &AccessSettings) -> Result<(), AccessError> {
    if let Some(schemas) = &settings.schemas {
        DocumentSchemas::compile(schemas)
            .map_err(|error| AccessError::Invalid(format!("schemas: {error}")))?;
    }
    if let Conflicts::Merge(resolver) = &settings.conflicts {
        Resolver::parse(resolver)
            .map_err(|error| AccessError::Invalid(format!("conflicts: {error}")))?;
    }
    Ok(())
}

/// Names what is set of writing. It is asked in every transaction, so nothing is read of it.
pub(crate) fn told_apart(settings: &Settings) -> u64 {
    let mut hash = DefaultHasher::new();
    settings.labels.hash(&mut hash);
    settings.access.hash(&mut hash);
    hash.finish()
}

fn program(reader: &Reader<'_>, design: &str) -> Result<Function, PodError> {
    let missing = || Err(format!("there is no {design}"));
    let Some(record) = reader.record(design)? else {
        return Ok(missing());
    };
    let Some(winner) = record.tree.winner().filter(|node| !node.is_deleted()) else {
        return Ok(missing());
    };
    let Some(stored) = winner
        .body()
        .map(|body| reader.body(body))
        .transpose()?
        .flatten()
    else {
        return Ok(missing());
    };
    let body = Body::decode(&stored)?;
    let rendering = Rendering {
        id: design,
        revision: &winner.revision(),
        deleted: false,
        json: &body.json,
        attachments: &body.attachments,
        meta: &Meta::default(),
        encoding_info: false,
    };
    let mut document = Vec::with_capacity(body.json.len() + 100);
    rendering.write(&mut document);
    let document = String::from_utf8_lossy(&document).into_owned();
    Ok(Ok(DesignProgram::new(document)))
}
