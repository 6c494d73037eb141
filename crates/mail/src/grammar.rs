//! The part of the templates' language that is allowed: what a mail needs, and nothing that could make
//! a value longer than those that it is made of.
//!
//! Invariants: every place where the language's own reader could see a tag begin has been read here, since
//! a tag holds no brace; no tag holds an operator that joins or repeats, a literal list, or a loop, so that
//! each is filled in once and is at most a few times as long as the data; and nothing is nested deeper than
//! the language's reader bears.

/// How deep conditions may stand in one another, each further branch counted.
const BRANCHES_MAX: usize = 40;
/// The most parts that `and` and `or` join.
const JOINED_MAX: usize = 8;
/// The most names behind one another, with dots between them.
const NAMES_MAX: usize = 4;
/// The most filters behind one another.
const FILTERS_MAX: usize = 4;
/// The most digits of a number.
const DIGITS_MAX: usize = 9;
/// The most bytes of a tag that are told.
const TOLD_MAX: usize = 40;

/// What a template holds that is not allowed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Refused {
    /// A tag of another kind.
    Tag(String),
    /// A value or condition that is not one of those.
    Value(String),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Token<'s> {
    Name(&'s str),
    Text,
    Number,
    Sign(&'static str),
}

/// Signs; the longer ones first.
const SIGNS: [&str; 11] = ["==", "!=", "<=", ">=", "//", "<", ">", ".", "|", "(", ")"];

/// Refuses a source that holds anything but texts, values, conditions and remarks.
pub(crate) fn check(source: &str) -> Result<(), Refused> {
    let mut open: Vec<usize> = Vec::new();
    let mut rest = source;
    while let Some(at) = next_tag(rest) {
        let (mark, after) = rest.split_at(at).1.split_at(2);
        let end = match mark {
            "{{" => "}}",
            "{%" => "%}",
            _ => "#}",
        };
        let inner = after.split(end).next().unwrap_or(after);
        let refused = || Refused::Value(told(inner));
        // Without braces within, no other reader can see the tag end, or another begin, elsewhere.
        if inner.contains(['{', '}']) || inner.len() == after.len() {
            return Err(refused());
        }
        rest = after.get(inner.len() + 2..).unwrap_or("");
        let inner = inner.strip_prefix(['-', '+']).unwrap_or(inner);
        let inner = inner.strip_suffix(['-', '+']).unwrap_or(inner);
        match end {
            "}}" => {
                let tokens = tokens(inner).ok_or_else(refused)?;
                if place(&mut Reader::new(&tokens)).is_none() {
                    return Err(refused());
                }
            }
            "%}" => branch(inner, &mut open)?,
            _ => {}
        }
        if open.iter().sum::<usize>() > BRANCHES_MAX {
            return Err(refused());
        }
    }
    Ok(())
}

/// Where a tag begins.
fn next_tag(text: &str) -> Option<usize> {
    let mut pairs = text.as_bytes().windows(2);
    pairs.position(|pair| matches!(pair, b"{{" | b"{%" | b"{#"))
}

fn told(inner: &str) -> String {
    let plain = inner.trim().chars().filter(|c| !c.is_control());
    plain.take(TOLD_MAX).collect()
}

/// A tag of a condition; `open` counts the branches of those that stand around it.
fn branch(inner: &str, open: &mut Vec<usize>) -> Result<(), Refused> {
    let inner = inner.trim_ascii();
    let end = inner.find(|c: char| !c.is_alphanumeric() && c != '_');
    let (tag, rest) = inner.split_at(end.unwrap_or(inner.len()));
    if !["if", "elif", "else", "endif"].contains(&tag) {
        return Err(Refused::Tag(told(tag)));
    }
    let refused = || Refused::Value(told(inner));
    let tokens = tokens(rest).ok_or_else(refused)?;
    let mut reader = Reader::new(&tokens);
    let fits = match tag {
        "if" | "elif" => {
            match (tag, open.last_mut()) {
                ("elif", Some(branches)) => *branches += 1,
                _ => open.push(1),
            }
            condition(&mut reader).is_some()
        }
        "else" => tokens.is_empty(),
        _ => {
            open.pop();
            tokens.is_empty()
        }
    };
    if fits { Ok(()) } else { Err(refused()) }
}

fn tokens(inner: &str) -> Option<Vec<Token<'_>>> {
    let mut tokens = Vec::new();
    let mut rest = inner.trim_ascii_start();
    while let Some(first) = rest.chars().next() {
        let (token, length) = match first {
            '"' | '\'' => {
                let text = rest.get(1..)?.split(first).next()?;
                // Nothing is escaped, so that there is one way to tell where a text ends.
                if text.contains(|c: char| c == '\\' || c == '%' || c == '#' || c.is_control()) {
                    return None;
                }
                let length = text.len() + 2;
                (rest.len() >= length).then_some((Token::Text, length))?
            }
            '0'..='9' => {
                let length = word(rest);
                let digits = rest.get(..length)?;
                let fits = length <= DIGITS_MAX && digits.bytes().all(|byte| byte.is_ascii_digit());
                fits.then_some((Token::Number, length))?
            }
            'a'..='z' | 'A'..='Z' | '_' => {
                let length = word(rest);
                (Token::Name(rest.get(..length)?), length)
            }
            _ => {
                let sign = SIGNS.into_iter().find(|sign| rest.starts_with(sign))?;
                (Token::Sign(sign), sign.len())
            }
        };
        tokens.push(token);
        rest = rest.get(length..)?.trim_ascii_start();
    }
    Some(tokens)
}

fn word(text: &str) -> usize {
    let end = text.find(|c: char| !c.is_ascii_alphanumeric() && c != '_');
    end.unwrap_or(text.len())
}

/// What is left of a tag.
struct Reader<'t> {
    left: &'t [Token<'t>],
}

impl<'t> Reader<'t> {
    fn new(tokens: &'t [Token<'t>]) -> Self {
        Self { left: tokens }
    }

    fn next(&mut self) -> Option<Token<'t>> {
        let (first, left) = self.left.split_first()?;
        self.left = left;
        Some(*first)
    }

    /// Takes the next one if it is that.
    fn take(&mut self, wanted: Token<'_>) -> bool {
        let there = self.left.first() == Some(&wanted);
        if there {
            self.next();
        }
        there
    }

    fn name(&mut self) -> Option<&'t str> {
        match self.next()? {
            Token::Name(name) => Some(name),
            Token::Text | Token::Number | Token::Sign(_) => None,
        }
    }

    fn end(&self) -> Option<()> {
        self.left.is_empty().then_some(())
    }
}

/// A value that is filled in: one of the data, perhaps a part of a number (`minutes // 60`).
fn place(reader: &mut Reader<'_>) -> Option<()> {
    value(reader)?;
    if reader.take(Token::Sign("//")) && !reader.take(Token::Number) {
        return None;
    }
    reader.end()
}

/// `name.name|filter`.
fn value(reader: &mut Reader<'_>) -> Option<()> {
    reader.name()?;
    let mut names = 1;
    while reader.take(Token::Sign(".")) {
        reader.name()?;
        names += 1;
    }
    let mut filters = 0;
    while reader.take(Token::Sign("|")) {
        match reader.name()? {
            "default" => {
                let opens = reader.take(Token::Sign("("));
                let given = reader.take(Token::Text) || reader.take(Token::Number);
                (opens && given && reader.take(Token::Sign(")"))).then_some(())?;
            }
            "length" | "lower" | "trim" | "upper" => {}
            _ => return None,
        }
        filters += 1;
    }
    (names <= NAMES_MAX && filters <= FILTERS_MAX).then_some(())
}

/// Values that are or are not, or are compared with what is written there.
fn condition(reader: &mut Reader<'_>) -> Option<()> {
    for _ in 0..JOINED_MAX {
        reader.take(Token::Name("not"));
        value(reader)?;
        match reader.left.first() {
            Some(Token::Sign("==" | "!=" | "<" | "<=" | ">" | ">=")) => {
                reader.next();
                literal(reader)?;
            }
            Some(Token::Name("is")) => {
                reader.next();
                reader.take(Token::Name("not"));
                matches!(reader.name()?, "defined" | "none").then_some(())?;
            }
            _ => {}
        }
        if !(reader.take(Token::Name("and")) || reader.take(Token::Name("or"))) {
            return reader.end();
        }
    }
    None
}

fn literal(reader: &mut Reader<'_>) -> Option<()> {
    match reader.next()? {
        Token::Text | Token::Number => Some(()),
        Token::Name(name) => matches!(name, "none" | "true" | "false").then_some(()),
        Token::Sign(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_conditions_and_remarks_are_allowed() {
        for source in [
            "",
            "a { b } c %} }} #}",
            "{{ link }}",
            "{{-link-}}",
            "{{ minutes // 60 }}",
            "{{ a.b|trim|upper }}",
            "{{ team|default(\"none at all\") }}",
            "{% if minutes >= 120 %}x{% elif role == 'owner' and not team %}y{% else %}{% endif %}",
            "{%- if a is not none or b is defined -%}x{%+ endif +%}",
            "{# a remark #}",
            "{% if a|length > 3 %}{% endif %}",
        ] {
            assert_eq!(check(source), Ok(()), "{source}");
        }
    }

    #[test]
    fn what_could_grow_is_refused() {
        for source in [
            "{{ [to*6600000, to*6600000]|length }}",
            "{{ to * 6 }}",
            "{{ to ~ to }}",
            "{{ to + to }}",
            "{{ minutes ** 9 }}",
            "{{ (to,to) }}",
            "{{ {'a': to} }}",
            "{{ 'x' }}",
            "{{ range(9) }}",
            "{{ to[0] }}",
            "{{ to|join(to) }}",
            "{{ to|default(to) }}",
            "{{ to.format(to) }}",
            "{{ to if to else app }}",
            "{{ minutes // to }}",
            "{{ minutes // 60 // 60 }}",
            "{% if 0 %}x{% endif %}",
            "{% if to * 99999999 %}x{% endif %}",
            "{% if to == to ~ to %}x{% endif %}",
            "{% if none and [to*9] %}x{% endif %}",
            "{% if a == \"}}\" %}",
            "{# {{ to * 9 }} #}",
            "{#} {{ to * 9 }} #}",
            "{{ a",
            "{{",
            "{%",
            "{{}}",
            "{{ '\\'' }}",
            "{{{ a }}}",
            "{{ a }}{{ b * 9 }}",
            "{{ a.b.c.d.e }}",
            "{{ a|upper|upper|upper|upper|upper }}",
            "{{ 9999999999 }}",
        ] {
            assert!(matches!(check(source), Err(Refused::Value(_))), "{source}");
        }
        for (source, tag) in [
            ("{% for b in [a~a~a] %}{% endfor %}", "for"),
            ("{% set a = 1 %}", "set"),
            ("{% macro x() %}", "macro"),
            ("{% include 'x' %}", "include"),
            ("{%raw%}{{ a * 9 }}{%endraw%}", "raw"),
            ("{% autoescape false %}", "autoescape"),
            ("{%é%}", "é"),
            ("{% %}", ""),
        ] {
            assert_eq!(check(source), Err(Refused::Tag(tag.to_owned())), "{source}");
        }
    }

    #[test]
    fn branches_are_counted() {
        let deep = |count: usize| "{% if a %}".repeat(count) + &"{% endif %}".repeat(count);
        assert_eq!(check(&deep(BRANCHES_MAX)), Ok(()));
        assert!(check(&deep(BRANCHES_MAX + 1)).is_err());
        let long = |count| format!("{{% if a %}}{}{{% endif %}}", "{% elif a %}".repeat(count));
        assert_eq!(check(&long(BRANCHES_MAX - 1)), Ok(()));
        assert!(check(&long(BRANCHES_MAX)).is_err());
        assert_eq!(check(&long(3).repeat(100)), Ok(()));
        let joined = format!("{{% if a{} %}}", " and a".repeat(JOINED_MAX));
        assert!(check(&joined).is_err());
    }
}
