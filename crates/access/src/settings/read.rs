//! Reads settings, field by field, so that what is wrong is told by the name of its field.

use serde_json::{Map, Value};

use super::{
    AccessSettings, Conflicts, DefaultList, InvalidSettings, Mailboxes, Rule, SETTINGS_BYTES_MAX,
    Schemas, SettingsFault, VERSION, WriteRules,
};
use crate::expression::PathExpression;
use crate::list::AccessList;

/// The longest name of a property, a function or a design document.
const NAME_BYTES_MAX: usize = 256;
const DESIGN: &str = "_design/";

pub(super) fn settings(text: &str) -> Result<AccessSettings, InvalidSettings> {
    if text.len() > SETTINGS_BYTES_MAX {
        return Err(wrong("", SettingsFault::TooLarge));
    }
    let value = serde_json::from_str(text).map_err(|_| wrong("", SettingsFault::NotJson))?;
    let mut fields = Fields::of("", value)?;
    if let Some(version) = fields.take("version")
        && version.as_u64() != Some(VERSION)
    {
        return Err(wrong("version", SettingsFault::Version));
    }
    let mut settings = AccessSettings::default();
    if let Some(value) = fields.take("rule") {
        settings.rule = rule(value)?;
    }
    if let Some(value) = fields.take("default") {
        settings.default = default_list(&value)?;
    }
    if let Some(value) = fields.take("write_rules") {
        settings.write_rules = switch("write_rules", value, |fields| {
            let usual = WriteRules::default();
            Ok(WriteRules {
                writers: fields.property("writers", usual.writers)?,
                owners: fields.property("owners", usual.owners)?,
            })
        })?;
    }
    if let Some(value) = fields.take("write_only") {
        let boolean = SettingsFault::MustBe("true or false");
        settings.write_only = value
            .as_bool()
            .ok_or_else(|| wrong("write_only", boolean))?;
    }
    if let Some(value) = fields.take("mailboxes") {
        settings.mailboxes = switch("mailboxes", value, |fields| {
            let usual = Mailboxes::default();
            Ok(Mailboxes {
                recipient: fields.property("recipient", usual.recipient)?,
            })
        })?;
    }
    if let Some(value) = fields.take("schemas").filter(|value| !value.is_null()) {
        settings.schemas = Some(schemas(value)?);
    }
    if let Some(value) = fields.take("conflicts") {
        settings.conflicts = conflicts(value)?;
    }
    fields.end()?;
    Ok(settings)
}

fn rule(value: Value) -> Result<Rule, InvalidSettings> {
    const KINDS: &str = "an object with one of property, expression and function";
    let mut fields = Fields::of("rule", value)?;
    let kinds = ["property", "expression", "function"].map(|kind| fields.take(kind));
    fields.end()?;
    match kinds {
        [Some(name), None, None] => property("rule.property", &name).map(Rule::Property),
        [None, Some(terms), None] => match PathExpression::parse(&terms) {
            Ok(expression) => Ok(Rule::Expression(expression)),
            Err(fault) => Err(wrong("rule.expression", SettingsFault::Expression(fault))),
        },
        [None, None, Some(function)] => {
            let mut fields = Fields::of("rule.function", function)?;
            let design = fields.take("design").unwrap_or_default();
            let design = name("rule.function.design", &design)?;
            let function = fields.take("name").unwrap_or_else(|| "access".into());
            let function = name("rule.function.name", &function)?;
            fields.end()?;
            let bare = design.strip_prefix(DESIGN).unwrap_or(&design);
            if bare.is_empty() {
                let fault = SettingsFault::MustBe("the id of a design document");
                return Err(wrong("rule.function.design", fault));
            }
            Ok(Rule::Function {
                design: [DESIGN, bare].concat(),
                name: function,
            })
        }
        _ => Err(wrong("rule", SettingsFault::MustBe(KINDS))),
    }
}

fn default_list(value: &Value) -> Result<DefaultList, InvalidSettings> {
    let fault = match value {
        Value::String(text) if text == "admin" => return Ok(DefaultList::Admin),
        Value::String(text) if text == "author" => return Ok(DefaultList::Author),
        Value::Array(_) => match AccessList::parse("default", value) {
            Ok(Some(list)) => return Ok(DefaultList::List(list)),
            Ok(None) => SettingsFault::MustBe("a list of principals"),
            Err(fault) => SettingsFault::List(fault),
        },
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Object(_) => {
            SettingsFault::MustBe("\"admin\", \"author\" or a list of principals")
        }
    };
    Err(wrong("default", fault))
}

fn schemas(value: Value) -> Result<Schemas, InvalidSettings> {
    let mut fields = Fields::of("schemas", value)?;
    let type_property = fields.property("property", "type".to_owned())?;
    let types = fields.take("types").unwrap_or_default();
    fields.end()?;
    let types = Fields::of("schemas.types", types)?.rest;
    for (name, schema) in &types {
        if !schema.is_object() && !schema.is_boolean() {
            let fault = SettingsFault::MustBe("a JSON Schema");
            return Err(wrong(&format!("schemas.types.{name}"), fault));
        }
    }
    Ok(Schemas {
        type_property,
        types,
    })
}

fn conflicts(value: Value) -> Result<Conflicts, InvalidSettings> {
    const WAYS: &str = "\"keep\", \"reject\" or an object with merge";
    match value.as_str() {
        Some("keep") => return Ok(Conflicts::Keep),
        Some("reject") => return Ok(Conflicts::Reject),
        Some(_) => return Err(wrong("conflicts", SettingsFault::MustBe(WAYS))),
        None => {}
    }
    if !value.is_object() {
        return Err(wrong("conflicts", SettingsFault::MustBe(WAYS)));
    }
    let mut fields = Fields::of("conflicts", value)?;
    let resolver = fields.take("merge");
    fields.end()?;
    let resolver = resolver.ok_or_else(|| wrong("conflicts", SettingsFault::MustBe(WAYS)))?;
    Ok(Conflicts::Merge(resolver))
}

/// What is off, on as usual, or on as an object's fields say.
fn switch<T>(
    field: &str,
    value: Value,
    read: impl FnOnce(&mut Fields) -> Result<T, InvalidSettings>,
) -> Result<Option<T>, InvalidSettings> {
    let object = match value {
        Value::Bool(false) => return Ok(None),
        Value::Bool(true) => Value::Object(Map::new()),
        Value::Object(_) => value,
        Value::Null | Value::Number(_) | Value::String(_) | Value::Array(_) => {
            let fault = SettingsFault::MustBe("true, false or an object");
            return Err(wrong(field, fault));
        }
    };
    let mut fields = Fields::of(field, object)?;
    let read = read(&mut fields)?;
    fields.end()?;
    Ok(Some(read))
}

/// The fields of an object that were not read yet.
struct Fields {
    path: String,
    rest: Map<String, Value>,
}

impl Fields {
    fn of(path: &str, value: Value) -> Result<Self, InvalidSettings> {
        match value {
            Value::Object(rest) => Ok(Self {
                path: path.to_owned(),
                rest,
            }),
            Value::Null
            | Value::Bool(_)
            | Value::Number(_)
            | Value::String(_)
            | Value::Array(_) => Err(wrong(path, SettingsFault::MustBe("an object"))),
        }
    }

    fn take(&mut self, name: &str) -> Option<Value> {
        self.rest.remove(name)
    }

    /// The name of a property of documents; `usual` if it is not said.
    fn property(&mut self, field: &str, usual: String) -> Result<String, InvalidSettings> {
        match self.take(field) {
            None => Ok(usual),
            Some(value) => property(&self.place(field), &value),
        }
    }

    /// That nothing is left.
    fn end(self) -> Result<(), InvalidSettings> {
        match self.rest.keys().next() {
            None => Ok(()),
            Some(name) => Err(wrong(&self.place(name), SettingsFault::Unknown)),
        }
    }

    fn place(&self, field: &str) -> String {
        if self.path.is_empty() {
            field.to_owned()
        } else {
            format!("{}.{field}", self.path)
        }
    }
}

fn property(field: &str, value: &Value) -> Result<String, InvalidSettings> {
    let fault = SettingsFault::MustBe("the name of a property, which begins with no underscore");
    match name(field, value) {
        Ok(name) if !name.starts_with('_') => Ok(name),
        _ => Err(wrong(field, fault)),
    }
}

fn name(field: &str, value: &Value) -> Result<String, InvalidSettings> {
    let text = value.as_str().unwrap_or_default();
    if text.is_empty() || text.len() > NAME_BYTES_MAX {
        let fault = SettingsFault::MustBe("a string of 1 to 256 bytes");
        return Err(wrong(field, fault));
    }
    Ok(text.to_owned())
}

fn wrong(field: &str, fault: SettingsFault) -> InvalidSettings {
    InvalidSettings {
        field: field.to_owned(),
        fault,
    }
}
