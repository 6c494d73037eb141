//! `adea serve`: opens the data directory and serves it over HTTP until it is told to end.
//!
//! Standard output carries what a person or a script waits for: a password made up at the first
//! start, once, and one line when requests are answered. Everything else is in the log.

use std::net::{SocketAddr, TcpListener};

use adea_http::{App, CorsOptions, Door, HttpOptions, Server, ShutdownSignal};
use adea_pod::{FirstAdmin, Pod};

use super::signals::Signals;
use super::{CommandError, Done, block_on, load, pod_options, say};
use crate::arguments::SettingFlags;
use crate::config::{Config, Loaded, Secret};
use crate::telemetry;

/// What a shell says of a process that a second Ctrl-C ended.
const INTERRUPTED: i32 = 130;

/// Serves until a signal comes.
///
/// # Errors
/// If the configuration is wrong, the address is taken, or the data directory cannot be opened.
pub(crate) fn run(settings: SettingFlags) -> Result<Done, CommandError> {
    let Loaded {
        config, warnings, ..
    } = load(settings)?;
    let _telemetry = telemetry::start(config.log_format, config.log_level.clone())?;
    for warning in warnings {
        tracing::warn!("{warning}");
    }
    block_on(serve(&config))??;
    Ok(Done::Well)
}

async fn serve(config: &Config) -> Result<(), CommandError> {
    let mut signals = Signals::listen().map_err(CommandError::Runtime)?;
    // An address that is taken is found out before anything is made on disk.
    let listener = listen(config.listen)?;
    let address = listener.local_addr().map_err(CommandError::Serve)?;
    let pod = Pod::open(pod_options(config)).await?;
    announce_admin(&pod, config).await?;
    let resuming = pod.clone();
    tokio::spawn(async move { resuming.resume_maintenance().await });

    let (shutdown, end) = ShutdownSignal::new();
    let app = App::new(pod.clone(), http_options(config), shutdown.clone());
    let server = Server::new(Door(app), http_options(config), shutdown);
    warn_of_strangers(address);
    say(&format!("listening on http://{address}\n"))?;
    tracing::info!(%address, data = %config.data.display(), "serving on {address}");
    tokio::spawn(async move {
        signals.next().await;
        tracing::info!("ending: requests that run are answered first");
        end.send();
        signals.next().await;
        std::process::exit(INTERRUPTED);
    });
    let served = server.serve(listener).await;
    pod.close();
    served.map_err(CommandError::Serve)
}

fn listen(address: SocketAddr) -> Result<TcpListener, CommandError> {
    TcpListener::bind(address).map_err(|error| CommandError::Listen { address, error })
}

/// Passwords travel as they are; that is for this machine only.
fn warn_of_strangers(address: SocketAddr) {
    if !address.ip().is_loopback() {
        tracing::warn!(
            %address,
            "{address} is reached from other machines and speaks no TLS: passwords and documents \
             can be read on the way. Put a proxy with TLS in front, or listen on 127.0.0.1"
        );
    }
}

/// Makes sure there is an administrator, and shows a password that was made up, once.
async fn announce_admin(pod: &Pod, config: &Config) -> Result<(), CommandError> {
    let name = config.admin_name.as_str();
    let password = config.admin_password.as_ref().map(Secret::reveal);
    match pod.ensure_admin(name, password).await? {
        FirstAdmin::Generated(password) => say(&boxed(&[
            "An administrator was made for this new data directory:",
            "",
            &format!("    name       {name}"),
            &format!("    password   {password}"),
            "",
            "The password is shown only now. Choose your own with ADEA_ADMIN_PASSWORD.",
        ])),
        FirstAdmin::Set => {
            tracing::info!(name, "administrator {name} has the password of the configuration");
            Ok(())
        }
        FirstAdmin::Unchanged => Ok(()),
    }
}

/// Lines with a frame around them.
fn boxed(lines: &[&str]) -> String {
    let width = lines.iter().map(|line| line.chars().count()).max().unwrap_or(0);
    let edge = format!("+-{}-+\n", "-".repeat(width));
    let rows: String = lines.iter().map(|line| format!("| {line:width$} |\n")).collect();
    format!("{edge}{rows}{edge}")
}

fn http_options(_config: &Config) -> HttpOptions {
    todo_options()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_box_fits_its_longest_line() {
        assert_eq!(boxed(&["ab", "", "é"]), "+----+\n| ab |\n|    |\n| é  |\n+----+\n");
    }
}
