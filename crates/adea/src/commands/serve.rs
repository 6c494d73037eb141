//! `adea serve`: opens the data directory and serves it over HTTP until it is told to end.
//!
//! Standard output carries what a person or a script waits for: a password made up at the first
//! start, once, and one line when requests are answered. Everything else is in the log.

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;

use adea_http::{
    App, CorsOptions, Door, HttpOptions, Outside, Server, SettingHook, ShutdownSignal,
};
use adea_pod::{FirstAdmin, MailSettings, Pod};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::net::TcpListener;
use tokio::sync::oneshot;

use super::signals::Signals;
use super::{CommandError, Done, block_on, load, pod_options, say};
use crate::arguments::SettingFlags;
use crate::config::{Config, Loaded, Secret, WebOrigin};
use crate::telemetry::{self, LogFilter};

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
    let telemetry = telemetry::start(config.log_format, config.log_level.clone())?;
    for warning in warnings {
        tracing::warn!("{warning}");
    }
    block_on(serve(&config, telemetry.filter()))??;
    Ok(Done::Well)
}

async fn serve(config: &Config, filter: LogFilter) -> Result<(), CommandError> {
    let connections_max = room_for_connections(config.max_connections);
    let mut signals = Signals::listen().map_err(CommandError::Runtime)?;
    // An address that is taken is found out before anything is made on disk.
    let listener = listen(config.listen).await?;
    let address = listener.local_addr().map_err(CommandError::Serve)?;
    let mut options = pod_options(config);
    complete_mail_settings(&mut options.auth.accounts.mail, config, address)?;
    let pod = Pod::open(options).await?;
    announce_admin(&pod, config).await?;
    let resuming = pod.clone();
    tokio::spawn(async move { resuming.resume_maintenance().await });
    let behind = pod.clone();
    let background = tokio::spawn(async move { behind.run_background().await });
    pod.start_replicator();

    let options = HttpOptions {
        connections_max,
        ..http_options(config)
    };
    let shutdown = ShutdownSignal::new();
    let outside = outside(config, address, filter);
    let app = App::within(pod.clone(), options, shutdown.clone(), outside);
    app.tell_stored_settings();
    let (metrics, live) = (app.metrics.clone(), app.live.clone());
    let server = Server::new(Door(app), live, metrics, shutdown);
    warn_of_strangers(address, config.session_plain_http);
    tracing::info!(%address, data = %config.data.display(), "serving on {address}");
    say(&format!("listening on http://{address}\n"))?;
    let (told, end) = oneshot::channel::<()>();
    let ending = pod.clone();
    tokio::spawn(async move {
        signals.next().await;
        tracing::info!("ending: requests that run are answered first, a second signal cuts them");
        drop(told);
        // Requests that wait for a replication are answered when it has ended.
        tokio::spawn(async move { ending.stop_replications().await });
        signals.next().await;
        std::process::exit(INTERRUPTED);
    });
    let served = server.serve(listener, async move { drop(end.await) }).await;
    background.abort();
    pod.stop_replications().await;
    pod.close();
    tracing::info!("ended");
    served.map_err(CommandError::Serve)
}

/// Open files that are not connections: the store's, attachments', the log's.
const FILES_RESERVED: u64 = 1_024;

/// Takes as many open files as the system lets this process have, since each listener is one and
/// the usual first limit of 1,024 is gone before the first thousand listens; and says how many
/// connections that leaves room for. A store that cannot open a file stops writing, so
/// connections never take the last ones.
fn room_for_connections(wanted: usize) -> usize {
    let limits = getrlimit(Resource::Nofile);
    let raised = Rlimit {
        current: limits.maximum,
        maximum: limits.maximum,
    };
    let files = match setrlimit(Resource::Nofile, raised) {
        Ok(()) => limits.maximum,
        Err(error) => {
            tracing::warn!(%error, "the limit of open files stays at {:?}", limits.current);
            limits.current
        }
    };
    let Some(files) = files else { return wanted };
    let room = files.saturating_sub(FILES_RESERVED).max(files / 8).max(1);
    let room = usize::try_from(room).unwrap_or(usize::MAX);
    if room < wanted {
        tracing::warn!(
            "the system allows {files} open files: at most {room} connections are taken, not \
             {wanted}; raise the limit (ulimit -n, LimitNOFILE) for more"
        );
    }
    room.min(wanted)
}

/// What is known of mail only when the server starts: where it listens, and what is in the file of
/// certificates.
fn complete_mail_settings(
    settings: &mut MailSettings,
    config: &Config,
    address: SocketAddr,
) -> Result<(), CommandError> {
    let mut reached = address;
    if address.ip().is_unspecified() {
        // Every address of the machine; this one it certainly has.
        reached.set_ip(match address {
            SocketAddr::V4(_) => Ipv4Addr::LOCALHOST.into(),
            SocketAddr::V6(_) => Ipv6Addr::LOCALHOST.into(),
        });
    }
    settings.own_url = format!("http://{reached}");
    if let Some(path) = &config.mail_authorities {
        let read = std::fs::read(path);
        let pem = read.map_err(|error| CommandError::Certificates {
            path: path.clone(),
            error,
        })?;
        settings.server = settings.server.take().map(|server| server.trusting(pem));
    }
    Ok(())
}

async fn listen(address: SocketAddr) -> Result<TcpListener, CommandError> {
    let bound = TcpListener::bind(address).await;
    bound.map_err(|error| CommandError::Listen { address, error })
}

/// Passwords travel as they are; that is for this machine only.
fn warn_of_strangers(address: SocketAddr, plain_http: bool) {
    if !address.ip().is_loopback() {
        let told = if plain_http {
            "session.plain_http is set, so passwords and documents can be read on the way."
        } else {
            "credentials from there are refused, unless session.plain_http is set."
        };
        tracing::warn!(
            %address,
            "{address} is reached from other machines and speaks no TLS: {told} Put a proxy with \
             TLS in front that sends X-Forwarded-Proto, and list it in auth.trusted_proxies; or \
             listen on 127.0.0.1"
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
            tracing::info!(
                name,
                "administrator {name} has the password of the configuration"
            );
            Ok(())
        }
        FirstAdmin::Unchanged => Ok(()),
    }
}

/// Lines with a frame around them.
fn boxed(lines: &[&str]) -> String {
    let width = lines
        .iter()
        .map(|line| line.chars().count())
        .max()
        .unwrap_or(0);
    let edge = format!("+-{}-+\n", "-".repeat(width));
    let rows: String = lines
        .iter()
        .map(|line| format!("| {line:width$} |\n"))
        .collect();
    format!("{edge}{rows}{edge}")
}

/// The settings that are not those of requests, by `CouchDB`'s names; of them, what is logged can be
/// changed while the server runs.
fn outside(config: &Config, address: SocketAddr, filter: LogFilter) -> Outside {
    let written = config.log_level.to_string();
    let shown = vec![
        ("chttpd", "bind_address", address.ip().to_string()),
        ("chttpd", "port", address.port().to_string()),
        ("couchdb", "database_dir", config.data.display().to_string()),
        (
            "couchdb",
            "view_index_dir",
            config.data.display().to_string(),
        ),
        ("log", "level", written.clone()),
        ("log", "writer", "stderr".to_owned()),
    ];
    let hook: SettingHook = Arc::new(move |section, key, value| {
        if (section, key) != ("log", "level") {
            return Ok(());
        }
        filter.set(value.unwrap_or(&written))
    });
    Outside {
        shown,
        hook: Some(hook),
    }
}

/// What the configuration says of requests.
fn http_options(config: &Config) -> HttpOptions {
    let exactly = |origin: &WebOrigin| match origin {
        WebOrigin::Any => None,
        WebOrigin::Exactly(origin) => Some(origin.clone()),
    };
    HttpOptions {
        header_timeout: config.header_timeout,
        idle_timeout: config.idle_timeout,
        header_bytes_max: usize::try_from(config.max_header_size).unwrap_or(usize::MAX),
        connections_max: config.max_connections,
        request_bytes_max: config.max_request_size,
        document_bytes_max: config.max_document_size,
        attachment_bytes_max: config.max_attachment_size,
        changes_timeout: config.changes_timeout,
        cors: CorsOptions {
            enabled: config.cors_enabled,
            any_origin: config.cors_origins.contains(&WebOrigin::Any),
            origins: config.cors_origins.iter().filter_map(exactly).collect(),
            ..CorsOptions::default()
        },
        compress: config.compression,
        access_log: config.log_access,
        vhosts: config.vhosts.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_box_fits_its_longest_line() {
        assert_eq!(
            boxed(&["ab", "", "é"]),
            "+----+\n| ab |\n|    |\n| é  |\n+----+\n"
        );
    }
}
