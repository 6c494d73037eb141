//! The words of mails: chosen for the server or one app, and looked at before they are sent.

use adea_accounts::Refusal;
use adea_mail::templates::Which;
use adea_mail::{Kind, Language, Rendered, Template};
use adea_pod::{AppError, MailPreview, PodError};
use http::StatusCode;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::super::apps::actor;
use super::super::{Answer, Captures, Form, Parameter, Route, Who, answer, read};
use super::{OK, done};
use crate::body::Response;
use crate::error::ApiError;
use crate::router::Exchange;

const APP: &[Parameter] = &[Parameter {
    name: "app",
    about: "The app whose words they are; without one, the server's own.",
    kind: "app",
}];

const INVALID: Answer = Answer {
    status: 400,
    about: "The words cannot be used; the reason says why.",
    form: None,
};
const MISSING: Answer = Answer {
    status: 404,
    about: "There is no such kind, language or template.",
    form: None,
};

pub(super) const LIST: Route = Route {
    method: "GET",
    path: "/_mail/templates",
    name: "listMailTemplates",
    summary: "Kinds of mail, the languages they are built in, and templates that were chosen.",
    who: Who::Admin,
    query: &[],
    body: None,
    answers: &[Answer {
        status: 200,
        about: "The templates.",
        form: Some(Form::of::<Templates>()),
    }],
    handle: |exchange, _| Box::pin(async move { list(&exchange) }),
};

pub(super) const GET: Route = Route {
    method: "GET",
    path: "/_mail/templates/{kind}/{language}",
    name: "getMailTemplate",
    summary: "A template; for the server as a whole, the one that is built in if none was chosen.",
    who: Who::SignedIn,
    query: APP,
    body: None,
    answers: &[
        Answer {
            status: 200,
            about: "The template.",
            form: Some(Form::of::<ShownTemplate>()),
        },
        MISSING,
    ],
    handle: |exchange, captures| Box::pin(async move { get(&exchange, &captures) }),
};

pub(super) const PUT: Route = Route {
    method: "PUT",
    path: "/_mail/templates/{kind}/{language}",
    name: "putMailTemplate",
    summary: "Chooses the words of a kind of mail; they are tried with sample data first.",
    who: Who::SignedIn,
    query: APP,
    body: Some(Form::of::<TemplateTexts>()),
    answers: &[
        OK,
        INVALID,
        MISSING,
        Answer {
            status: 409,
            about: "There are as many templates as are kept.",
            form: None,
        },
    ],
    handle: |exchange, captures| Box::pin(put(exchange, captures)),
};

pub(super) const DELETE: Route = Route {
    method: "DELETE",
    path: "/_mail/templates/{kind}/{language}",
    name: "deleteMailTemplate",
    summary: "Takes chosen words back.",
    who: Who::SignedIn,
    query: APP,
    body: None,
    answers: &[OK, MISSING],
    handle: |exchange, captures| Box::pin(delete(exchange, captures)),
};

pub(super) const PREVIEW: Route = Route {
    method: "POST",
    path: "/_mail/preview",
    name: "previewMail",
    summary: "What a mail would say, with the words that are in use or with others.",
    who: Who::Admin,
    query: &[],
    body: Some(Form::of::<Preview>()),
    answers: &[
        Answer {
            status: 200,
            about: "The mail's words.",
            form: Some(Form::of::<TemplateTexts>()),
        },
        INVALID,
    ],
    handle: |exchange, _| Box::pin(preview(exchange)),
};

/// Which templates there are.
#[derive(Serialize, ToSchema)]
struct Templates {
    /// Kinds of mail.
    kinds: Vec<&'static str>,
    /// Languages in which each kind is built in.
    built_in: Vec<&'static str>,
    /// Templates that were chosen.
    items: Vec<ChosenTemplate>,
}

/// Where words were chosen.
#[derive(Serialize, ToSchema)]
struct ChosenTemplate {
    /// The kind of mail.
    kind: &'static str,
    /// The app; empty for the server's own.
    app: String,
    /// The language.
    language: String,
}

/// The words of a mail, as a template or filled in.
#[derive(Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct TemplateTexts {
    /// What it is about, in one line.
    #[schema(min_length = 1, max_length = 4_000)]
    subject: String,
    /// The text for who reads no HTML.
    #[schema(max_length = 64_000)]
    text: String,
    /// The same in HTML.
    #[schema(max_length = 64_000)]
    html: String,
}

/// A template.
#[derive(Serialize, ToSchema)]
struct ShownTemplate {
    /// Whether it was chosen, and is not built in.
    own: bool,
    /// What it is about, in one line.
    subject: String,
    /// The text for who reads no HTML.
    text: String,
    /// The same in HTML.
    html: String,
}

/// What to look at.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct Preview {
    /// The kind of mail.
    #[schema(min_length = 1, max_length = 64)]
    kind: String,
    /// The language, as a BCP 47 tag.
    #[serde(default)]
    #[schema(max_length = 35)]
    language: String,
    /// The app whose words are used.
    #[serde(default)]
    #[schema(max_length = 63)]
    app: String,
    /// What is filled in; without it, a sample.
    #[serde(default)]
    #[schema(value_type = Option<Object>)]
    data: Option<serde_json::Value>,
    /// The words, if not those that are in use.
    #[serde(default)]
    template: Option<TemplateTexts>,
}

impl From<TemplateTexts> for Template {
    fn from(texts: TemplateTexts) -> Self {
        Self {
            subject: texts.subject,
            text: texts.text,
            html: texts.html,
        }
    }
}

impl From<Rendered> for TemplateTexts {
    fn from(rendered: Rendered) -> Self {
        Self {
            subject: rendered.subject,
            text: rendered.text,
            html: rendered.html,
        }
    }
}

/// Which template the path and the query name.
fn which(exchange: &Exchange, captures: &Captures) -> Result<Which, ApiError> {
    let kind = Kind::parse(captures.get(0)).ok_or(ApiError::NotFound("There is no such kind."))?;
    let language = Language::parse(captures.get(1));
    let app = exchange.query.get("app").unwrap_or("");
    Ok(Which {
        kind,
        app: app_of(app)?.to_owned(),
        language: language.ok_or(ApiError::NotFound("There is no such language."))?,
    })
}

/// An app, or none.
fn app_of(text: &str) -> Result<&str, ApiError> {
    let named = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    let begins = text.starts_with(|c: char| c.is_ascii_lowercase());
    if text.is_empty() || (begins && text.len() <= 63 && text.bytes().all(named)) {
        return Ok(text);
    }
    Err(ApiError::Input("`app` is no name of an app".to_owned()))
}

/// Lets choose words server administrators and, where a mail carries no secret, those of its app. Words
/// around a secret could send it elsewhere, and it belongs to an account of the whole server.
fn require_chooser(exchange: &Exchange, which: &Which) -> Result<(), ApiError> {
    if exchange.caller.is_admin() {
        return Ok(());
    }
    if which.app.is_empty() {
        let reason = "Only server administrators may do this.";
        return Err(Refusal::Forbidden(reason.into()).into());
    }
    let pod = &exchange.app.pod;
    pod.may_administer(&which.app, &exchange.caller)?;
    if which.kind.carries_secret() {
        let refused = AppError::ServersMatter("the words of mail that carries a secret");
        return Err(PodError::from(refused).into());
    }
    Ok(())
}

fn list(exchange: &Exchange) -> Result<Response, ApiError> {
    let templates = exchange.app.pod.mail_templates()?;
    let items = templates.own.into_iter().map(|which| ChosenTemplate {
        kind: which.kind.name(),
        app: which.app,
        language: which.language.tag().to_owned(),
    });
    let templates = Templates {
        kinds: Kind::ALL.map(Kind::name).to_vec(),
        built_in: templates.built_in.to_vec(),
        items: items.collect(),
    };
    Ok(answer(StatusCode::OK, &templates))
}

fn get(exchange: &Exchange, captures: &Captures) -> Result<Response, ApiError> {
    let which = which(exchange, captures)?;
    require_chooser(exchange, &which)?;
    let (template, own) = exchange.app.pod.mail_template(&which)?;
    let shown = ShownTemplate {
        own,
        subject: template.subject,
        text: template.text,
        html: template.html,
    };
    Ok(answer(StatusCode::OK, &shown))
}

async fn put(mut exchange: Exchange, captures: Captures) -> Result<Response, ApiError> {
    let which = which(&exchange, &captures)?;
    require_chooser(&exchange, &which)?;
    let texts: TemplateTexts = read(&mut exchange).await?;
    let by = actor(&exchange);
    let pod = &exchange.app.pod;
    pod.put_mail_template(which, texts.into(), &by).await?;
    Ok(done(StatusCode::OK))
}

async fn delete(exchange: Exchange, captures: Captures) -> Result<Response, ApiError> {
    let which = which(&exchange, &captures)?;
    require_chooser(&exchange, &which)?;
    let by = actor(&exchange);
    exchange.app.pod.delete_mail_template(which, &by).await?;
    Ok(done(StatusCode::OK))
}

async fn preview(mut exchange: Exchange) -> Result<Response, ApiError> {
    let asked: Preview = read(&mut exchange).await?;
    let unknown = || ApiError::Input("`kind` is no kind of mail".to_owned());
    let preview = MailPreview {
        kind: Kind::parse(&asked.kind).ok_or_else(unknown)?,
        language: asked.language,
        app: app_of(&asked.app)?.to_owned(),
        data: asked.data,
        template: asked.template.map(Template::from),
    };
    let rendered = exchange.app.pod.preview_mail(preview)?;
    Ok(answer(StatusCode::OK, &TemplateTexts::from(rendered)))
}
