//! Design functions in real worker processes: what honest ones see, and what hostile ones cannot
//! do.
//!
//! The worker is the example `js_worker`, which `cargo test` builds beside the tests.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test that panics has failed, which is what it should do then"
)]

mod design;
mod hostile;
mod lists;
mod pool;
mod views;

use std::time::Duration;

use adea_script::{
    Emission, MapProgram, Mapped, Owner, Purpose, ScriptError, ScriptOptions, Scripts,
};
use bytes::Bytes;

/// Long enough for honest functions on a busy machine.
const PATIENT: Duration = Duration::from_secs(20);

/// Short enough to wait for.
const HASTY: Duration = Duration::from_millis(600);

fn options(timeout: Duration) -> ScriptOptions {
    let tests = std::env::current_exe().unwrap();
    let worker = tests
        .parent()
        .and_then(|deps| deps.parent())
        .unwrap()
        .join("examples/js_worker");
    assert!(
        worker.exists(),
        "`cargo test` without a target builds {}",
        worker.display()
    );
    ScriptOptions {
        command: vec![worker.into(), "js-worker".into()],
        memory_bytes: 64 << 20,
        timeout,
        processes_max: 4,
        idle: Duration::from_secs(600),
    }
}

fn scripts(timeout: Duration) -> Scripts {
    Scripts::new(options(timeout))
}

fn owner(database: u64) -> Owner {
    Owner {
        database,
        purpose: Purpose::Index,
    }
}

fn documents(texts: &[&str]) -> Vec<Bytes> {
    texts
        .iter()
        .map(|text| Bytes::from((*text).to_owned()))
        .collect()
}

fn emitted(rows: &[(&str, &str)]) -> Mapped {
    let emission = |(key, value): &(&str, &str)| Emission {
        key: (*key).to_owned(),
        value: (*value).to_owned(),
    };
    Mapped::Emitted(rows.iter().map(emission).collect())
}

/// One document through one map function.
async fn map_one(
    scripts: &Scripts,
    owner: &Owner,
    source: &str,
    document: &str,
) -> Result<Mapped, ScriptError> {
    let program = MapProgram::new(None, vec![source.to_owned()]);
    let mut mapped = scripts
        .map(owner, &program, &documents(&[document]))
        .await?;
    Ok(mapped.remove(0).remove(0))
}
