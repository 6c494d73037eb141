//! The layers from outside: a file, an environment and flags in, a configuration or faults out.

use super::*;

fn setting(key: &str) -> &'static Setting {
    SETTINGS.iter().find(|s| s.key == key).unwrap()
}

struct Case {
    directory: tempfile::TempDir,
    sources: Sources,
}

impl Case {
    fn new(toml: &str) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("adea.toml");
        std::fs::write(&path, toml).unwrap();
        let sources = Sources {
            config: Some(path),
            ..Sources::default()
        };
        Self { directory, sources }
    }

    fn env(mut self, name: &str, value: &str) -> Self {
        self.sources.environment.push((name.into(), value.into()));
        self
    }

    fn flag(mut self, key: &str, values: &[&str]) -> Self {
        let values = values.iter().map(|v| (*v).to_owned()).collect();
        self.sources.flags.push((setting(key), values));
        self
    }

    fn load(&self) -> Loaded {
        load(&self.sources).unwrap()
    }

    /// The faults, with the directory's name taken out.
    fn faults(&self) -> Vec<String> {
        let prefix = format!("{}/", self.directory.path().display());
        let faults = load(&self.sources).err().expect("it should be refused");
        let lines = faults.to_string().replace(&prefix, "");
        lines.lines().map(str::to_owned).collect()
    }
}

fn check(toml: &str, expected: &str) {
    assert_eq!(Case::new(toml).faults(), [expected], "{toml}");
}

#[test]
fn the_defaults_can_be_read_and_are_what_the_documentation_says() {
    let loaded = load(&Sources {
        config: Some("/dev/null".into()),
        ..Sources::default()
    })
    .unwrap();
    let config = loaded.config;
    assert_eq!(config.listen.to_string(), "127.0.0.1:5984");
    assert_eq!(config.data, PathBuf::from("./adea-data"));
    assert_eq!(config.durability, Durability::Strict);
    assert_eq!(config.memory, 64_000_000);
    assert_eq!(config.admin_name, "admin");
    assert_eq!(config.admin_password, None);
    assert_eq!(config.max_document_size, 8_000_000);
    assert_eq!(config.max_attachment_size, 1 << 30);
    assert_eq!(config.max_request_size, 4 << 30);
    assert_eq!(config.max_header_size, 65_536);
    assert_eq!(config.header_timeout, Duration::from_secs(10));
    assert_eq!(config.max_connections, 200_000);
    assert_eq!(config.changes_timeout, Duration::from_secs(60));
    assert_eq!(config.cors_origins, [WebOrigin::Any]);
    assert_eq!(config.session_timeout, Duration::from_secs(600));
    assert_eq!(config.log_format, LogFormat::Text);
    assert!(config.compression && config.log_access && config.cors_enabled);
    assert!(
        loaded
            .values
            .entries
            .iter()
            .all(|e| e.origin == Origin::Default)
    );
}

#[test]
fn a_flag_beats_the_environment_beats_the_file_beats_the_default() {
    let case = Case::new(
        "memory = '16MB'\nheader_timeout = \"1s\"\nlisten = \"127.0.0.1:1\"\n[log]\naccess = false\n",
    )
    .env("ADEA_HEADER_TIMEOUT", "2s")
    .env("ADEA_LISTEN", "127.0.0.1:2")
    .flag("listen", &["127.0.0.1:3"]);
    let loaded = case.load();
    let from = |key| loaded.values.entry(key).unwrap().origin.clone();
    let path = case.sources.config.unwrap();

    assert_eq!(loaded.config.listen.port(), 3);
    assert_eq!(from("listen"), Origin::Flag("listen".to_owned()));
    assert_eq!(loaded.config.header_timeout, Duration::from_secs(2));
    assert_eq!(
        from("header_timeout"),
        Origin::Environment("ADEA_HEADER_TIMEOUT".to_owned())
    );
    assert_eq!(loaded.config.memory, 16_000_000);
    assert_eq!(from("memory"), Origin::File(path.clone(), 1));
    assert!(!loaded.config.log_access);
    assert_eq!(from("log.access"), Origin::File(path, 5));
    assert_eq!(from("data"), Origin::Default);
}

#[test]
fn sections_may_be_written_in_all_ways_of_toml() {
    for toml in [
        "[cors]\norigins = [\"https://a.example\"]\n",
        "cors.origins = ['https://a.example']\n",
        "cors = { origins = \"https://a.example\" }\n",
    ] {
        let origins = Case::new(toml).load().config.cors_origins;
        assert_eq!(
            origins,
            [WebOrigin::Exactly("https://a.example".to_owned())]
        );
    }
}

#[test]
fn an_unknown_key_names_its_line_and_the_near_one() {
    check(
        "\n\nheader_timout = \"1s\"\n",
        "adea.toml:3: there is no setting \"header_timout\"; did you mean header_timeout?",
    );
    check(
        "[admin]\npasswrd = \"x\"\n",
        "adea.toml:2: there is no setting \"admin.passwrd\"; did you mean admin.password?",
    );
    check(
        "[logg]\nlevel = \"info\"\n",
        "adea.toml:1: there is no setting \"logg\"; did you mean log?",
    );
    check(
        "bananas = 1\n",
        "adea.toml:1: there is no setting \"bananas\"",
    );
    check(
        "admin = \"me\"\n",
        "adea.toml:1: there is no setting \"admin\"; it is a section that holds settings",
    );
    check(
        "[[log]]\nlevel = \"info\"\n",
        "adea.toml:1: there is no setting \"log\"; it is a section that holds settings",
    );
}

#[test]
fn a_wrong_value_names_key_value_origin_and_what_is_allowed() {
    check(
        "header_timeout = 10\n",
        "adea.toml:1: header_timeout is 10: it has no unit; write \"10s\" for seconds or \"10ms\" \
         for milliseconds. Allowed: a span of time from 1ms to 1h, as \"500ms\", \"10s\" or \"2m\".",
    );
    check(
        "durability = 'lax'\n",
        "adea.toml:1: durability is \"lax\": it is none of them. Allowed: strict or relaxed.",
    );
    check(
        "max_connections = 0\n",
        "adea.toml:1: max_connections is 0: it is too small. \
         Allowed: a whole number from 1 to 10000000.",
    );
    check(
        "memory = 1.5\n",
        "adea.toml:1: memory is 1.5 (a number with a fraction): it is a number with a fraction. \
         Allowed: a size from 8MB to 1TiB, as 8_000_000, \"64MB\" or \"64KiB\".",
    );
    check(
        "[memory]\nsize = 1\n",
        "adea.toml:1: memory is [...] (a section, not a value): it is a section, not a value. \
         Allowed: a size from 8MB to 1TiB, as 8_000_000, \"64MB\" or \"64KiB\".",
    );
    let case = Case::new("").env("ADEA_COMPRESSION", "maybe");
    assert_eq!(
        case.faults(),
        [
            "environment ADEA_COMPRESSION: compression is \"maybe\": it is neither true nor false. \
          Allowed: true or false."
        ]
    );
    let case = Case::new("").flag("listen", &["localhost:1"]);
    assert!(case.faults()[0].starts_with("flag --listen: listen is \"localhost:1\""));
}

#[test]
fn all_faults_are_told_at_once_and_no_secret_with_them() {
    let case = Case::new("lisen = 1\n[session]\nsecret = \"hush\"\n").env("ADEA_MEMORY", "1");
    let faults = case.faults();
    assert_eq!(faults.len(), 3, "{faults:?}");
    assert!(!faults.join("\n").contains("hush"));
    assert!(
        faults
            .iter()
            .any(|f| f.contains("session.secret is ********"))
    );
}

#[test]
fn what_is_not_toml_names_its_line() {
    let faults = Case::new("listen = \"127.0.0.1:1\"\nmemory = = 3\n").faults();
    assert!(
        faults[0].starts_with("adea.toml:2: this is not TOML"),
        "{faults:?}"
    );
    let faults = Case::new("memory = 1\nmemory = 2\n").faults();
    assert!(
        faults[0].starts_with("adea.toml:2: this is not TOML"),
        "{faults:?}"
    );
}

#[test]
fn a_named_file_must_be_there_and_small() {
    let mut case = Case::new("");
    case.sources.config = Some(case.directory.path().join("other.toml"));
    assert!(case.faults()[0].starts_with("other.toml: "));
    let large = Case::new(&"#".repeat(2_000_000));
    assert!(large.faults()[0].contains("more than a configuration"));
}

#[test]
fn an_unknown_variable_is_a_warning_with_a_suggestion() {
    let case = Case::new("")
        .env("ADEA_LISTENN", "127.0.0.1:1")
        .env("PATH", "/bin")
        .env("ADEA_MEMORY", "");
    assert_eq!(
        case.load().warnings,
        ["environment ADEA_LISTENN: this variable means nothing here; did you mean ADEA_LISTEN?"]
    );
}

#[test]
fn the_environment_may_name_the_file_and_the_flag_wins() {
    let case = Case::new("memory = '16MB'\n");
    let named = case.sources.config.unwrap();
    let mut sources = Sources::default();
    sources
        .environment
        .push(("ADEA_CONFIG".into(), named.into()));
    assert_eq!(load(&sources).unwrap().config.memory, 16_000_000);
    sources.config = Some("/dev/null".into());
    assert_eq!(load(&sources).unwrap().config.memory, 64_000_000);
}

#[test]
fn settings_that_contradict_each_other_are_refused_with_both_origins() {
    let case = Case::new("max_request_size = \"1MB\"\n");
    assert_eq!(
        case.faults(),
        [
            "max_document_size = 8_000_000 (default) is more than max_request_size = 1MB \
          (adea.toml:1): no such document could be sent"
        ]
    );
}

#[test]
fn a_setting_without_effect_is_a_warning() {
    let case = Case::new("durability_interval = \"1s\"\n");
    assert!(case.load().warnings[0].contains("no effect"));
    let case = Case::new("durability_interval = \"1s\"\ndurability = \"relaxed\"\n");
    assert!(case.load().warnings.is_empty());
}

#[cfg(unix)]
#[test]
fn a_secret_in_a_readable_file_is_a_warning() {
    use std::os::unix::fs::PermissionsExt;
    let case = Case::new("admin.password = \"x\"\n");
    let path = case.sources.config.clone().unwrap();
    let mode = |bits| std::fs::set_permissions(&path, PermissionsExt::from_mode(bits)).unwrap();
    mode(0o644);
    assert!(case.load().warnings[0].contains("chmod 600"));
    mode(0o600);
    assert!(case.load().warnings.is_empty());
}

#[test]
fn names_are_unique_and_every_setting_is_documented() {
    let mut names: Vec<String> = SETTINGS
        .iter()
        .flat_map(|s| [s.key.to_owned(), s.environment(), format!("--{}", s.flag())])
        .collect();
    let count = names.len();
    names.sort();
    names.dedup();
    assert_eq!(names.len(), count);
    let reference = explain::markdown();
    for setting in SETTINGS {
        assert!(setting.summary().ends_with('.') && setting.summary().len() < 100);
        assert!(reference.contains(&format!("| `{}` |", setting.key)));
    }
}

#[test]
fn explain_shows_every_setting_and_hides_secrets() {
    let loaded = Case::new("memory = \"16MB\"\n")
        .env("ADEA_ADMIN_PASSWORD", "hush")
        .load();
    let all = explain::all(&loaded.values);
    assert_eq!(all.lines().count(), SETTINGS.len() + 1);
    assert!(!all.contains("hush") && all.contains("********"));
    assert!(all.contains("environment ADEA_ADMIN_PASSWORD"));
    assert!(all.contains("adea.toml:1"));
    assert!(all.contains("(none)"), "the session secret has no value");
    let one = explain::one(&loaded.values, "memory").unwrap();
    assert!(one.contains("memory = 16MB") && one.contains("--memory"));
    let near = explain::one(&loaded.values, "memroy").unwrap_err();
    assert!(near.contains("did you mean memory?"));
    assert!(explain::checked(&loaded).contains("2 of them"));
}
