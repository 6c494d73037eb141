//! What `adea config` prints: every setting with its value and where that came from, one setting in
//! full, and the reference for the documentation.
//!
//! Secrets are never printed, neither from here nor in a fault.

use super::layers::{Entry, Values};
use super::setting::Setting;
use super::suggestion::{did_you_mean, suggest};
use super::{Loaded, SETTINGS};

/// Every setting: key, value, origin, what it is. Columns are aligned.
pub(crate) fn all(values: &Values) -> String {
    let head = ["SETTING", "VALUE", "FROM", "WHAT IT IS"].map(str::to_owned);
    let rows = values.entries.iter().map(|entry| {
        [
            entry.setting.key.to_owned(),
            entry.shown(),
            entry.origin.to_string(),
            entry.setting.summary().to_owned(),
        ]
    });
    let rows: Vec<[String; 4]> = std::iter::once(head).chain(rows).collect();
    let width = |column: usize| {
        let cells = rows.iter().filter_map(|row| row.get(column));
        cells.map(|cell| cell.chars().count()).max().unwrap_or(0)
    };
    let (key, value, from) = (width(0), width(1), width(2));
    rows.iter()
        .map(|[a, b, c, d]| format!("{a:key$}  {b:value$}  {c:from$}  {d}\n"))
        .collect()
}

/// One setting in full, or a complaint that there is none of that name.
pub(crate) fn one(values: &Values, key: &str) -> Result<String, String> {
    let entry = values.entry(key).ok_or_else(|| {
        let near = suggest(key, SETTINGS.iter().map(|setting| setting.key));
        format!("there is no setting \"{key}\"{}", did_you_mean(near))
    })?;
    let Entry {
        setting, origin, ..
    } = entry;
    Ok(format!(
        "{key} = {value}    (from {origin})\n\n{about}\n\nAllowed:      {allowed}\n\
         Default:      {default}\nFile:         {key}\nEnvironment:  {environment}\nFlag:         --{flag}\n",
        value = entry.shown(),
        about = setting.description(),
        allowed = setting.kind.allowed(),
        default = setting.default.unwrap_or("(none)"),
        environment = setting.environment(),
        flag = setting.flag(),
    ))
}

/// What `adea config check` prints when nothing is wrong.
pub(crate) fn checked(loaded: &Loaded) -> String {
    let changed = loaded
        .values
        .entries
        .iter()
        .filter(|entry| entry.origin != super::Origin::Default)
        .count();
    let file = loaded.file.as_ref().map_or_else(
        || "no configuration file".to_owned(),
        |path| path.display().to_string(),
    );
    format!(
        "The configuration is right: {file}, {} settings, {changed} of them not at their default.\n",
        SETTINGS.len()
    )
}

/// The reference of all settings for the documentation, from the same table.
pub(crate) fn markdown() -> String {
    let mut out = String::from(
        "A setting is taken from its flag, else from its environment variable, else from the \
         configuration file (`--config FILE`, `ADEA_CONFIG`, or `./adea.toml` if there is one), \
         else it has its default. What an administrator sets over HTTP, under \
         `/_node/_local/_config`, is kept in the data directory and lies over all of them \
         ([why](adr/0014-settings-at-run-time.md)).\n",
    );
    let mut group = "";
    for setting in SETTINGS {
        if setting.group != group {
            group = setting.group;
            out.push_str("\n## ");
            out.push_str(group);
            out.push_str(
                "\n\n| setting | default | environment | flag | what it is | allowed |\n\
                 |---|---|---|---|---|---|\n",
            );
        }
        out.push_str(&markdown_row(setting));
    }
    out
}

fn markdown_row(setting: &Setting) -> String {
    let safe = |text: &str| text.replace('|', "\\|");
    format!(
        "| `{}` | {} | `{}` | `--{}` | {} | {} |\n",
        setting.key,
        setting
            .default
            .map_or_else(|| "(none)".to_owned(), |text| format!("`{text}`")),
        setting.environment(),
        setting.flag(),
        safe(&setting.description()),
        safe(&setting.kind.allowed()),
    )
}
