//! Names and addresses: in which form they are kept, in which they are compared, and which are none.
//!
//! A name that is chosen here is normalised (NFKC, white space trimmed and each run of it one space)
//! and keeps its case. Two names that people may take for one another are one: they are compared by
//! what they look like (the skeleton of UTS 39, lower case), so with an `ann` there is no `Ann` and
//! no `аnn` with a Cyrillic first letter. An `i` counts as an `l`, since the capital of one looks like
//! the other; so with an `all` there is no `ali`, which is the price. Names that `CouchDB` clients
//! write into `_users` keep `CouchDB`'s own looser rules, but nobody who signs up here gets a name
//! that looks like one of them.
//!
//! An address is compared with its local part in lower case and its domain in ASCII (IDNA), in lower
//! case. Nothing is made of plus signs and dots: providers disagree about them, and who may write to
//! `ann+x@example.org` need not be who may write to `ann@example.org`.
//!
//! Invariants: what a function here answers it answers again for its own answer; no answer has a
//! control character, a format character or an end of line in it, so it may stand in a header.

use unicode_normalization::UnicodeNormalization as _;
use unicode_security::confusable_detection::skeleton;

/// The most characters of a name.
pub const NAME_CHARS_MAX: usize = 64;
/// The most bytes of an address (RFC 5321, less the brackets of a path).
pub const ADDRESS_BYTES_MAX: usize = 254;
/// The most bytes of what stands before the `@`.
const LOCAL_BYTES_MAX: usize = 64;
/// The most bytes that are looked at: a character that is normalised may become eighteen.
const INPUT_BYTES_MAX: usize = 1024;

/// Why a text is no name or no address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidName {
    /// There is nothing in it.
    #[error("a name must not be empty")]
    Empty,
    /// It is too long.
    #[error("a name has at most {NAME_CHARS_MAX} characters")]
    TooLong,
    /// A character in it is not seen, or not taken here.
    #[error("a name must not have control, format or unassigned characters")]
    Character,
    /// It means something else where people sign in.
    #[error(
        "a user name must not begin with `_`, must not have `:`, `@` or `/`, and must not be an id"
    )]
    Reserved,
    /// It is no address.
    #[error("this is no e-mail address that mail can be sent to")]
    Address,
}

/// The form in which a name of a user, an organisation or a team is kept.
///
/// # Errors
/// [`InvalidName`] if it is none.
pub fn normal_name(name: &str) -> Result<String, InvalidName> {
    if name.len() > INPUT_BYTES_MAX {
        return Err(InvalidName::TooLong);
    }
    // Before white space is folded: an end of line is refused and not taken for a space.
    if name.chars().any(is_hidden) {
        return Err(InvalidName::Character);
    }
    let folded = |text: &str| text.split_whitespace().collect::<Vec<_>>().join(" ");
    let normal: String = folded(&name.nfkc().collect::<String>());
    if normal.chars().any(is_hidden) {
        return Err(InvalidName::Character);
    }
    match normal.chars().count() {
        0 => Err(InvalidName::Empty),
        1..=NAME_CHARS_MAX => Ok(normal),
        _ => Err(InvalidName::TooLong),
    }
}

/// The form in which a user name that is chosen here is kept.
///
/// # Errors
/// [`InvalidName`] if it is none.
pub fn normal_user_name(name: &str) -> Result<String, InvalidName> {
    let normal = normal_name(name)?;
    // With these characters it could be taken for an address, a path or a part of a credential, and
    // with the form of an id for somebody else.
    let reserved = normal.starts_with('_')
        || normal.contains([':', '@', '/'])
        || crate::keys::is_id(&normal)
        || crate::keys::is_id(&normal.to_lowercase());
    if reserved {
        return Err(InvalidName::Reserved);
    }
    Ok(normal)
}

/// What a name looks like: equal for names that people may take for one another.
#[must_use]
pub fn lookalike(name: &str) -> String {
    let folded = |text: &str| -> String {
        let lower = text.chars().flat_map(char::to_lowercase);
        let lower: String = lower.collect::<String>().nfkc().collect();
        lower.replace('i', "l")
    };
    let mut now = folded(&name.nfkc().collect::<String>());
    // What a skeleton makes may have a lower case or a skeleton of its own; it settles at once for
    // all but a few characters.
    for _ in 0..4 {
        let next = folded(&skeleton(&now).collect::<String>());
        if next == now {
            break;
        }
        now = next;
    }
    now
}

/// The form in which an address is compared.
///
/// # Errors
/// [`InvalidName::Address`] if it is none that mail can be sent to.
pub fn normal_address(address: &str) -> Result<String, InvalidName> {
    let none = InvalidName::Address;
    if address.len() > ADDRESS_BYTES_MAX {
        return Err(none);
    }
    let (local, domain) = address.split_once('@').ok_or(none)?;
    if local.is_empty() || local.len() > LOCAL_BYTES_MAX || !local.chars().all(is_local) {
        return Err(none);
    }
    if local.starts_with('.') || local.ends_with('.') || local.contains("..") {
        return Err(none);
    }
    // What the mapping makes of a character must not be one that is not taken.
    let local: String = local.nfkc().flat_map(char::to_lowercase).nfkc().collect();
    if local.len() > LOCAL_BYTES_MAX || !local.chars().all(is_local) {
        return Err(none);
    }
    let domain = normal_domain(domain).ok_or(none)?;
    let normal = format!("{local}@{domain}");
    if normal.len() > ADDRESS_BYTES_MAX {
        return Err(none);
    }
    Ok(normal)
}

/// A domain in ASCII and lower case; `None` if it is none.
#[must_use]
pub fn normal_domain(domain: &str) -> Option<String> {
    if domain.len() > ADDRESS_BYTES_MAX || domain.chars().any(is_hidden) {
        return None;
    }
    let ascii = idna::domain_to_ascii(domain).ok()?;
    let label = |label: &str| {
        (1..=63).contains(&label.len())
            && !label.starts_with('-')
            && !label.ends_with('-')
            && label
                .bytes()
                .all(|b| matches!(b, b'a'..=b'z' | b'0'..=b'9' | b'-'))
    };
    let fits = ascii.len() <= 253 && ascii.split('.').all(label);
    fits.then_some(ascii)
}

/// Whether a character may stand before the `@`.
fn is_local(c: char) -> bool {
    let special = matches!(
        c,
        '"' | '(' | ')' | ',' | ':' | ';' | '<' | '>' | '@' | '[' | '\\' | ']' | '%' | '!'
    );
    !special && !c.is_whitespace() && !is_hidden(c)
}

/// Whether a character is a control or a format character, ends a line, or is not seen at all.
fn is_hidden(c: char) -> bool {
    c.is_control()
        || matches!(
            u32::from(c),
            0xad | 0x34f
                | 0x600..=0x605
                | 0x61c
                | 0x6dd
                | 0x70f
                | 0x890..=0x891
                | 0x8e2
                | 0x115f..=0x1160
                | 0x17b4..=0x17b5
                | 0x180b..=0x180f
                | 0x200b..=0x200f
                | 0x2028..=0x202e
                | 0x2060..=0x206f
                | 0x3164
                | 0xe000..=0xf8ff
                | 0xfdd0..=0xfdef
                | 0xfe00..=0xfe0f
                | 0xfeff
                | 0xffa0
                | 0xfff0..=0xfffd
                | 0x110bd
                | 0x110cd
                | 0x13430..=0x1345f
                | 0x1bca0..=0x1bca3
                | 0x1d173..=0x1d17a
                | 0xe0000..=0x10_ffff
        )
        || u32::from(c) & 0xfffe == 0xfffe
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn names_are_folded_and_hidden_characters_refused() {
        assert_eq!(normal_name("  Ann\u{a0} Lee "), Ok("Ann Lee".to_owned()));
        assert_eq!(normal_name("ﬁne"), Ok("fine".to_owned()));
        assert_eq!(normal_name(" "), Err(InvalidName::Empty));
        assert_eq!(normal_name(&"x".repeat(65)), Err(InvalidName::TooLong));
        assert_eq!(
            normal_name(&"é".repeat(64)).map(|n| n.chars().count()),
            Ok(64)
        );
        for hidden in [
            "a\nb",
            "a\u{200b}b",
            "a\u{202e}b",
            "a\u{feff}",
            "a\0",
            "a\u{e0041}",
        ] {
            assert_eq!(
                normal_name(hidden),
                Err(InvalidName::Character),
                "{hidden:?}"
            );
        }
        for reserved in ["_ann", "a:b", "a@b", "a/b", "abcdefghijklmnopqrstuvwxyz"] {
            assert_eq!(normal_user_name(reserved), Err(InvalidName::Reserved));
        }
    }

    #[test]
    fn names_that_look_the_same_are_the_same() {
        for (one, other) in [
            ("ann", "Ann"),
            ("ann", "аnn"),
            ("paypal", "раураl"),
            ("ann", "ａｎｎ"),
            ("bill", "biII"),
            ("root", "r00t"),
            ("modern", "modem"),
        ] {
            assert_eq!(lookalike(one), lookalike(other), "{one} {other}");
        }
        assert_ne!(lookalike("ann"), lookalike("anna"));
        assert_ne!(lookalike("bob"), lookalike("ann"));
    }

    #[test]
    fn an_address_has_one_form_and_no_second_line() {
        for (given, normal) in [
            ("Ann@Example.ORG", "ann@example.org"),
            ("ann+x@example.org", "ann+x@example.org"),
            ("a.n.n@example.org", "a.n.n@example.org"),
            ("ann@bücher.example", "ann@xn--bcher-kva.example"),
            ("ann@localhost", "ann@localhost"),
        ] {
            assert_eq!(normal_address(given).as_deref(), Ok(normal));
        }
        for bad in [
            "",
            "ann",
            "@example.org",
            "ann@",
            "ann@a@b",
            "ann@example.org\r\nBcc: bob@example.org",
            "ann\n@example.org",
            "ann @example.org",
            "<ann@example.org>",
            "ann@exam ple.org",
            "ann@-x.org",
            "ann@[127.0.0.1]",
            "ann@example..org",
            ".ann@example.org",
            "a,b@example.org",
            "ann@example.org\u{200b}",
        ] {
            assert_eq!(normal_address(bad), Err(InvalidName::Address), "{bad:?}");
        }
        let long = format!("ann@{}", "x.".repeat(130));
        assert_eq!(normal_address(&long), Err(InvalidName::Address));
    }

    proptest! {
        #[test]
        fn what_is_normal_stays_as_it_is(text in "\\PC{0,80}|[ -~]{0,40}|[аnАNlI1 0O.@_-]{0,12}") {
            if let Ok(normal) = normal_name(&text) {
                prop_assert_eq!(normal_name(&normal), Ok(normal.clone()));
                prop_assert!(!normal.chars().any(is_hidden));
            }
            let seen = lookalike(&text);
            prop_assert_eq!(lookalike(&seen), seen);
        }

        #[test]
        fn case_and_form_do_not_make_another_name(text in "[a-zäöüåа-я ]{1,20}") {
            let upper = text.to_uppercase();
            // One letter has a longer upper case.
            prop_assume!(upper.to_lowercase() == text);
            prop_assert_eq!(lookalike(&text), lookalike(&upper));
            let apart: String = text.nfd().collect();
            prop_assert_eq!(lookalike(&text), lookalike(&apart));
        }

        #[test]
        fn an_address_may_stand_in_a_header(text in "\\PC{0,20}@\\PC{0,20}|[\\x00-\\x7f]{0,40}|[a-zA-Zü.+]{1,12}@[a-zA-Zü.-]{1,12}") {
            if let Ok(normal) = normal_address(&text) {
                prop_assert_eq!(normal_address(&normal), Ok(normal.clone()));
                prop_assert!(!normal.contains(['\r', '\n', '\0', ' ', '<', '>', ',']));
                prop_assert_eq!(normal.matches('@').count(), 1);
            }
        }
    }
}
