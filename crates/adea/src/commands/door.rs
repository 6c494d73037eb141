//! Asking a running server over HTTP for what only it can do.
//!
//! One request on one connection, `POST /_adea/backup`. What the server says wrong is handed on
//! in its words.

use std::path::Path;

use adea_pod::BackupReport;
use bytes::Bytes;
use http::header::{AUTHORIZATION, CONTENT_TYPE, HOST, HeaderValue};
use http::{Method, Request, StatusCode};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::net::TcpStream;

use crate::address::{InvalidAddress, ServerAddress};

/// The longest answer that is read.
const ANSWER_BYTES_MAX: usize = 16 << 20;

/// Where a server is, and how to be let in.
#[derive(Debug)]
pub(crate) struct Door {
    /// Host and port.
    host: String,
    authorization: Option<HeaderValue>,
}

/// Why the server did not do it.
#[derive(Debug, thiserror::Error)]
pub(crate) enum DoorError {
    /// The address is not one.
    #[error(transparent)]
    Url(#[from] InvalidAddress),
    /// Nobody answers there.
    #[error("{address} does not answer: {error}")]
    Unreachable {
        /// Host and port.
        address: String,
        /// What the system said.
        error: std::io::Error,
    },
    /// The connection broke.
    #[error("asking the server: {0}")]
    Broken(String),
    /// The server said no.
    #[error("the server answered {status}: {reason}")]
    Refused {
        /// The status.
        status: StatusCode,
        /// Its words.
        reason: String,
    },
}

impl Door {
    /// Reads `http://name:password@host:port`; odd characters of name and password are `%XX`.
    ///
    /// # Errors
    /// If `url` is not like that.
    pub(crate) fn parse(url: &str) -> Result<Self, DoorError> {
        let ServerAddress {
            host,
            authorization,
        } = ServerAddress::parse(url)?;
        let sensitive = |text: String| {
            let mut value = HeaderValue::try_from(text).ok()?;
            value.set_sensitive(true);
            Some(value)
        };
        Ok(Self {
            host,
            authorization: authorization.and_then(sensitive),
        })
    }

    /// Lets the server make a backup in the directory `to`, as the server sees it.
    ///
    /// # Errors
    /// If it cannot be asked, or says no.
    pub(crate) async fn backup(&self, to: &Path) -> Result<BackupReport, DoorError> {
        let body = serde_json::json!({ "to": to.to_string_lossy() }).to_string();
        let answer = self.post("/_adea/backup", body).await?;
        let number = |key: &str| answer.get(key).and_then(Value::as_u64).unwrap_or(0);
        let faults = answer.get("faults").and_then(Value::as_array);
        Ok(BackupReport {
            documents: number("documents"),
            files: number("files"),
            bytes: number("bytes"),
            faults: faults
                .into_iter()
                .flatten()
                .filter_map(|fault| fault.as_str().map(str::to_owned))
                .collect(),
        })
    }

    async fn post(&self, path: &str, body: String) -> Result<Value, DoorError> {
        let broken = |error: &dyn std::fmt::Display| DoorError::Broken(error.to_string());
        let address = self.host.clone();
        let stream = match TcpStream::connect(&address).await {
            Ok(stream) => TokioIo::new(stream),
            Err(error) => return Err(DoorError::Unreachable { address, error }),
        };
        let (mut sender, connection) = hyper::client::conn::http1::handshake(stream)
            .await
            .map_err(|error| broken(&error))?;
        // It ends with the answer; what goes wrong in it the answer's reader is told.
        tokio::spawn(connection);
        let mut request = Request::builder()
            .method(Method::POST)
            .uri(path)
            .header(HOST, &address)
            .header(CONTENT_TYPE, "application/json")
            .body(Full::new(Bytes::from(body)))
            .map_err(|error| broken(&error))?;
        if let Some(value) = &self.authorization {
            let headers = request.headers_mut();
            headers.insert(AUTHORIZATION, value.clone());
        }
        let answer = sender
            .send_request(request)
            .await
            .map_err(|error| broken(&error))?;
        let status = answer.status();
        let body = Limited::new(answer.into_body(), ANSWER_BYTES_MAX)
            .collect()
            .await;
        let body = body.map_err(|error| broken(&error))?.to_bytes();
        let value: Value = serde_json::from_slice(&body).unwrap_or(Value::Null);
        if status.is_success() {
            return Ok(value);
        }
        let reason = value
            .get("reason")
            .and_then(Value::as_str)
            .unwrap_or("no reason given");
        Err(DoorError::Refused {
            status,
            reason: reason.to_owned(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::TcpListener;

    /// Answers one request with `answer`, and gives back what was asked.
    async fn served(answer: &'static str) -> (Result<BackupReport, DoorError>, String) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let server = tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut asked = Vec::new();
            while !asked.ends_with(b"}") {
                assert_ne!(stream.read_buf(&mut asked).await.unwrap(), 0);
            }
            stream.write_all(answer.as_bytes()).await.unwrap();
            String::from_utf8(asked).unwrap()
        });
        let door = Door::parse(&format!("http://a:b@127.0.0.1:{port}")).unwrap();
        let made = door.backup(Path::new("/b/today")).await;
        (made, server.await.unwrap())
    }

    #[tokio::test]
    async fn the_server_is_asked_and_its_answer_read() {
        let body = r#"{"ok":true,"documents":3,"files":1,"bytes":9,"faults":["x"]}"#;
        let answer = format!(
            "HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        );
        let (made, asked) = served(answer.leak()).await;
        let made = made.unwrap();
        assert_eq!((made.documents, made.files, made.bytes), (3, 1, 9));
        assert_eq!(made.faults, ["x"]);
        assert!(
            asked.starts_with("POST /_adea/backup HTTP/1.1\r\n"),
            "{asked}"
        );
        assert!(asked.ends_with(r#"{"to":"/b/today"}"#), "{asked}");
        assert!(asked.contains("Basic YTpi"), "{asked}");
    }

    #[tokio::test]
    async fn a_refusal_is_told_in_the_words_of_the_server() {
        let answer = "HTTP/1.1 401 Unauthorized\r\nContent-Length: 35\r\n\r\n\
            {\"error\":\"x\",\"reason\":\"not an admin\"}";
        let answer = answer.replace(
            "35",
            &answer.rsplit("\r\n").next().unwrap().len().to_string(),
        );
        let (made, _) = served(answer.leak()).await;
        let error = made.unwrap_err().to_string();
        assert!(
            error.contains("401") && error.contains("not an admin"),
            "{error}"
        );
    }
}
