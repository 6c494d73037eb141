//! The words of a mail: three texts in minijinja's language, of which a small part is allowed.
//!
//! Values and conditions are enough for a mail. Whatever could make a value grow, bind a name or turn off
//! the escaping of HTML is refused when a template is saved and again when it is filled in, and the steps,
//! the depth and the length of what comes out are bounded. A name that there is not is an error, so that
//! no mail goes out with a hole in it.

use std::io::{self, Write};

use minijinja::syntax::SyntaxConfig;
use minijinja::value::Value as Filled;
use minijinja::{AutoEscape, Environment, UndefinedBehavior, filters, tests as predicates};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::grammar::{self, Refused};
use crate::kind::Kind;

/// The most bytes of a template, its three texts together.
pub const TEMPLATE_BYTES_MAX: usize = 64_000;
/// The most bytes of what is filled in, as JSON.
const DATA_BYTES_MAX: usize = 16_000;
/// The most bytes of one text that comes out.
const RENDERED_BYTES_MAX: usize = 256_000;
/// The most bytes of a subject: what fits on a few lines of a header.
const SUBJECT_BYTES_MAX: usize = 900;
/// Steps of the template's machine for one text.
const FUEL: u64 = 50_000;
/// How deep conditions, loops and expressions may be nested.
const DEPTH_MAX: usize = 50;

/// The words of a mail, with places to be filled in.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Template {
    /// What it is about, in one line.
    pub subject: String,
    /// The text for who reads no HTML.
    pub text: String,
    /// The same in HTML.
    pub html: String,
}

/// The words of a mail.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rendered {
    /// What it is about, in one line.
    pub subject: String,
    /// The text for who reads no HTML.
    pub text: String,
    /// The same in HTML.
    pub html: String,
}

/// Why a template cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidTemplate {
    /// It is longer than is taken.
    #[error("A template has at most {TEMPLATE_BYTES_MAX} bytes.")]
    TooLong,
    /// It holds a tag that is none or is not allowed.
    #[error("The {part} holds the tag `{tag}`; allowed are if, elif, else and endif.")]
    Tag {
        /// Where: `subject`, `text` or `html`.
        part: &'static str,
        /// The tag.
        tag: String,
    },
    /// It holds a value or condition that is not allowed.
    #[error(
        "The {part} holds `{value}`; allowed are a name of the data, with filters, and in a condition its \
         comparison with a text, a number or none."
    )]
    Value {
        /// Where: `subject`, `text` or `html`.
        part: &'static str,
        /// What stands there.
        value: String,
    },
    /// It cannot be read or filled in.
    #[error("The {part} cannot be filled in: {reason}")]
    Broken {
        /// Where: `subject`, `text` or `html`.
        part: &'static str,
        /// What the template's language says of it.
        reason: String,
    },
    /// What is to be filled in is longer than is taken, or no object.
    #[error("What is filled in is a JSON object of at most {DATA_BYTES_MAX} bytes.")]
    Data,
    /// The subject is empty, too long, or more than one line.
    #[error("The subject must be one line of 1 to {SUBJECT_BYTES_MAX} bytes.")]
    Subject,
}

/// What a template is filled in with besides the data of its kind.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Around<'a> {
    /// The address that the mail goes to.
    pub(crate) to: &'a str,
    /// The app that it is about; empty for none.
    pub(crate) app: &'a str,
    /// What the server calls itself.
    pub(crate) server: &'a str,
}

impl Template {
    /// Refuses what is too long, holds what is not allowed, or cannot be filled in with the sample
    /// data of `kind`: with all that there can be, and with only what there must be.
    ///
    /// # Errors
    /// [`InvalidTemplate`], which says what is wrong.
    pub fn check(&self, kind: Kind) -> Result<(), InvalidTemplate> {
        let around = Around {
            to: "ann@example.org",
            app: "app",
            server: "Adea",
        };
        let full = kind.sample();
        let mut bare = full.clone();
        if let Value::Object(members) = &mut bare {
            for name in kind.optional() {
                members.insert((*name).to_owned(), Value::Null);
            }
        }
        self.render(kind, &full, around)?;
        self.render(kind, &bare, around)?;
        Ok(())
    }

    /// Fills in `data` and what is around it.
    pub(crate) fn render(
        &self,
        kind: Kind,
        data: &Value,
        around: Around<'_>,
    ) -> Result<Rendered, InvalidTemplate> {
        if self.subject.len() + self.text.len() + self.html.len() > TEMPLATE_BYTES_MAX {
            return Err(InvalidTemplate::TooLong);
        }
        let context = context(kind, data, around)?;
        let language = language();
        let part = |part, source: &str, limit| {
            check_part(part, source)?;
            render_part(&language, part, source, &context, limit)
        };
        let subject = part("subject", &self.subject, SUBJECT_BYTES_MAX + 100)?;
        let subject = subject.trim();
        let bad = subject.is_empty() || subject.len() > SUBJECT_BYTES_MAX;
        if bad || subject.contains(char::is_control) {
            return Err(InvalidTemplate::Subject);
        }
        Ok(Rendered {
            subject: subject.to_owned(),
            text: part("text", &self.text, RENDERED_BYTES_MAX)?,
            html: part("html", &self.html, RENDERED_BYTES_MAX)?,
        })
    }
}

/// The part of the language that is allowed, and its bounds.
fn language() -> Environment<'static> {
    let mut language = Environment::empty();
    let mut syntax = SyntaxConfig::builder();
    syntax.trim_blocks(true).lstrip_blocks(true);
    if let Ok(syntax) = syntax.build() {
        language.set_syntax(syntax);
    }
    language.set_undefined_behavior(UndefinedBehavior::Strict);
    language.set_fuel(Some(FUEL));
    language.set_recursion_limit(DEPTH_MAX);
    language.set_auto_escape_callback(|name| match name {
        "html" => AutoEscape::Html,
        _ => AutoEscape::None,
    });
    language.add_filter("default", filters::default);
    language.add_filter("length", filters::length);
    language.add_filter("lower", filters::lower);
    language.add_filter("trim", filters::trim);
    language.add_filter("upper", filters::upper);
    language.add_test("defined", predicates::is_defined);
    language.add_test("none", predicates::is_none);
    language
}

/// Refuses what is not allowed in `part`.
fn check_part(part: &'static str, source: &str) -> Result<(), InvalidTemplate> {
    grammar::check(source).map_err(|refused| match refused {
        Refused::Tag(tag) => InvalidTemplate::Tag { part, tag },
        Refused::Value(value) => InvalidTemplate::Value { part, value },
    })
}

fn render_part(
    language: &Environment<'_>,
    part: &'static str,
    source: &str,
    context: &Filled,
    limit: usize,
) -> Result<String, InvalidTemplate> {
    let broken = |error: &minijinja::Error| InvalidTemplate::Broken {
        part,
        reason: told(error),
    };
    let template = language.template_from_named_str(part, source);
    let template = template.map_err(|error| broken(&error))?;
    let mut out = Bounded {
        bytes: Vec::new(),
        limit,
    };
    let rendered = template.render_captured_to(context.clone(), &mut out);
    if let Err(error) = rendered {
        if error.kind() == minijinja::ErrorKind::UndefinedError {
            let names = template.undeclared_variables(false).into_iter();
            let gone = |name: &String| context.get_attr(name).is_ok_and(|it| it.is_undefined());
            let mut unknown: Vec<String> = names.filter(gone).collect();
            unknown.sort();
            unknown.truncate(5);
            if !unknown.is_empty() {
                return Err(InvalidTemplate::Broken {
                    part,
                    reason: format!("there is no {}", unknown.join(", ")),
                });
            }
        }
        return Err(if out.limit == 0 {
            InvalidTemplate::Broken {
                part,
                reason: format!("it becomes longer than {limit} bytes"),
            }
        } else {
            broken(&error)
        });
    }
    String::from_utf8(out.bytes).map_err(|_| InvalidTemplate::Broken {
        part,
        reason: "it becomes no text".to_owned(),
    })
}

/// What the language says is wrong, with the line, and without what was filled in.
fn told(error: &minijinja::Error) -> String {
    let line = error.line().map(|line| format!(" (line {line})"));
    let detail = error.detail().map(|detail| format!(": {detail}"));
    let (detail, line) = (detail.unwrap_or_default(), line.unwrap_or_default());
    let mut told = format!("{}{detail}{line}", error.kind());
    if told.len() > 300 {
        told = told.chars().take(290).collect();
    }
    told
}

/// A text that does not grow beyond a limit, which becomes 0 when it would have.
struct Bounded {
    bytes: Vec<u8>,
    limit: usize,
}

impl Write for Bounded {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.bytes.len() + bytes.len() > self.limit {
            self.limit = 0;
            return Err(io::Error::other("too long"));
        }
        self.bytes.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn context(kind: Kind, data: &Value, around: Around<'_>) -> Result<Filled, InvalidTemplate> {
    let nothing = serde_json::Map::new();
    let members = match data {
        Value::Object(members) => members,
        Value::Null => &nothing,
        Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Array(_) => {
            return Err(InvalidTemplate::Data);
        }
    };
    if data.to_string().len() > DATA_BYTES_MAX {
        return Err(InvalidTemplate::Data);
    }
    let missing = kind.optional().iter();
    let missing = missing.map(|name| ((*name).to_owned(), Filled::from(())));
    let given = members
        .iter()
        .map(|(name, value)| (name.clone(), filled(value)));
    let own = [
        ("to", around.to),
        ("app", around.app),
        ("server", around.server),
    ];
    let own = own.map(|(name, text)| (name.to_owned(), Filled::from(text)));
    Ok(Filled::from_pairs(missing.chain(given).chain(own)))
}

/// A JSON value for the template's machine, which would take our numbers of any length for objects.
fn filled(value: &Value) -> Filled {
    match value {
        Value::Null => Filled::from(()),
        Value::Bool(yes) => Filled::from(*yes),
        Value::Number(number) => number
            .as_i64()
            .map_or_else(|| Filled::from(number.to_string()), Filled::from),
        Value::String(text) => Filled::from(text.as_str()),
        Value::Array(items) => items.iter().map(filled).collect(),
        Value::Object(members) => {
            let members = members.iter();
            Filled::from_pairs(members.map(|(name, value)| (name.clone(), filled(value))))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::json;

    const AROUND: Around<'static> = Around {
        to: "ann@example.org",
        app: "",
        server: "Adea",
    };

    fn of(subject: &str, text: &str, html: &str) -> Template {
        Template {
            subject: subject.to_owned(),
            text: text.to_owned(),
            html: html.to_owned(),
        }
    }

    fn broken(text: &str) -> String {
        let template = of("x", text, "");
        let rendered = template.render(Kind::Test, &json!({"list": [1, 2]}), AROUND);
        rendered.unwrap_err().to_string()
    }

    #[test]
    fn html_is_escaped_and_text_is_not() {
        let template = of("{{ a }}", "{{ a }}", "<p title=\"{{ a }}\">{{ a }}</p>");
        let data = json!({"a": "<b>\"&'"});
        let made = template.render(Kind::Test, &data, AROUND).unwrap();
        assert_eq!(made.subject, "<b>\"&'");
        assert_eq!(made.text, "<b>\"&'");
        let escaped = "&lt;b&gt;&quot;&amp;&#x27;";
        assert_eq!(made.html, format!("<p title=\"{escaped}\">{escaped}</p>"));
    }

    #[test]
    fn a_name_that_there_is_not_is_an_error() {
        assert!(broken("{{ nobody }} {{ no_one }}").contains("there is no no_one, nobody"));
        assert!(broken("{% if nobody %}x{% endif %}").contains("there is no nobody"));
        assert!(broken("{{ list.first.second }}").contains("undefined value"));
        assert!(broken("{{ to|tojson }}").contains("holds `to|tojson`"));
        assert!(broken("{{ range(9) }}").contains("holds `range(9)`"));
    }

    #[test]
    fn what_must_not_be_there_stands_in_for_nothing() {
        let template = of("{% if code %}{{ code }}{% else %}none{% endif %}", "", "");
        let render = |data| {
            template
                .render(Kind::SignIn, &data, AROUND)
                .unwrap()
                .subject
        };
        assert_eq!(render(json!({})), "none");
        assert_eq!(render(json!({"code": 17})), "17");
    }

    #[test]
    fn what_comes_out_is_bounded() {
        let template = of("x", &"{{ a }}".repeat(1_000), "");
        let data = json!({"a": "x".repeat(1_000)});
        let rendered = template.render(Kind::Test, &data, AROUND);
        let said = rendered.unwrap_err().to_string();
        assert!(said.contains("longer than 256000 bytes"), "{said}");
    }

    #[test]
    fn what_would_grow_is_refused_where_no_sample_leads_too() {
        for bomb in [
            "{{ [to*6600000, to*6600000]|length }}",
            "{% for b in [to~to~to] %}{% endfor %}",
            "{% if server == 'x' %}{{ to * 99999999 }}{% endif %}",
            "{% if none %}{% for b in [to] %}{{ b ~ b }}{% endfor %}{% endif %}",
        ] {
            for template in [of(bomb, "", ""), of("x", bomb, ""), of("x", "", bomb)] {
                let said = template.check(Kind::Recover).unwrap_err().to_string();
                assert!(said.contains("allowed are"), "{bomb}: {said}");
                let data = Kind::Recover.sample();
                assert!(template.render(Kind::Recover, &data, AROUND).is_err());
            }
        }
    }

    #[test]
    fn tags_that_bind_or_unescape_are_refused() {
        for tag in [
            "set x = 1",
            "- with a=1",
            "autoescape false",
            "macro x()",
            "include 'a'",
            "",
        ] {
            let said = broken(&format!("{{%{tag} %}}"));
            assert!(said.contains("allowed are if"), "{tag}: {said}");
        }
        assert!(broken("{%é%}").contains("allowed are if"));
    }

    #[test]
    fn a_subject_is_one_line() {
        for (subject, text) in [
            ("a\nb", "x"),
            ("{{ a }}", "x\r\nBcc: y"),
            ("  ", "x"),
            ("{{ a }}", "\0"),
        ] {
            let data = json!({ "a": text });
            let rendered = of(subject, "", "").render(Kind::Test, &data, AROUND);
            assert_eq!(
                rendered,
                Err(InvalidTemplate::Subject),
                "{subject:?} {text:?}"
            );
        }
        let long = json!({"a": "x".repeat(2_000)});
        assert!(
            of("{{ a }}", "", "")
                .render(Kind::Test, &long, AROUND)
                .is_err()
        );
    }

    #[test]
    fn too_much_is_refused() {
        let long = of("x", &"y".repeat(TEMPLATE_BYTES_MAX), "");
        assert_eq!(long.check(Kind::Test), Err(InvalidTemplate::TooLong));
        let data = json!({"a": "x".repeat(DATA_BYTES_MAX)});
        let rendered = of("x", "", "").render(Kind::Test, &data, AROUND);
        assert_eq!(rendered, Err(InvalidTemplate::Data));
        assert!(
            of("x", "", "")
                .render(Kind::Test, &json!([1]), AROUND)
                .is_err()
        );
    }

    proptest! {
        /// Nothing that somebody can write makes it break, becomes more than one line of subject, or
        /// becomes longer than is allowed, whatever the mail is about.
        #[test]
        fn any_template_renders_or_is_refused(
            source in "(\\{\\{|\\{%|%\\}|\\}\\}|\\{#|#\\}| ?if |elif |else|endif|for |in |to|app|a|b|//|60|[ |.()*'~0-9\\r\\n<>\\[,\\]+-]){0,24}",
            text in ".{0,40}",
            a in ".{0,20}",
        ) {
            for source in [&source, &text] {
                let template = of(source, source, source);
                for kind in Kind::ALL {
                    let mut data = kind.sample();
                    data["a"] = json!(a);
                    data["b"] = json!([1]);
                    if let Ok(made) = template.render(kind, &data, AROUND) {
                        prop_assert!(!made.subject.contains(['\r', '\n', '\0']));
                        prop_assert!(made.text.len() <= RENDERED_BYTES_MAX);
                        prop_assert!(made.html.len() <= RENDERED_BYTES_MAX);
                    }
                }
            }
        }

        /// What is allowed can also be read by the language, and becomes no longer than the data lets it.
        #[test]
        fn what_is_allowed_is_filled_in(
            parts in proptest::collection::vec("(to|app|server|link|minutes)(\\|(upper|lower|trim|default\\('x'\\))){0,4}", 0..20),
            tested in "(not )?(to|app|link)( == '[a-z]{0,5}'| is (not )?none)?",
        ) {
            let mut source = format!("{{% if {tested} %}}x{{% else %}}");
            for part in &parts {
                source += &format!("{{{{ {part} }}}}");
            }
            source += "{% endif %}";
            let template = of("x", &source, &source);
            prop_assert_eq!(template.check(Kind::Recover), Ok(()), "{}", source);
        }
    }
}
