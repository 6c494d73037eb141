//! What a selector is about: its fields, what it surely asks for, and its normal form as JSON.

use serde_json::{Map, Value};

use super::{Clause, Comparison, Condition, FieldPath, Intervals, Selector};
use crate::collation::Collation;
use crate::json::skim::Wanted;

impl Selector {
    /// Whether every matching document has `field`, so that an index on it holds them all.
    #[must_use]
    pub fn requires(&self, field: &str) -> bool {
        self.clause.requires(field)
    }

    /// Whether no document can match.
    #[must_use]
    pub fn is_never(&self) -> bool {
        self.clause.is_never()
    }

    /// Whether `$eq` fixes `field` for every matching document, so that it does not matter to
    /// their order.
    #[must_use]
    pub fn fixes(&self, field: &str) -> bool {
        self.clause.fixes(field)
    }

    /// The values of `field` in documents that match, as sort keys in `collation`; `None` if a
    /// document without the field may match.
    #[must_use]
    pub fn intervals_for(&self, field: &str, collation: Collation) -> Option<Intervals> {
        self.clause.intervals(field, collation)
    }

    /// Whether the selector is a conjunction in which each clause is about one of `fields`.
    #[must_use]
    pub fn is_about(&self, fields: &[&str]) -> bool {
        let about_one = |clause: &Clause| fields.iter().any(|field| clause.is_about(field));
        match &self.clause {
            Clause::And(clauses) => clauses.iter().all(about_one),
            one @ (Clause::Or(_) | Clause::Not(_) | Clause::Field { .. }) => about_one(one),
        }
    }

    /// Whether trying a document costs little more than reading it, whatever the document: few
    /// conditions, none of which searches a text or goes through a container.
    #[must_use]
    pub fn is_light(&self) -> bool {
        let (mut conditions, mut light) = (0, true);
        self.clause.visit_fields(&mut |_, condition| {
            conditions += 1;
            light &= condition.is_light();
        });
        light && conditions <= LIGHT_CONDITIONS_MAX
    }

    /// The fields that it looks at, in the order of their first mention.
    #[must_use]
    pub fn fields(&self) -> Vec<&FieldPath> {
        let mut found: Vec<&FieldPath> = Vec::new();
        self.clause.visit_fields(&mut |path, _| {
            if !found.contains(&path) {
                found.push(path);
            }
        });
        found
    }

    /// The fields whose conditions `CouchDB` calls indexable: comparisons under nothing but `$and`.
    #[must_use]
    pub fn indexable_fields(&self) -> Vec<&FieldPath> {
        let mut found: Vec<&FieldPath> = Vec::new();
        self.clause.visit_conjoined(&mut |path, condition| {
            let indexable = matches!(
                condition,
                Condition::Compare { comparison, .. } if *comparison != Comparison::NotEqual
            );
            if indexable && !found.contains(&path) {
                found.push(path);
            }
        });
        found
    }

    /// The members of a document that decide whether it matches.
    #[must_use]
    pub fn needed_fields(&self) -> Wanted {
        let mut wanted = Wanted::default();
        self.clause.visit_fields(&mut |path, _| wanted.add(path));
        wanted
    }

    /// The normal form, as `CouchDB` shows it: `{"a": {"$gt": 1}}`, `{"$and": [...]}`.
    #[must_use]
    pub fn to_json(&self) -> Value {
        if matches!(&self.clause, Clause::And(clauses) if clauses.is_empty()) {
            return Value::Object(Map::new());
        }
        self.clause.to_json()
    }
}

/// More conditions than this are no light selector.
const LIGHT_CONDITIONS_MAX: usize = 16;
/// More values in `$in` than this are none, either.
const LIGHT_VALUES_MAX: usize = 64;

/// A text longer than this, or a container with anything in it, takes its time to be compared.
const LIGHT_BYTES_MAX: usize = 1_024;

fn is_small(value: &Value) -> bool {
    match value {
        Value::Null | Value::Bool(_) => true,
        Value::Number(number) => number.as_str().len() <= LIGHT_BYTES_MAX,
        Value::String(text) => text.len() <= LIGHT_BYTES_MAX,
        Value::Array(elements) => elements.is_empty(),
        Value::Object(members) => members.is_empty(),
    }
}

impl Clause {
    fn requires(&self, field: &str) -> bool {
        match self {
            Self::And(clauses) => clauses.iter().any(|clause| clause.requires(field)),
            Self::Or(clauses) => {
                !clauses.is_empty() && clauses.iter().all(|clause| clause.requires(field))
            }
            Self::Not(_) => false,
            Self::Field {
                path, condition, ..
            } => {
                self.is_never()
                    || path.name() == field && !matches!(condition, Condition::Exists(false))
            }
        }
    }

    fn fixes(&self, field: &str) -> bool {
        match self {
            Self::And(clauses) => clauses.iter().any(|clause| clause.fixes(field)),
            Self::Field {
                path, condition, ..
            } => {
                let equality = matches!(
                    condition,
                    Condition::Compare { comparison, .. } if *comparison == Comparison::Equal
                );
                equality && path.name() == field
            }
            Self::Or(_) | Self::Not(_) => false,
        }
    }

    fn visit_fields<'a>(&'a self, visit: &mut impl FnMut(&'a FieldPath, &'a Condition)) {
        match self {
            Self::And(clauses) | Self::Or(clauses) => {
                clauses.iter().for_each(|clause| clause.visit_fields(visit))
            }
            Self::Not(clause) => clause.visit_fields(visit),
            Self::Field {
                path, condition, ..
            } => visit(path, condition),
        }
    }

    fn visit_conjoined<'a>(&'a self, visit: &mut impl FnMut(&'a FieldPath, &'a Condition)) {
        match self {
            Self::And(clauses) => clauses
                .iter()
                .for_each(|clause| clause.visit_conjoined(visit)),
            Self::Field {
                path, condition, ..
            } => visit(path, condition),
            Self::Or(_) | Self::Not(_) => {}
        }
    }

    fn to_json(&self) -> Value {
        let all = |clauses: &[Self]| clauses.iter().map(Self::to_json).collect::<Vec<_>>();
        match self {
            Self::And(clauses) => single("$and", all(clauses)),
            Self::Or(clauses) => single("$or", all(clauses)),
            Self::Not(clause) => single("$not", clause.to_json()),
            Self::Field {
                path, condition, ..
            } if path.name().is_empty() => condition.to_json(),
            Self::Field {
                path, condition, ..
            } => single(path.name(), condition.to_json()),
        }
    }
}

impl Condition {
    fn is_light(&self) -> bool {
        match self {
            Self::Compare { operand, .. } => is_small(operand),
            Self::Exists(_)
            | Self::Type(_)
            | Self::Mod { .. }
            | Self::BeginsWith(_)
            | Self::Size(_) => true,
            Self::In(values) | Self::NotIn(values) => {
                values.len() <= LIGHT_VALUES_MAX && values.iter().all(is_small)
            }
            Self::Regex { .. }
            | Self::All(_)
            | Self::ElemMatch(_)
            | Self::AllMatch(_)
            | Self::KeyMapMatch(_) => false,
            Self::Not(condition) => condition.is_light(),
        }
    }

    fn to_json(&self) -> Value {
        match self {
            Self::Compare {
                comparison,
                operand,
            } => single(comparison.operator(), operand.clone()),
            Self::In(values) => single("$in", values.clone()),
            Self::NotIn(values) => single("$nin", values.clone()),
            Self::Exists(expected) => single("$exists", *expected),
            Self::Type(name) => single("$type", name.clone()),
            Self::Mod { divisor, remainder } => {
                let number = |n: i128| n.to_string().parse().map_or(Value::Null, Value::Number);
                let remainder = remainder.map_or(Value::Null, number);
                single("$mod", vec![number(*divisor), remainder])
            }
            Self::Regex { regex, .. } => single("$regex", regex.as_str()),
            Self::BeginsWith(prefix) => single("$beginsWith", prefix.clone()),
            Self::Size(size) => single("$size", *size),
            Self::All(values) => single("$all", values.clone()),
            Self::ElemMatch(clause) => single("$elemMatch", clause.to_json()),
            Self::AllMatch(clause) => single("$allMatch", clause.to_json()),
            Self::KeyMapMatch(clause) => single("$keyMapMatch", clause.to_json()),
            Self::Not(condition) => single("$not", condition.to_json()),
        }
    }
}

impl Comparison {
    fn operator(self) -> &'static str {
        match self {
            Self::Less => "$lt",
            Self::LessOrEqual => "$lte",
            Self::Equal => "$eq",
            Self::NotEqual => "$ne",
            Self::GreaterOrEqual => "$gte",
            Self::Greater => "$gt",
        }
    }
}

fn single(name: &str, value: impl Into<Value>) -> Value {
    let mut members = Map::new();
    members.insert(name.to_owned(), value.into());
    Value::Object(members)
}
