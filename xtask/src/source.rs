//! Rules for single source files: how long, how they begin, what they are called, what they lack.

/// The most lines of a file before its tests: what one can hold in mind.
pub const LINES_MAX: usize = 600;

/// File names under which anything can be put, so that everything is.
const EMPTY_WORDS: [&str; 4] = ["util", "common", "helper", "manager"];

/// How many lines stand before the tests of a file.
#[must_use]
pub fn lines_before_tests(text: &str) -> usize {
    let lines: Vec<&str> = text.lines().collect();
    let tests = lines.windows(2).position(|pair| {
        matches!(pair, [attribute, module]
            if attribute.trim() == "#[cfg(test)]" && module.trim_start().starts_with("mod tests"))
    });
    tests.unwrap_or(lines.len())
}

/// The modules that a file declares for tests alone; they are read as tests.
#[must_use]
pub fn test_modules(text: &str) -> Vec<&str> {
    let lines: Vec<&str> = text.lines().map(str::trim).collect();
    lines
        .windows(2)
        .filter_map(|pair| match pair {
            ["#[cfg(test)]", module] => module
                .trim_start_matches("pub(crate) ")
                .strip_prefix("mod ")?
                .strip_suffix(';'),
            _ => None,
        })
        .collect()
}

/// What is wrong with a source file. `path` is for the sentences and for the name.
#[must_use]
pub fn faults(path: &str, text: &str, is_test: bool) -> Vec<String> {
    let mut faults = Vec::new();
    let lines = lines_before_tests(text);
    if lines > LINES_MAX && !is_test {
        faults.push(format!(
            "{path} has {lines} lines before its tests, more than {LINES_MAX}: divide it"
        ));
    }
    if !text.starts_with("//!") {
        faults.push(format!(
            "{path} does not begin with `//!` and what it is for"
        ));
    }
    let name = path.rsplit('/').next().unwrap_or(path);
    let stem = name.split('.').next().unwrap_or(name);
    for word in stem.split('_') {
        let singular = word.strip_suffix('s').unwrap_or(word);
        if EMPTY_WORDS.contains(&singular) {
            faults.push(format!("{path}: `{word}` says nothing, name what it does"));
        }
    }
    for (number, line) in text.lines().enumerate() {
        faults.extend(left_over(line).map(|what| format!("{path}:{}: {what}", number + 1)));
    }
    faults
}

/// What a line has that is not to stay.
fn left_over(line: &str) -> Option<&'static str> {
    // Written in two pieces, so that this file does not find itself.
    let later = [
        concat!("TO", "DO"),
        concat!("FIX", "ME"),
        concat!("XX", "X"),
    ];
    let is_word = |word: &str| {
        line.split(|c: char| !c.is_ascii_alphanumeric() && c != '_')
            .any(|part| part == word)
    };
    if later.into_iter().any(is_word) {
        return Some("what is left to do belongs into the list of issues");
    }
    let attribute = line.trim_start();
    [concat!("#[", "ignore]"), concat!("#[", "ignore =")]
        .into_iter()
        .any(|start| attribute.starts_with(start))
        .then_some("a test that is ignored proves nothing: run it or delete it")
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = "//! What it is for.\n\nfn todo_list() {}\n";

    #[test]
    fn a_good_file_is_good() {
        assert_eq!(faults("crates/base/src/name.rs", GOOD, false), [""; 0]);
    }

    #[test]
    fn length_counts_up_to_the_tests() {
        let body = "fn f() {}\n".repeat(LINES_MAX - 1);
        let file = format!("//! Long.\n{body}");
        assert_eq!(faults("a.rs", &file, false), [""; 0]);
        let tested = format!("{file}#[cfg(test)]\nmod tests {{\n{body}}}\n");
        assert_eq!(lines_before_tests(&tested), LINES_MAX);
        assert_eq!(faults("a.rs", &tested, false), [""; 0]);
        let longer = format!("{file}fn g() {{}}\n");
        assert_eq!(faults("a.rs", &longer, false).len(), 1);
        assert_eq!(faults("a.rs", &longer, true), [""; 0]);
        // An attribute on something else does not end the file.
        let early = format!("//! Long.\n#[cfg(test)]\nmod model;\n{body}fn g() {{}}\n");
        assert_eq!(faults("a.rs", &early, false).len(), 1);
    }

    #[test]
    fn modules_of_tests_are_found() {
        let text = "mod a;\n#[cfg(test)]\nmod model;\n#[cfg(test)]\nmod tests {\n";
        assert_eq!(test_modules(text), ["model"]);
    }

    #[test]
    fn heads_names_and_left_overs_are_seen() {
        assert_eq!(faults("a.rs", "fn f() {}\n", false).len(), 1);
        for name in [
            "util.rs",
            "utils.rs",
            "path_helpers.rs",
            "lock_manager.rs",
            "common.rs",
        ] {
            assert_eq!(
                faults(&format!("src/{name}"), GOOD, false).len(),
                1,
                "{name}"
            );
        }
        assert_eq!(faults("src/commonplace.rs", GOOD, false), [""; 0]);
        for line in [
            concat!("// TO", "DO: later"),
            concat!("// FIX", "ME"),
            concat!("    #[", "ignore]"),
            concat!("#[", "ignore = \"slow\"]"),
        ] {
            assert_eq!(faults("a.rs", &format!("{GOOD}{line}\n"), false).len(), 1);
        }
    }
}
