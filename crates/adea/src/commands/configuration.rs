//! `adea config`: what the settings are, where they come from, and whether they are right.

use super::{CommandError, Done, complain, load, say};
use crate::arguments::ConfigCommand;
use crate::config::explain;

/// Explains or checks the configuration.
///
/// # Errors
/// If it is wrong.
pub(crate) fn run(command: ConfigCommand) -> Result<Done, CommandError> {
    match command {
        ConfigCommand::Explain { markdown: true, .. } => say(&explain::markdown())?,
        ConfigCommand::Explain { key, settings, .. } => {
            let loaded = load(settings)?;
            let text = match key {
                Some(key) => explain::one(&loaded.values, &key).map_err(CommandError::Setting)?,
                None => explain::all(&loaded.values),
            };
            say(&text)?;
        }
        ConfigCommand::Check(settings) => {
            let loaded = load(settings)?;
            for warning in &loaded.warnings {
                complain(&format!("warning: {warning}\n"));
            }
            say(&explain::checked(&loaded))?;
        }
    }
    Ok(Done::Well)
}
