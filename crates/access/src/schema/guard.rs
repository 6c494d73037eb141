//! The members that clients do not set, as a tree of the places where they stand.

use std::collections::BTreeSet;

use serde_json::{Map, Value};

use super::{Members, SchemaRefusal};

/// The word by which a schema names such a member.
const WORD: &str = "x-client";
/// The standard's own word, which means the same as `"x-client": "refuse"`.
const READ_ONLY: &str = "readOnly";
/// How deep schemas are followed, references included.
const DEPTH_MAX: usize = 24;
/// How many places are looked at: references may name a place many times over.
const PLACES_MAX: usize = 10_000;
/// Keywords whose schemas are of the same value.
const SAME: [&str; 3] = ["allOf", "anyOf", "oneOf"];
const BRANCHES: [&str; 3] = ["if", "then", "else"];

/// What becomes of a client's value.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Mode {
    Drop,
    Refuse,
}

/// Places at or below a value that clients do not set.
#[derive(Debug, Default)]
pub(super) struct Guard {
    mode: Option<Mode>,
    members: Members,
    /// Members that are not named.
    others: Option<Box<Self>>,
    items: Option<Box<Self>>,
}

impl Guard {
    /// Those of a schema.
    ///
    /// # Errors
    /// The place in the schema where `x-client` is not understood.
    pub(super) fn read(schema: &Value) -> Result<Self, String> {
        let mut guard = Self::default();
        // Most schemas have none of it, and may be as intricate as they like.
        if !names(schema) {
            return Ok(guard);
        }
        let mut reading = Reading {
            root: schema,
            places: 0,
        };
        reading.read(schema, &mut guard, "", Depth::default())?;
        if guard.mode.is_some() {
            return Err("/".to_owned());
        }
        Ok(guard)
    }

    fn is_empty(&self) -> bool {
        self.mode.is_none()
            && self.members.values().all(Self::is_empty)
            && self.others.as_deref().is_none_or(Self::is_empty)
            && self.items.as_deref().is_none_or(Self::is_empty)
    }

    /// Whether `value` has something that is guarded.
    fn guards(&self, value: &Value) -> bool {
        if self.mode.is_some() {
            return true;
        }
        match value {
            Value::Object(object) => object
                .iter()
                .any(|(name, value)| self.of(name).is_some_and(|guard| guard.guards(value))),
            Value::Array(_)
            | Value::Null
            | Value::Bool(_)
            | Value::Number(_)
            | Value::String(_) => false,
        }
    }

    fn of(&self, name: &str) -> Option<&Self> {
        self.members.get(name).or(self.others.as_deref())
    }

    /// Makes what is guarded of `new` as it is in `old`, or refuses. True if `new` was changed.
    pub(super) fn apply(
        &self,
        new: &mut Map<String, Value>,
        old: Option<&Map<String, Value>>,
        place: &str,
    ) -> Result<bool, SchemaRefusal> {
        self.apply_if(new, old, place, &|_| true)
    }

    /// The same for a document that was of another type, by whose guard `before` was guarded: members
    /// that it guarded are left to it, others must not be there.
    pub(super) fn apply_beside(
        &self,
        new: &mut Map<String, Value>,
        guarded: Option<&Self>,
        before: &Map<String, Value>,
    ) -> Result<bool, SchemaRefusal> {
        let left = |name: &str| {
            let known = guarded.and_then(|guard| guard.of(name));
            let whole = known.is_some_and(|guard| guard.mode.is_some());
            whole && before.contains_key(name)
        };
        self.apply_if(new, None, "", &|name| !left(name))
    }

    fn apply_if(
        &self,
        new: &mut Map<String, Value>,
        old: Option<&Map<String, Value>>,
        place: &str,
        asked: &dyn Fn(&str) -> bool,
    ) -> Result<bool, SchemaRefusal> {
        if self.is_empty() {
            return Ok(false);
        }
        let mut names: BTreeSet<String> = self.members.keys().cloned().collect();
        if self.others.is_some() {
            names.extend(new.keys().cloned());
            names.extend(old.into_iter().flat_map(|old| old.keys().cloned()));
        }
        let mut changed = false;
        for name in names.iter().filter(|name| asked(name)) {
            if let Some(guard) = self.of(name) {
                let before = old.and_then(|old| old.get(name));
                let place = format!("{place}/{}", name.replace('~', "~0").replace('/', "~1"));
                changed |= guard.member(new, name, before, &place)?;
            }
        }
        Ok(changed)
    }

    /// Guards the member `name` of `parent`.
    fn member(
        &self,
        parent: &mut Map<String, Value>,
        name: &str,
        old: Option<&Value>,
        place: &str,
    ) -> Result<bool, SchemaRefusal> {
        match self.mode {
            Some(_) if parent.get(name) == old => return Ok(false),
            Some(Mode::Refuse) => return Err(SchemaRefusal::NotForClients(place.to_owned())),
            Some(Mode::Drop) => {
                match old {
                    Some(old) => parent.insert(name.to_owned(), old.clone()),
                    None => parent.shift_remove(name),
                };
                return Ok(true);
            }
            None => {}
        }
        match parent.get_mut(name) {
            Some(Value::Object(new)) => self.apply(new, old.and_then(Value::as_object), place),
            Some(Value::Array(new)) if !old.is_some_and(|old| self.guards(old)) => {
                self.each_item(new, old.and_then(Value::as_array), place)
            }
            _ if !old.is_some_and(|old| self.guards(old)) => Ok(false),
            // What is guarded went away with what was around it: it comes back without the rest.
            _ => {
                let mut kept = Map::new();
                self.apply(&mut kept, old.and_then(Value::as_object), place)?;
                parent.insert(name.to_owned(), Value::Object(kept));
                Ok(true)
            }
        }
    }

    fn each_item(
        &self,
        new: &mut [Value],
        old: Option<&Vec<Value>>,
        place: &str,
    ) -> Result<bool, SchemaRefusal> {
        let Some(items) = self.items.as_deref().filter(|items| !items.is_empty()) else {
            return Ok(false);
        };
        let mut changed = false;
        for (at, item) in new.iter_mut().enumerate() {
            let before = old.and_then(|old| old.get(at));
            let place = format!("{place}/{at}");
            // An item is guarded as if it were a member of that name.
            let mut alone = Map::new();
            alone.insert(String::new(), std::mem::take(item));
            let answer = items.member(&mut alone, "", before, &place);
            *item = alone.shift_remove("").unwrap_or(Value::Null);
            changed |= answer?;
        }
        Ok(changed)
    }

    /// Takes over what another schema of the same value guards; the stricter counts.
    fn note(&mut self, mode: Mode) {
        self.mode = self.mode.max(Some(mode));
    }
}

/// Whether one of the words stands anywhere in a value.
fn names(value: &Value) -> bool {
    match value {
        Value::Object(object) => object.iter().any(|(name, value)| {
            name == WORD || (name == READ_ONLY && *value == Value::Bool(true)) || names(value)
        }),
        Value::Array(items) => items.iter().any(names),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => false,
    }
}

/// Where in a schema something stands.
#[derive(Clone, Copy, Default)]
struct Depth {
    levels: usize,
    /// Whether other schemas are of the same value.
    in_parts: bool,
}

impl Depth {
    fn below(self) -> Self {
        Self {
            levels: self.levels + 1,
            in_parts: false,
        }
    }

    fn part(self) -> Self {
        Self {
            levels: self.levels + 1,
            in_parts: true,
        }
    }
}

struct Reading<'s> {
    root: &'s Value,
    places: usize,
}

impl Reading<'_> {
    fn read(
        &mut self,
        schema: &Value,
        guard: &mut Guard,
        place: &str,
        depth: Depth,
    ) -> Result<(), String> {
        let Some(schema) = schema.as_object() else {
            return Ok(());
        };
        self.places += 1;
        if depth.levels > DEPTH_MAX || self.places > PLACES_MAX {
            return Err(place.to_owned());
        }
        let is_part = |word: &String| {
            let word = word.as_str();
            word == "$ref" || SAME.contains(&word) || BRANCHES.contains(&word)
        };
        let in_parts = depth.in_parts || schema.keys().any(is_part);
        for (word, inner) in schema {
            let place = format!("{place}/{word}");
            match word.as_str() {
                WORD => match inner.as_str() {
                    Some("refuse") => guard.note(Mode::Refuse),
                    Some("drop") => guard.note(Mode::Drop),
                    _ => return Err(place),
                },
                READ_ONLY if *inner == Value::Bool(true) => guard.note(Mode::Refuse),
                "properties" => {
                    for (name, inner) in inner.as_object().into_iter().flatten() {
                        let member = guard.members.entry(name.clone()).or_default();
                        self.read(inner, member, &format!("{place}/{name}"), depth.below())?;
                    }
                }
                // Which members are others, each part of a schema says for itself.
                "additionalProperties" if names(inner) && in_parts => return Err(place),
                "additionalProperties" => {
                    let others = guard.others.get_or_insert_default();
                    self.read(inner, others, &place, depth.below())?;
                }
                "items" if inner.is_object() => {
                    let items = guard.items.get_or_insert_default();
                    self.read(inner, items, &place, depth.below())?;
                }
                "$ref" => {
                    let target = inner.as_str().and_then(|text| text.strip_prefix('#'));
                    match target.and_then(|pointer| self.root.pointer(pointer)) {
                        Some(target) => {
                            let target = target.clone();
                            self.read(&target, guard, &place, depth.part())?;
                        }
                        None => return Err(place),
                    }
                }
                // Reached by references only.
                "$defs" | "definitions" | "const" | "enum" | "default" | "examples" => {}
                word if SAME.contains(&word) => {
                    for inner in inner.as_array().into_iter().flatten() {
                        self.read(inner, guard, &place, depth.part())?;
                    }
                }
                word if BRANCHES.contains(&word) => {
                    self.read(inner, guard, &place, depth.part())?
                }
                _ if names(inner) => return Err(place),
                _ => {}
            }
        }
        Ok(())
    }
}
