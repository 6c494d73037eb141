//! From documents to rows: by map functions in their own process, or natively.
//!
//! Functions that may share a process's work do: all those of a run with the same library see each
//! document in one call. A function that throws at a document has no rows of it, and that is all.

use std::collections::HashMap;
use std::sync::Arc;

use adea_documents::collation::Collation;
use adea_documents::index::{MappedDocument, Row};
use adea_documents::json::write_json_string;
use adea_script::{MapProgram, Mapped, Owner, Purpose};
use bytes::Bytes;

use crate::indexing::page::PageDocument;
use crate::indexing::{IndexFailure, IndexPlan, Mapper};
use crate::pod::Pod;

/// The programs of plans that are mapped together, and which of their functions is which plan's.
pub(super) struct Programs {
    programs: Vec<(Arc<MapProgram>, Vec<usize>)>,
    owner: Owner,
}

/// A library, the functions that may require it, and whose they are.
type Group = (Option<Arc<str>>, Vec<String>, Vec<usize>);

/// What the functions made of a page: for each plan that has one, rows for each document that is
/// not deleted.
pub(super) type Emitted = HashMap<usize, Vec<Vec<Row>>>;

impl Programs {
    /// The programs of `plans`.
    pub(super) fn of(plans: &[Arc<IndexPlan>], database: u64) -> Self {
        let mut grouped: Vec<Group> = Vec::new();
        for (place, plan) in plans.iter().enumerate() {
            let Mapper::Script { lib, source } = &plan.mapper else {
                continue;
            };
            match grouped.iter_mut().find(|(known, _, _)| known == lib) {
                Some((_, sources, places)) => {
                    sources.push(source.as_ref().to_owned());
                    places.push(place);
                }
                None => grouped.push((lib.clone(), vec![source.as_ref().to_owned()], vec![place])),
            }
        }
        let programs = grouped.into_iter().map(|(lib, sources, places)| {
            let lib = lib.map(|lib| lib.as_ref().to_owned());
            (MapProgram::new(lib, sources), places)
        });
        Self {
            programs: programs.collect(),
            owner: Owner {
                database,
                purpose: Purpose::Index,
            },
        }
    }

    /// Maps the documents of a page that are not deleted.
    pub(super) async fn map(
        &self,
        pod: &Pod,
        documents: &[PageDocument],
    ) -> Result<Emitted, IndexFailure> {
        let mut emitted = Emitted::new();
        if self.programs.is_empty() {
            return Ok(emitted);
        }
        let living: Vec<Bytes> = documents
            .iter()
            .filter_map(|one| one.json.clone())
            .collect();
        for (program, places) in &self.programs {
            let mapped = if living.is_empty() {
                Vec::new()
            } else {
                pod.inner.scripts.map(&self.owner, program, &living).await?
            };
            for place in places {
                emitted.insert(*place, Vec::with_capacity(living.len()));
            }
            for functions in mapped {
                for (place, rows) in places.iter().zip(functions) {
                    if let Some(all) = emitted.get_mut(place) {
                        all.push(rows_of(rows));
                    }
                }
            }
        }
        Ok(emitted)
    }
}

fn rows_of(mapped: Mapped) -> Vec<Row> {
    match mapped {
        Mapped::Emitted(emissions) => {
            let rows = emissions.into_iter().map(|emission| Row {
                key: emission.key,
                value: emission.value,
            });
            rows.collect()
        }
        Mapped::Threw(reason) => {
            tracing::debug!(%reason, "a map function threw: {reason}");
            Vec::new()
        }
    }
}

/// What each document of a page has in the index of `plan`, which may be nothing.
pub(super) fn mapped(
    plan: &IndexPlan,
    documents: &[PageDocument],
    emitted: Option<Vec<Vec<Row>>>,
) -> Vec<MappedDocument> {
    let mut emitted = emitted.unwrap_or_default().into_iter();
    let documents = documents.iter().map(|document| {
        let mut rows = match (&plan.mapper, &document.json) {
            (_, None) => Vec::new(),
            (Mapper::Script { .. }, Some(_)) => emitted.next().unwrap_or_default(),
            (Mapper::Fields(extract), Some(json)) => extract.rows(&document.id, json),
        };
        // A page is read once for all, also for those that want no design documents; those are in
        // no partition.
        let design = document.id.starts_with("_design/");
        if design && (!plan.include_design || plan.partitioned) {
            rows.clear();
        }
        order_equal_keys(&mut rows);
        if plan.partitioned {
            part(&mut rows, &document.id);
        }
        MappedDocument {
            id: document.id.clone(),
            rows,
        }
    });
    documents.collect()
}

/// As in `CouchDB`, what one document emits under one key lies in the order of its values, and that
/// is the order of Erlang's terms. Rows of other keys are put in order later.
fn order_equal_keys(rows: &mut [Row]) {
    let mut keys: Vec<&str> = rows.iter().map(|row| row.key.as_str()).collect();
    keys.sort_unstable();
    let mut pairs = keys.iter().zip(keys.iter().skip(1));
    if pairs.any(|(one, next)| one == next) {
        rows.sort_by_cached_key(|row| {
            let mut key = Vec::with_capacity(row.value.len() + 4);
            Collation::Raw.sort_key_of_json(&row.value, &mut key);
            key
        });
    }
}

/// Puts the partition of document `id` in front of its rows' keys.
fn part(rows: &mut [Row], id: &str) {
    let Some((partition, _)) = id.split_once(':') else {
        return;
    };
    let mut front = Vec::with_capacity(partition.len() + 4);
    front.push(b'[');
    write_json_string(&mut front, partition);
    front.push(b',');
    let front = String::from_utf8(front).unwrap_or_default();
    for row in rows {
        row.key = format!("{front}{}]", row.key);
    }
}
