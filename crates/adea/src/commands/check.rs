//! `adea check`: whether everything in a data directory is whole.

use adea_pod::Pod;

use super::{CommandError, Done, block_on, load, pod_options, say, told};
use crate::arguments::DataFlags;

/// Checks the data directory and prints what was found.
///
/// # Errors
/// If the directory is in use, or is none.
pub(crate) fn run(data: DataFlags) -> Result<Done, CommandError> {
    let options = pod_options(&load(data.0)?.config);
    let report = block_on(async {
        let pod = Pod::open_existing(options).await?;
        let report = pod.check().await?;
        pod.close();
        Ok::<_, CommandError>(report)
    })??;
    say(&told(&report))?;
    Ok(Done::of(&report))
}
