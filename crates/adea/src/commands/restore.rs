//! `adea restore`: a data directory from a backup.

use super::{CommandError, Done, block_on, load, say, told};
use crate::arguments::RestoreArguments;

/// Makes the data directory and prints what a check of it found.
///
/// # Errors
/// If there is something in it already, or the backup is none.
pub(crate) fn run(arguments: RestoreArguments) -> Result<Done, CommandError> {
    let data = load(arguments.data.0)?.config.data;
    let report = block_on(adea_pod::restore(&arguments.from, &data))??;
    say(&told(&report))?;
    let (from, data) = (arguments.from.display(), data.display());
    say(&format!(
        "{data} was made from {from}. It is a new installation: clients read it anew.\n"
    ))?;
    Ok(Done::of(&report))
}
