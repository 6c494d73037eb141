//! `adea backup`: a consistent copy, made by the running server or of a stopped one's directory.

use std::path::Path;

use adea_pod::{BackupReport, Pod};

use super::door::Door;
use super::{CommandError, Done, block_on, load, pod_options, say};
use crate::arguments::BackupArguments;

/// Makes the copy and prints what is in it.
///
/// # Errors
/// If the target has something in it, the server cannot be asked, or the directory is in use.
pub(crate) fn run(arguments: BackupArguments) -> Result<Done, CommandError> {
    let BackupArguments { to, url, data } = arguments;
    let report = match url {
        Some(url) => {
            let door = Door::parse(&url)?;
            // The server has a working directory of its own.
            let to = std::path::absolute(&to).unwrap_or_else(|_| to.clone());
            block_on(door.backup(&to))??
        }
        None => {
            let options = pod_options(&load(data.0)?.config);
            block_on(async {
                let pod = Pod::open_existing(options).await?;
                let report = pod.backup(&to).await?;
                pod.close();
                Ok::<_, CommandError>(report)
            })??
        }
    };
    say(&told(&report, &to))?;
    Ok(if report.faults.is_empty() {
        Done::Well
    } else {
        Done::FaultsFound
    })
}

fn told(report: &BackupReport, to: &Path) -> String {
    let mut text = format!(
        "{}: {} documents, {} attachments in files, {} bytes\n",
        to.display(),
        report.documents,
        report.files,
        report.bytes
    );
    for fault in &report.faults {
        text.push_str(&format!("FAULT: {fault}\n"));
    }
    text
}
