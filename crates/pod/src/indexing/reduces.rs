//! Filling the trees of reduces, so that questions are answered from a few nodes.
//!
//! Whoever asks gets the right answer from whatever is stored, so this only saves time. A function
//! that fails leaves its nodes empty; it will fail again, and be heard, when somebody asks.

use std::sync::atomic::Ordering;

use adea_documents::index::{self, IndexState, Material, NodeValue, NodeWork, Signature};
use adea_script::{Owner, Purpose, ReduceCall, ReduceProgram};

use crate::indexing::run::{Run, blocking};
use crate::indexing::{IndexFailure, IndexPlan, Reducer};
use crate::pod::Pod;

/// Nodes computed and stored at a time.
const NODES_MAX: usize = 1_024;

impl Pod {
    /// Computes what is missing in the reduce trees of a run's indexes. Breaks off, with false, when
    /// somebody wants the indexes to be further than `through`.
    pub(super) async fn fill_reduces(&self, run: &Run, through: u64) -> Result<bool, IndexFailure> {
        for plan in &run.plans {
            for (signature, reducer) in &plan.reduces {
                if self.trouble(&run.entry, signature).is_some() {
                    continue;
                }
                match self.fill(run, plan, (signature, reducer), through).await {
                    Ok(true) => {}
                    Ok(false) => return Ok(false),
                    Err(IndexFailure::Script(error)) => {
                        tracing::info!(%error, "a reduce function of {} failed: {error}", plan.name);
                        self.note_trouble(&run.entry, *signature, &error);
                    }
                    Err(failure) => return Err(failure),
                }
            }
        }
        Ok(true)
    }

    async fn fill(
        &self,
        run: &Run,
        plan: &IndexPlan,
        (reduce, reducer): (&Signature, &Reducer),
        through: u64,
    ) -> Result<bool, IndexFailure> {
        let number = run.entry.number;
        loop {
            if run.target.load(Ordering::Acquire) > through {
                return Ok(false);
            }
            let (pod, index, wanted) = (self.clone(), plan.signature, *reduce);
            let read = move || {
                let view = pod.view();
                let Some(state) = index::find(view.as_ref(), number, &index)? else {
                    return Ok(None);
                };
                let work = index::stale_nodes(view.as_ref(), number, &state, &wanted, NODES_MAX)?;
                Ok(Some((state, work)))
            };
            let Some((state, work)) = blocking(read).await? else {
                return Ok(true);
            };
            if work.is_empty() {
                return Ok(true);
            }
            let values = self.compute(number.0, reducer, work).await?;
            let Some(values) = values else {
                return Ok(true);
            };
            if !self.store_values(run, state, *reduce, values).await? {
                return Ok(true);
            }
        }
    }

    async fn store_values(
        &self,
        run: &Run,
        state: IndexState,
        reduce: Signature,
        values: Vec<NodeValue>,
    ) -> Result<bool, IndexFailure> {
        let number = run.entry.number;
        let stored = self.inner.store.transact(Self::permit(), move |tx| {
            index::store_nodes(tx, number, &state, &reduce, values)
        });
        Ok(stored.await?)
    }

    /// The values of nodes; `None` if the rows cannot be reduced so.
    async fn compute(
        &self,
        database: u64,
        reducer: &Reducer,
        work: Vec<NodeWork>,
    ) -> Result<Option<Vec<NodeValue>>, IndexFailure> {
        match reducer {
            Reducer::Builtin(builtin) => {
                let builtin = *builtin;
                blocking(move || {
                    let values = work.into_iter().map(|node| {
                        let value = match &node.material {
                            Material::Rows(rows) => builtin.reduce(rows),
                            Material::Values(values) => builtin.rereduce(values),
                        };
                        value.map(|value| node.done(value)).ok()
                    });
                    Ok(values.collect())
                })
                .await
            }
            Reducer::Script { source } => {
                let owner = Owner {
                    database,
                    purpose: Purpose::Reduce,
                };
                let program = ReduceProgram::new(None, vec![source.as_ref().to_owned()]);
                let calls = work.iter().map(|node| call_of(&node.material)).collect();
                let scripts = &self.inner.scripts;
                let values = scripts.reduce(&owner, &program, calls).await?;
                let nodes = work.into_iter().zip(values);
                Ok(nodes
                    .map(|(node, value)| Some(node.done(value.ok()?)))
                    .collect())
            }
        }
    }
}

/// A call of a program's only function.
pub(crate) fn call_of(material: &Material) -> ReduceCall {
    match material {
        Material::Rows(rows) => {
            let keys = rows.iter().map(|row| {
                let mut key = Vec::with_capacity(row.key.len() + row.id.len() + 5);
                key.push(b'[');
                key.extend_from_slice(row.key.as_bytes());
                key.push(b',');
                adea_documents::json::write_json_string(&mut key, &row.id);
                key.push(b']');
                String::from_utf8(key).unwrap_or_default()
            });
            ReduceCall {
                function: 0,
                keys: Some(keys.collect()),
                values: rows.iter().map(|row| row.value.clone()).collect(),
            }
        }
        Material::Values(values) => ReduceCall {
            function: 0,
            keys: None,
            values: values.clone(),
        },
    }
}
