//! The command line.
//!
//! The flags of settings are made from the table in `config.rs` and only collected here; what they
//! mean, and what wins over what, is decided there. `--help` is written for somebody who has never
//! seen the program: what it is, what to type first, what to type next.

use crate::bench::BenchArguments;
use crate::config::{SETTINGS, Setting, Sources};
use clap::{Arg, ArgAction, ArgMatches, Args, FromArgMatches, Parser, Subcommand};
use std::path::PathBuf;
use std::sync::LazyLock;

const EXAMPLES: &str = "\
Examples:
  adea
      Serve on http://127.0.0.1:5984 with all data in ./adea-data. At the first start an
      administrator is made, and the password is shown once.
  ADEA_ADMIN_PASSWORD=secret adea --data /var/lib/adea --listen 0.0.0.0:5984
      The same for everyone in the network, with a password of your own.
  curl -u admin:secret -X PUT http://127.0.0.1:5984/notes
      Make a database; then in PouchDB: db.sync('http://127.0.0.1:5984/notes', { live: true }).
  adea config explain
      Every setting, its value, and whether a flag, the environment or a file gave it.
  adea backup --to /backup/today http://admin:secret@127.0.0.1:5984
      A consistent copy, while the server goes on serving.
  adea check --data /var/lib/adea
      Is everything in there whole? (The server must not be running.)

`adea help COMMAND` says more about each command.";

/// A document database that `PouchDB` and other `CouchDB` clients sync with.
#[derive(Debug, Parser)]
#[command(
    name = "adea",
    version,
    about = "A document database that PouchDB syncs with",
    long_about = "A document database that PouchDB syncs with.\n\n\
        It speaks CouchDB's HTTP API and keeps everything in one directory. Without a command it \
        serves.",
    after_help = EXAMPLES,
    args_conflicts_with_subcommands = true,
    disable_help_subcommand = false
)]
pub(crate) struct Arguments {
    /// What to do; serve, if nothing is said.
    #[command(subcommand)]
    pub(crate) command: Option<Command>,
    /// Settings for serving without saying so.
    #[command(flatten)]
    pub(crate) settings: SettingFlags,
}

impl Arguments {
    /// The command, `serve` being the one that need not be said.
    pub(crate) fn into_command(self) -> Command {
        self.command.unwrap_or(Command::Serve(self.settings))
    }
}

/// What the program can do.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Serve databases over HTTP (what `adea` alone does).
    #[command(after_help = EXAMPLES)]
    Serve(SettingFlags),
    /// Verify a data directory and say what was found; exits with 1 if something is wrong.
    ///
    /// Compares each index with the documents and each attachment with its digest. It changes
    /// nothing, and needs the directory for itself: stop the server first.
    Check(DataFlags),
    /// Copy all databases into a directory, consistent as of one moment.
    #[command(after_help = "\
Examples:
  adea backup --to /backup/today http://admin:secret@127.0.0.1:5984
      Ask the running server for a copy; it goes on serving.
  adea backup --to /backup/today --data /var/lib/adea
      Copy the directory of a server that is not running.")]
    Backup(BackupArguments),
    /// Make a data directory from a backup.
    ///
    /// The new directory gets a new instance id, so that no client trusts a sequence that the
    /// backup does not know.
    #[command(after_help = "\
Example:
  adea restore --from /backup/today --data /var/lib/adea")]
    Restore(RestoreArguments),
    /// Show or check the configuration.
    #[command(subcommand)]
    Config(ConfigCommand),
    /// Measure a server that speaks CouchDB's API, this one or another.
    Bench(BenchArguments),
    /// Answer every request with a constant: the limit that `bench --limits` measures against.
    #[command(hide = true)]
    BenchServer,
    /// Run design functions on behalf of a server, which starts this itself.
    #[command(hide = true)]
    JsWorker,
    /// Print the version.
    Version,
}

/// What can be asked about the configuration.
#[derive(Debug, Subcommand)]
pub(crate) enum ConfigCommand {
    /// Print each setting with its value and where that came from.
    #[command(after_help = "\
Examples:
  adea config explain
  adea config explain header_timeout
  ADEA_MEMORY=128MB adea config explain --config /etc/adea.toml
  adea config explain --markdown > docs/settings.md")]
    Explain {
        /// Say all there is to say about one setting.
        key: Option<String>,
        /// Print the reference of all settings as Markdown instead.
        #[arg(long, conflicts_with = "key")]
        markdown: bool,
        /// The layers to explain.
        #[command(flatten)]
        settings: SettingFlags,
    },
    /// Say whether the server would start with this configuration; exits with 1 if not.
    Check(SettingFlags),
}

/// Arguments of `backup`.
#[derive(Debug, Args)]
pub(crate) struct BackupArguments {
    /// Directory to make; it must not exist or be empty.
    #[arg(long, value_name = "DIR")]
    pub(crate) to: PathBuf,
    /// The running server, with the name and password of an administrator.
    #[arg(value_name = "URL", conflicts_with = "data")]
    pub(crate) url: Option<String>,
    /// The directory of a server that is not running.
    #[command(flatten)]
    pub(crate) data: DataFlags,
}

/// Arguments of `restore`.
#[derive(Debug, Args)]
pub(crate) struct RestoreArguments {
    /// Directory that `adea backup` made.
    #[arg(long, value_name = "DIR")]
    pub(crate) from: PathBuf,
    /// The directory to make.
    #[command(flatten)]
    pub(crate) data: DataFlags,
}

/// The flags of all settings, and the file to read.
#[derive(Clone, Debug, Default)]
pub(crate) struct SettingFlags {
    config: Option<PathBuf>,
    given: Vec<(&'static str, Vec<String>)>,
}

impl SettingFlags {
    /// The flags and the environment, to be loaded. `environment` is `std::env::vars_os()`.
    pub(crate) fn into_sources(
        self,
        environment: impl IntoIterator<Item = (std::ffi::OsString, std::ffi::OsString)>,
    ) -> Sources {
        let find = |key: &str| SETTINGS.iter().find(|setting| setting.key == key);
        Sources {
            config: self.config,
            environment: environment.into_iter().collect(),
            flags: self
                .given
                .into_iter()
                .filter_map(|(key, values)| find(key).map(|setting| (setting, values)))
                .collect(),
        }
    }
}

/// The flags that say where the data is, for commands that need nothing else.
#[derive(Clone, Debug, Default)]
pub(crate) struct DataFlags(pub(crate) SettingFlags);

/// The names of the flags, which clap wants to keep for as long as the program runs.
static FLAG_NAMES: LazyLock<Vec<String>> =
    LazyLock::new(|| SETTINGS.iter().map(Setting::flag).collect());

/// Adds `--config` and the flags of those settings that `wanted` lets through.
fn augment(command: clap::Command, wanted: fn(&Setting) -> bool) -> clap::Command {
    let config = Arg::new("config")
        .long("config")
        .value_name("FILE")
        .value_parser(clap::value_parser!(PathBuf))
        .help("Configuration file in TOML [default: ./adea.toml if it exists] [env: ADEA_CONFIG]")
        .help_heading("Configuration");
    let flags = SETTINGS
        .iter()
        .zip(FLAG_NAMES.iter())
        .filter(|(setting, _)| wanted(setting))
        .map(|(setting, name)| flag(setting, name));
    command.arg(config).args(flags)
}

fn flag(setting: &'static Setting, name: &'static str) -> Arg {
    let default = setting
        .default
        .map_or_else(String::new, |text| format!(" [default: {text}]"));
    let short = format!("{}{default}", setting.summary());
    let long = format!(
        "{}\nAllowed: {}.{default} [env: {}]",
        setting.description(),
        setting.kind.allowed(),
        setting.environment(),
    );
    let arg = Arg::new(setting.key)
        .long(name)
        .value_name("VALUE")
        .help(short)
        .long_help(long)
        .help_heading(setting.group);
    if setting.kind.switch() {
        arg.num_args(0..=1).default_missing_value("true")
    } else if setting.kind.list() {
        arg.action(ArgAction::Append)
    } else {
        arg
    }
}

/// What of these flags was given.
fn collect(matches: &ArgMatches, wanted: fn(&Setting) -> bool) -> SettingFlags {
    let given = SETTINGS
        .iter()
        .filter(|setting| wanted(setting))
        .filter_map(|setting| {
            let values = matches.get_many::<String>(setting.key)?;
            Some((setting.key, values.cloned().collect()))
        })
        .collect();
    SettingFlags {
        config: matches.get_one::<PathBuf>("config").cloned(),
        given,
    }
}

fn every(_: &Setting) -> bool {
    true
}

fn only_data(setting: &Setting) -> bool {
    setting.key == "data"
}

impl FromArgMatches for SettingFlags {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, clap::Error> {
        Ok(collect(matches, every))
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
        *self = collect(matches, every);
        Ok(())
    }
}

impl Args for SettingFlags {
    fn augment_args(command: clap::Command) -> clap::Command {
        augment(command, every)
    }

    fn augment_args_for_update(command: clap::Command) -> clap::Command {
        augment(command, every)
    }
}

impl FromArgMatches for DataFlags {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, clap::Error> {
        Ok(Self(collect(matches, only_data)))
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
        self.0 = collect(matches, only_data);
        Ok(())
    }
}

impl Args for DataFlags {
    fn augment_args(command: clap::Command) -> clap::Command {
        augment(command, only_data)
    }

    fn augment_args_for_update(command: clap::Command) -> clap::Command {
        augment(command, only_data)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    fn parse(line: &str) -> Result<Command, clap::Error> {
        Arguments::try_parse_from(line.split_whitespace()).map(Arguments::into_command)
    }

    fn flags(line: &str) -> Vec<(&'static str, Vec<String>)> {
        let Command::Serve(flags) = parse(line).unwrap() else {
            panic!("not serve: {line}");
        };
        flags.given
    }

    #[test]
    fn the_command_line_is_well_formed() {
        Arguments::command().debug_assert();
    }

    #[test]
    fn adea_alone_serves_and_takes_the_flags_of_serve() {
        assert!(flags("adea").is_empty());
        let expected = vec![("listen", vec!["0.0.0.0:1".to_owned()])];
        assert_eq!(flags("adea --listen 0.0.0.0:1"), expected);
        assert_eq!(flags("adea serve --listen 0.0.0.0:1"), expected);
    }

    #[test]
    fn every_setting_has_its_flag() {
        for setting in SETTINGS {
            let line = format!("adea serve --{}=1", setting.flag());
            assert_eq!(flags(&line), [(setting.key, vec!["1".to_owned()])]);
        }
    }

    #[test]
    fn switches_stand_alone_and_lists_repeat() {
        let yes = vec!["true".to_owned()];
        assert_eq!(flags("adea --log-access"), [("log.access", yes)]);
        let both = vec!["http://a".to_owned(), "http://b".to_owned()];
        assert_eq!(
            flags("adea --cors-origins http://a --cors-origins http://b"),
            [("cors.origins", both)]
        );
        assert!(parse("adea --memory 64MB --memory 65MB").is_err());
    }

    #[test]
    fn commands_that_need_only_the_directory_take_only_that() {
        assert!(matches!(
            parse("adea check --data /d --config /c").unwrap(),
            Command::Check(flags) if flags.0.given.len() == 1 && flags.0.config.is_some()
        ));
        assert!(parse("adea check --memory 64MB").is_err());
        assert!(parse("adea backup --to /b --data /d http://h").is_err());
        assert!(parse("adea restore --data /d").is_err());
    }

    #[test]
    fn a_mistyped_flag_gets_a_suggestion() {
        let error = parse("adea --lisen 0.0.0.0:1").unwrap_err().to_string();
        assert!(error.contains("--listen"), "{error}");
    }

    #[test]
    fn the_flags_reach_the_configuration() {
        let Command::Config(ConfigCommand::Explain { settings, .. }) =
            parse("adea config explain --config /dev/null --memory 16MB").unwrap()
        else {
            panic!("not explain");
        };
        let loaded = crate::config::load(&settings.into_sources([])).unwrap();
        assert_eq!(loaded.config.memory, 16_000_000);
        let origin = &loaded.values.entry("memory").unwrap().origin;
        assert_eq!(origin.to_string(), "flag --memory");
    }

    #[test]
    fn help_teaches() {
        let help = Arguments::command().render_long_help().to_string();
        for part in [
            "Examples:",
            "ADEA_LISTEN",
            "[default: 127.0.0.1:5984]",
            "db.sync",
        ] {
            assert!(help.contains(part), "{part}");
        }
        assert!(!help.contains("bench-server"));
    }
}
