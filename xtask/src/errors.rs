//! The words of errors: each pair of status and word that the server can answer has a row in
//! `docs/errors.md`, and each row is a pair that it can answer.

use std::collections::BTreeSet;

/// A status and the word that stands in `"error"`.
pub type Answer = (u16, String);

/// The pairs in a source text that are written as `StatusCode::NAME, "word"`.
///
/// # Errors
/// A sentence that names a status which is not known here.
pub fn answers_in_source(source: &str) -> Result<BTreeSet<Answer>, String> {
    let mut answers = BTreeSet::new();
    for after in source.split("StatusCode::").skip(1) {
        let end = after
            .find(|c: char| !c.is_ascii_uppercase() && c != '_')
            .unwrap_or(after.len());
        let Some((name, rest)) = after.split_at_checked(end) else {
            continue;
        };
        let word = rest
            .trim_start()
            .strip_prefix(',')
            .and_then(|rest| rest.trim_start().strip_prefix('"'))
            .and_then(|rest| rest.split_once('"'));
        if let Some((word, _)) = word {
            let status = number(name)
                .ok_or_else(|| format!("StatusCode::{name} is not known to xtask/src/errors.rs"))?;
            answers.insert((status, word.to_owned()));
        }
    }
    Ok(answers)
}

/// The pairs in a table whose rows begin `| 404 | ``not_found`` |`.
#[must_use]
pub fn answers_in_table(markdown: &str) -> BTreeSet<Answer> {
    markdown
        .lines()
        .filter_map(|line| {
            let mut cells = line.strip_prefix('|')?.split('|').map(str::trim);
            let status = cells.next()?.parse().ok()?;
            let word = cells.next()?.strip_prefix('`')?.strip_suffix('`')?;
            Some((status, word.to_owned()))
        })
        .collect()
}

/// Pairs without a row, and rows without a pair.
///
/// # Errors
/// As [`answers_in_source`].
pub fn faults(source: &str, markdown: &str) -> Result<Vec<String>, String> {
    let (answered, written) = (answers_in_source(source)?, answers_in_table(markdown));
    let missing = answered
        .difference(&written)
        .map(|(status, word)| format!("docs/errors.md has no row for {status} `{word}`"));
    let stale = written
        .difference(&answered)
        .map(|(status, word)| format!("docs/errors.md: nothing answers {status} `{word}`"));
    Ok(missing.chain(stale).collect())
}

fn number(name: &str) -> Option<u16> {
    Some(match name {
        "BAD_REQUEST" => 400,
        "UNAUTHORIZED" => 401,
        "FORBIDDEN" => 403,
        "NOT_FOUND" => 404,
        "METHOD_NOT_ALLOWED" => 405,
        "NOT_ACCEPTABLE" => 406,
        "CONFLICT" => 409,
        "GONE" => 410,
        "PRECONDITION_FAILED" => 412,
        "PAYLOAD_TOO_LARGE" => 413,
        "UNSUPPORTED_MEDIA_TYPE" => 415,
        "RANGE_NOT_SATISFIABLE" => 416,
        "EXPECTATION_FAILED" => 417,
        "MISDIRECTED_REQUEST" => 421,
        "TOO_MANY_REQUESTS" => 429,
        "INTERNAL_SERVER_ERROR" => 500,
        "NOT_IMPLEMENTED" => 501,
        "BAD_GATEWAY" => 502,
        "SERVICE_UNAVAILABLE" => 503,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const SOURCE: &str = r#"
        A => (StatusCode::NOT_FOUND, "not_found"),
        B => (
            StatusCode::CONFLICT,
            "conflict",
        ),
        if status != StatusCode::NOT_IMPLEMENTED { "unrelated" }
        f(StatusCode, &'static str)
    "#;
    const TABLE: &str =
        "| status | word |\n|---|---|\n| 404 | `not_found` | x |\n| 409 | `conflict` | y |\n";

    #[test]
    fn a_full_table_is_right() {
        assert_eq!(answers_in_source(SOURCE).unwrap().len(), 2);
        assert_eq!(faults(SOURCE, TABLE).unwrap(), [""; 0]);
    }

    #[test]
    fn missing_and_stale_rows_are_seen() {
        let shorter = TABLE.replace("| 409 | `conflict` | y |\n", "");
        assert_eq!(faults(SOURCE, &shorter).unwrap().len(), 1);
        let wrong_status = TABLE.replace("409", "412");
        assert_eq!(faults(SOURCE, &wrong_status).unwrap().len(), 2);
        let longer = format!("{TABLE}| 410 | `gone` | z |\n");
        assert_eq!(faults(SOURCE, &longer).unwrap().len(), 1);
        assert!(faults("(StatusCode::IM_A_TEAPOT, \"tea\")", TABLE).is_err());
    }
}
