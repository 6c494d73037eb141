//! From JSON to a normalised [`Clause`].
//!
//! One descent does what `CouchDB` does in three: it names operators, joins nested field
//! names, and carries a pending negation down to the conditions. The size and the depth of the
//! JSON are measured first, without recursion, so that the descent may recurse.

use regex::RegexBuilder;
use serde_json::{Number, Value};

use super::condition::LARGEST_DIVISOR;
use super::erlang_term::erlang_term;
use super::{Clause, Comparison, Condition, FieldPath, MAX_DEPTH, MAX_VALUES, SelectorError};
use crate::collation::{Collation, is_integer};

/// How many bytes all paths of a selector may have together. Each condition holds its own.
const MAX_PATH_BYTES: usize = 1 << 20;

/// How large regular expressions may compile, all together, and the sizes tried for each. An
/// ordinary one takes the first, one that counts letters of all scripts the last.
const MAX_REGEX_BYTES: usize = 16 << 20;
const REGEX_SIZES: [usize; 5] = [2 << 10, 16 << 10, 128 << 10, 1 << 20, 4 << 20];

type Result<T> = std::result::Result<T, SelectorError>;

pub(super) fn parse(selector: &Value) -> Result<Clause> {
    measure(selector)?;
    let Value::Object(members) = selector else {
        return Err(SelectorError::NotAnObject(erlang_term(selector)));
    };
    if members.is_empty() {
        return Ok(Clause::And(Vec::new()));
    }
    let root = Context {
        path: "",
        collation: Collation::Unicode,
        negation: Negation::Sinking(false),
    };
    let clause = Parser::default().clause(selector, root)?;
    match &clause {
        Clause::Field { path, .. } if path.name().is_empty() => {
            Err(SelectorError::MissingFieldName)
        }
        Clause::Field { .. } | Clause::And(_) | Clause::Or(_) | Clause::Not(_) => Ok(clause),
    }
}

fn measure(selector: &Value) -> Result<()> {
    let mut values = 0;
    let mut pending = vec![(selector, 1)];
    while let Some((value, depth)) = pending.pop() {
        values += 1;
        if depth > MAX_DEPTH {
            return Err(SelectorError::TooDeep);
        }
        let members = match value {
            Value::Array(elements) => elements.len(),
            Value::Object(members) => members.len(),
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => 0,
        };
        if values + pending.len() + members > MAX_VALUES {
            return Err(SelectorError::TooLarge);
        }
        match value {
            Value::Array(elements) => {
                pending.extend(elements.iter().map(|element| (element, depth + 1)))
            }
            Value::Object(members) => {
                pending.extend(members.values().map(|member| (member, depth + 1)))
            }
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
        }
    }
    Ok(())
}

/// What the descent has consumed of its bounds.
#[derive(Default)]
struct Parser {
    path_bytes: usize,
    regex_bytes: usize,
}

/// Where the descent is.
#[derive(Clone, Copy)]
struct Context<'a> {
    /// The fields passed through, joined by dots.
    path: &'a str,
    /// How values compare here: raw inside `_id`.
    collation: Collation,
    negation: Negation,
}

/// What becomes of `$not`.
#[derive(Clone, Copy)]
enum Negation {
    /// It sinks to the conditions; `true` while one is sinking.
    Sinking(bool),
    /// Inside `$elemMatch` and its kin it stays where it is, as in `CouchDB`, so an element
    /// without a field matches `$not` of any condition on that field.
    Staying,
}

/// The operators whose argument is a list of selectors.
#[derive(Clone, Copy, PartialEq)]
enum Combination {
    And,
    Or,
    Nor,
}

impl Parser {
    /// A selector, or whatever stands in its place: a bare value means equality.
    fn clause(&mut self, selector: &Value, context: Context<'_>) -> Result<Clause> {
        let Some(members) = selector.as_object().filter(|members| !members.is_empty()) else {
            let equality = Condition::Compare {
                comparison: Comparison::Equal,
                operand: selector.clone(),
            };
            return self.leaf(equality, context);
        };
        let clauses = members
            .iter()
            .map(|(name, argument)| self.member(name, argument, context));
        let mut clauses = clauses.collect::<Result<Vec<_>>>()?;
        match clauses.pop() {
            Some(only) if clauses.is_empty() => Ok(only),
            last => {
                clauses.extend(last);
                Ok(combined(Combination::And, clauses, context.negation))
            }
        }
    }

    fn member(&mut self, name: &str, argument: &Value, context: Context<'_>) -> Result<Clause> {
        match name {
            "$and" => self.combination(Combination::And, name, argument, context),
            "$or" => self.combination(Combination::Or, name, argument, context),
            "$nor" => self.combination(Combination::Nor, name, argument, context),
            "$not" => self.negation(argument, context),
            operator if operator.starts_with('$') => {
                let condition = self.condition(operator, argument, context)?;
                self.leaf(condition, context)
            }
            field if context.path.is_empty() => self.clause(
                argument,
                Context {
                    path: field,
                    ..context
                },
            ),
            field => {
                self.charge_path(context.path.len() + field.len())?;
                let path = format!("{}.{field}", context.path);
                self.clause(
                    argument,
                    Context {
                        path: &path,
                        ..context
                    },
                )
            }
        }
    }

    fn combination(
        &mut self,
        combination: Combination,
        operator: &str,
        argument: &Value,
        context: Context<'_>,
    ) -> Result<Clause> {
        let negation = match context.negation {
            Negation::Sinking(negated) => {
                Negation::Sinking(negated ^ (combination == Combination::Nor))
            }
            Negation::Staying => Negation::Staying,
        };
        let inside = Context {
            negation,
            ..context
        };
        let clauses = list(operator, argument)?
            .iter()
            .map(|selector| self.clause(selector, inside));
        Ok(combined(
            combination,
            clauses.collect::<Result<_>>()?,
            context.negation,
        ))
    }

    fn negation(&mut self, argument: &Value, context: Context<'_>) -> Result<Clause> {
        if !argument.is_object() {
            return Err(bad_argument("$not", argument));
        }
        match context.negation {
            Negation::Sinking(negated) => self.clause(
                argument,
                Context {
                    negation: Negation::Sinking(!negated),
                    ..context
                },
            ),
            Negation::Staying => Ok(Clause::Not(Box::new(self.clause(argument, context)?))),
        }
    }

    /// A condition on the field that the descent is in.
    fn leaf(&mut self, condition: Condition, context: Context<'_>) -> Result<Clause> {
        self.charge_path(context.path.len())?;
        let path = FieldPath::parse(context.path)
            .map_err(|_invalid| SelectorError::InvalidFieldName(context.path.to_owned()))?;
        let condition = match context.negation {
            Negation::Sinking(true) => condition.negated(),
            Negation::Sinking(false) | Negation::Staying => condition,
        };
        Ok(Clause::Field {
            path,
            collation: context.leaf_collation(),
            condition,
        })
    }

    fn charge_path(&mut self, bytes: usize) -> Result<()> {
        self.path_bytes = self.path_bytes.saturating_add(bytes);
        if self.path_bytes > MAX_PATH_BYTES {
            Err(SelectorError::TooLarge)
        } else {
            Ok(())
        }
    }

    fn condition(
        &mut self,
        operator: &str,
        argument: &Value,
        context: Context<'_>,
    ) -> Result<Condition> {
        let compare = |comparison| {
            Ok(Condition::Compare {
                comparison,
                operand: argument.clone(),
            })
        };
        let invalid_operator = || SelectorError::InvalidOperator(operator.to_owned());
        let bad = || bad_argument(operator, argument);
        match operator {
            "$lt" => compare(Comparison::Less),
            "$lte" => compare(Comparison::LessOrEqual),
            "$eq" => compare(Comparison::Equal),
            "$ne" => compare(Comparison::NotEqual),
            "$gte" => compare(Comparison::GreaterOrEqual),
            "$gt" => compare(Comparison::Greater),
            "$in" => Ok(Condition::In(sorted(
                list(operator, argument)?,
                context.leaf_collation(),
            ))),
            "$nin" => Ok(Condition::NotIn(sorted(
                list(operator, argument)?,
                context.leaf_collation(),
            ))),
            "$all" => Ok(Condition::All(list(operator, argument)?.clone())),
            "$exists" => argument.as_bool().map(Condition::Exists).ok_or_else(bad),
            "$type" => argument
                .as_str()
                .map(|name| Condition::Type(name.to_owned()))
                .ok_or_else(bad),
            "$size" => size(argument).ok_or_else(bad),
            "$mod" => modulo(argument).ok_or_else(bad),
            "$elemMatch" => Ok(Condition::ElemMatch(
                self.inside(operator, argument, context)?,
            )),
            "$allMatch" => Ok(Condition::AllMatch(
                self.inside(operator, argument, context)?,
            )),
            "$keyMapMatch" => Ok(Condition::KeyMapMatch(
                self.inside(operator, argument, context)?,
            )),
            "$regex" => self.regex(argument.as_str().ok_or_else(invalid_operator)?, argument),
            "$beginsWith" => argument
                .as_str()
                .map(|prefix| Condition::BeginsWith(prefix.to_owned()))
                .ok_or_else(invalid_operator),
            "$text" if matches!(argument, Value::Null | Value::Array(_) | Value::Object(_)) => {
                Err(bad())
            }
            "$text" | "$where" | "$geoWithin" | "$geoIntersects" | "$near" | "$nearSphere" => {
                Err(SelectorError::UnsupportedOperator(operator.to_owned()))
            }
            _ => Err(invalid_operator()),
        }
    }

    /// The selector for the members of a container.
    fn inside(
        &mut self,
        operator: &str,
        argument: &Value,
        context: Context<'_>,
    ) -> Result<Box<Clause>> {
        if !argument.is_object() {
            return Err(bad_argument(operator, argument));
        }
        let inside = Context {
            path: "",
            collation: context.leaf_collation(),
            negation: Negation::Staying,
        };
        self.clause(argument, inside).map(Box::new)
    }

    /// Compiles an expression under the lowest limit that it fits: what it may cost is all
    /// that the library says of its size.
    fn regex(&mut self, pattern: &str, argument: &Value) -> Result<Condition> {
        for size in REGEX_SIZES {
            if self.regex_bytes + size > MAX_REGEX_BYTES {
                break;
            }
            match RegexBuilder::new(pattern).size_limit(size).build() {
                Ok(regex) => {
                    self.regex_bytes += size;
                    return Ok(Condition::Regex { regex, size });
                }
                Err(regex::Error::CompiledTooBig(_)) => {}
                Err(error) => return Err(refused_pattern(&error.to_string(), argument)),
            }
        }
        Err(SelectorError::RegexTooLarge)
    }
}

impl Context<'_> {
    /// `_id`, and whatever is inside it, compares raw.
    fn leaf_collation(self) -> Collation {
        if self.path == "_id" {
            Collation::Raw
        } else {
            self.collation
        }
    }
}

/// Joins clauses that have already taken in a sinking negation, which turns "and" into "or"
/// for them. A negation that stays leaves "nor" to be said in so many words.
fn combined(combination: Combination, clauses: Vec<Clause>, negation: Negation) -> Clause {
    match (combination, negation) {
        (Combination::And | Combination::Nor, Negation::Sinking(false)) => Clause::And(clauses),
        (Combination::And | Combination::Nor, Negation::Sinking(true)) => Clause::Or(clauses),
        (Combination::Or, Negation::Sinking(true)) => Clause::And(clauses),
        (Combination::Or, Negation::Sinking(false) | Negation::Staying) => Clause::Or(clauses),
        (Combination::And, Negation::Staying) => Clause::And(clauses),
        (Combination::Nor, Negation::Staying) => Clause::And(
            clauses
                .into_iter()
                .map(|clause| Clause::Not(Box::new(clause)))
                .collect(),
        ),
    }
}

fn bad_argument(operator: &str, argument: &Value) -> SelectorError {
    SelectorError::BadArgument {
        operator: operator.to_owned(),
        argument: erlang_term(argument),
    }
}

fn list<'a>(operator: &str, argument: &'a Value) -> Result<&'a Vec<Value>> {
    argument
        .as_array()
        .ok_or_else(|| bad_argument(operator, argument))
}

fn sorted(values: &[Value], collation: Collation) -> Vec<Value> {
    let mut sorted = values.to_vec();
    sorted.sort_by(|left, right| collation.compare(left, right));
    sorted
}

/// An integer that is not negative; one too large for a length is a length nothing has.
fn size(argument: &Value) -> Option<Condition> {
    let number = argument.as_number().filter(|number| is_integer(number))?;
    let text = number.as_str();
    let negative = text.starts_with('-') && text != "-0";
    (!negative)
        .then(|| Condition::Size(number.as_u64().and_then(|size| usize::try_from(size).ok())))
}

/// Two integers, the first not zero.
fn modulo(argument: &Value) -> Option<Condition> {
    let [divisor, remainder] = argument.as_array()?.as_slice() else {
        return None;
    };
    let integer = |value: &Value| {
        value
            .as_number()
            .filter(|number| is_integer(number))
            .map(Number::as_str)
            .map(str::to_owned)
    };
    let (divisor, remainder) = (integer(divisor)?, integer(remainder)?);
    let divisor = divisor
        .parse::<i128>()
        .ok()
        .filter(|divisor| (1..=LARGEST_DIVISOR).contains(&divisor.unsigned_abs()))?;
    Some(Condition::Mod {
        divisor,
        remainder: remainder.parse().ok(),
    })
}

/// The last line of a syntax error says what is wrong. What this engine refuses by design
/// (look-around, back-references) is worth telling from what no engine would take.
fn refused_pattern(error: &str, argument: &Value) -> SelectorError {
    let verdict = error
        .lines()
        .last()
        .unwrap_or_default()
        .trim_start_matches("error: ");
    if verdict.contains("not supported") {
        SelectorError::UnsupportedRegex(verdict.to_owned())
    } else {
        bad_argument("$regex", argument)
    }
}
