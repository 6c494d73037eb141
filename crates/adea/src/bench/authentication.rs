//! What it costs the server to know who asks: a document read by nobody in particular, and the same
//! with each credential of a session. What is told is the difference.
//!
//! The account is made for the run, and removed after it. A server that has no sessions of this kind
//! is passed over.

use super::connection::{Request, Target};
use super::driver::{connect, drive};
use super::error::BenchError;
use super::phases::Run;
use super::questions::GetDocuments;
use super::report::{Operation, Timed};
use adea_base::Entropy;
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::Duration;

/// How often both are measured, one after the other; the least of each counts.
const ROUNDS: usize = 3;

/// What a request brings.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Credential {
    /// An access token.
    Bearer,
    /// The cookie of a session.
    Cookie,
    /// A temporary name and password.
    Basic,
}

impl Credential {
    fn face(self) -> &'static str {
        match self {
            Self::Bearer => "bearer",
            Self::Cookie => "cookie",
            Self::Basic => "basic",
        }
    }

    fn operation(self) -> Operation {
        match self {
            Self::Bearer => Operation::AuthBearer,
            Self::Cookie => Operation::AuthCookie,
            Self::Basic => Operation::AuthBasic,
        }
    }
}

impl Run {
    /// Measures what `credential` costs with each of `count` requests.
    pub(super) async fn authentication(
        &mut self,
        credential: Credential,
        count: usize,
    ) -> Result<(), BenchError> {
        let name = format!("bench-{}", Entropy::System.hex_id());
        let password = Entropy::System.hex_id();
        self.open_to_everybody().await?;
        let revision = {
            let roles = ["one", "two", "three"].map(str::to_owned);
            self.make_account(&name, &password, &roles).await?
        };
        let measured = self.compare(credential, &name, &password, count).await;
        let path = format!("/_users/org.couchdb.user:{name}?rev={revision}");
        let removed = self.ask_once(&Request::new("DELETE", path), 200).await;
        measured?;
        removed.map(drop)
    }

    async fn compare(
        &mut self,
        credential: Credential,
        name: &str,
        password: &str,
        count: usize,
    ) -> Result<(), BenchError> {
        let anonymous = self.target.with_credential(None);
        let header = match self.sign_in(credential, name, password).await {
            Ok(header) => header,
            Err(BenchError::Status { status: 404, .. }) => return Ok(()),
            Err(error) => return Err(error),
        };
        let known = self.target.with_credential(Some(header));
        let (mut without, mut with) = (Vec::new(), Vec::new());
        for _ in 0..ROUNDS {
            without.push(
                self.read_as(&anonymous, Operation::GetAnonymous, count)
                    .await?,
            );
            with.push(self.read_as(&known, credential.operation(), count).await?);
        }
        let least = |rounds: Vec<Timed>| rounds.into_iter().min_by_key(|timed| timed.cpu);
        if let (Some(without), Some(mut with)) = (least(without), least(with)) {
            with.cpu = with
                .cpu
                .zip(without.cpu)
                .map(|(with, without)| with.saturating_sub(without));
            self.timed
                .retain(|timed| timed.operation != Operation::GetAnonymous);
            self.timed.extend([without, with]);
        }
        Ok(())
    }

    /// Reads documents as whoever `target` says.
    async fn read_as(
        &mut self,
        target: &Arc<Target>,
        operation: Operation,
        count: usize,
    ) -> Result<Timed, BenchError> {
        let question = Arc::new(GetDocuments {
            database: self.database.clone(),
            corpus: self.corpus.clone(),
            loaded: self.loaded,
        });
        let first = Request::new("GET", format!("/{}", self.database));
        let open = connect(target, self.connections, &first).await?;
        self.measure(operation, count, drive(open, count, question))
            .await?;
        self.timed.pop().ok_or(BenchError::Timeout(
            operation.name(),
            Duration::ZERO.as_secs(),
        ))
    }

    async fn open_to_everybody(&self) -> Result<(), BenchError> {
        let mut request = Request::new("PUT", format!("/{}/_security", self.database));
        let open = json!({"admins": {"roles": ["_admin"]}, "members": {"names": [], "roles": []}});
        request.body = open.to_string().into_bytes();
        self.ask_once(&request, 200).await.map(drop)
    }

    /// Makes an account; the revision of its document.
    pub(super) async fn make_account(
        &self,
        name: &str,
        password: &str,
        roles: &[String],
    ) -> Result<String, BenchError> {
        let mut request = Request::new("PUT", format!("/_users/org.couchdb.user:{name}"));
        let document = json!({"type": "user", "name": name, "password": password, "roles": roles});
        request.body = document.to_string().into_bytes();
        let answer = self.ask_once(&request, 201).await?;
        text_at(&request, &answer, "/rev")
    }

    /// Signs the account in; the header with its access token.
    pub(super) async fn sign_in_with_token(
        &self,
        name: &str,
        password: &str,
    ) -> Result<String, BenchError> {
        self.sign_in(Credential::Bearer, name, password).await
    }

    /// Signs the account in; the header that goes with each request.
    async fn sign_in(
        &self,
        credential: Credential,
        name: &str,
        password: &str,
    ) -> Result<String, BenchError> {
        use base64::Engine as _;
        let mut request = Request::new("POST", "/_auth/login");
        let face = credential.face();
        let asked = json!({"name": name, "password": password, "face": face});
        request.body = asked.to_string().into_bytes();
        let (answer, cookie) = self.ask_for_cookie(&request).await?;
        Ok(match credential {
            Credential::Bearer => {
                let token = text_at(&request, &answer, "/access_token")?;
                format!("Authorization: Bearer {token}")
            }
            Credential::Basic => {
                let name = text_at(&request, &answer, "/basic_name")?;
                let password = text_at(&request, &answer, "/basic_password")?;
                let both = format!("{name}:{password}");
                let both = base64::engine::general_purpose::STANDARD.encode(both);
                format!("Authorization: Basic {both}")
            }
            Credential::Cookie => {
                let given = || BenchError::content(request.name(), "no cookie came");
                format!("Cookie: {}", cookie.ok_or_else(given)?)
            }
        })
    }
}

/// A text in an answer.
fn text_at(request: &Request, answer: &[u8], pointer: &str) -> Result<String, BenchError> {
    let json: Option<Value> = serde_json::from_slice(answer).ok();
    let found = json
        .as_ref()
        .and_then(|json| json.pointer(pointer)?.as_str());
    let missing = || BenchError::content(request.name(), format!("no {pointer} in the answer"));
    found.map(str::to_owned).ok_or_else(missing)
}
