//! Programs: realms with functions compiled in them.

use rquickjs::Error;

use crate::wire::{Fields, ProgramKind};
use crate::worker::engine::{Engine, Outcome, Realm};
use crate::worker::run::{After, fail};

/// A program that can be run.
pub(crate) struct Program {
    pub(crate) realm: Realm,
    /// Map functions, each of which gives a line for a document.
    pub(crate) functions: usize,
}

/// What came of loading.
pub(crate) enum Loaded {
    Program(Program),
    /// It failed, which was answered.
    Failed(After),
}

/// Loads the sources after the program's kind.
pub(crate) fn load(
    engine: &Engine,
    kind: ProgramKind,
    mut fields: Fields<'_>,
) -> Option<Result<Loaded, Error>> {
    match kind {
        ProgramKind::Design => {
            let document = fields.string()?;
            Some(load_design(engine, document))
        }
        ProgramKind::Map | ProgramKind::Reduce => {
            let library = fields.option()?;
            let sources = fields.strings()?;
            Some(load_functions(engine, library, &sources, |at| {
                at.to_string()
            }))
        }
    }
}

/// Compiles `(name, source)`s and forgets them.
pub(crate) fn compile(engine: &Engine, mut fields: Fields<'_>) -> Option<Result<Loaded, Error>> {
    let library = fields.option()?;
    let names = fields.strings()?;
    let sources = fields.strings()?;
    let name = |at: usize| names.get(at).copied().unwrap_or_default().to_owned();
    Some(load_functions(engine, library, &sources, name))
}

fn load_functions(
    engine: &Engine,
    library: Option<&str>,
    sources: &[&str],
    name: impl Fn(usize) -> String,
) -> Result<Loaded, Error> {
    let realm = engine.realm()?;
    engine.clock.begin();
    let outcome = realm.with(&engine.clock, |door| -> Result<_, Error> {
        let load = door.entry("load")?;
        Ok(match door.strings(sources) {
            Ok(sources) => door.call(&load, (library, sources)),
            Err(outcome) => outcome,
        })
    })??;
    let loaded = finish(engine, outcome, name);
    Ok(loaded.map_or_else(
        || {
            Loaded::Program(Program {
                realm,
                functions: sources.len(),
            })
        },
        Loaded::Failed,
    ))
}

fn load_design(engine: &Engine, document: &str) -> Result<Loaded, Error> {
    let realm = engine.realm()?;
    engine.clock.begin();
    let outcome = realm.with(&engine.clock, |door| -> Result<_, Error> {
        Ok(door.call(&door.entry("loadDesign")?, (document,)))
    })??;
    let loaded = finish(engine, outcome, |_| "_design".to_owned());
    Ok(loaded.map_or_else(
        || {
            Loaded::Program(Program {
                realm,
                functions: 0,
            })
        },
        Loaded::Failed,
    ))
}

/// Answers a failure, if it is one. The text is empty, or the number of the function and its fault.
fn finish(engine: &Engine, outcome: Outcome, name: impl Fn(usize) -> String) -> Option<After> {
    let (at, outcome) = match outcome {
        Outcome::Text(text) if text.is_empty() => return None,
        Outcome::Text(text) => {
            let digits = text.bytes().take_while(u8::is_ascii_digit).count();
            let (number, fault) = text.split_at_checked(digits).unwrap_or(("", &text));
            (number.parse().unwrap_or(0), Outcome::Text(fault.to_owned()))
        }
        outcome @ (Outcome::Interrupted | Outcome::Exhausted | Outcome::Broken(_)) => (0, outcome),
    };
    Some(fail(engine, &name(at), outcome))
}
