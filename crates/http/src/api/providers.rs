//! Signing in with another provider (`OpenID Connect`).

mod forms;

use adea_accounts::oidc::form;
use adea_pod::{Finished, Pod, PodError, ProviderError, Returned};
use http::{HeaderValue, StatusCode, header};

use super::input::header_text;
use super::sessions::{BEGUN, SessionAsked, begun, wanted};
use super::{
    Answer, Answering, Captures, Form, Parameter, Route, Who, actor, answer, app_of, read,
};
use crate::body::Response;
use crate::caller::origin;
use crate::couch::intake;
use crate::error::ApiError;
use crate::reply;
use crate::router::Exchange;
use forms::{
    FinishAsked, IdentitiesAnswer, IdentityItem, LinkStartAsked, LinkedAnswer, ProviderItem,
    ProvidersAnswer, ReturnedAnswer, StartAsked, StartedAnswer,
};

/// The longest form of a provider's page.
const FORM_BYTES_MAX: u64 = 16 << 10;
/// The longest address to return to.
const REDIRECT_BYTES_MAX: usize = 2_048;

/// The rows of this area.
pub(super) const ROUTES: &[Route] = &[
    Route {
        method: "GET",
        path: "/_auth/providers",
        name: "listProviders",
        summary: "Lists the providers that one can sign in with.",
        who: Who::Anybody,
        query: &[],
        body: None,
        answers: &[Answer {
            status: 200,
            about: "Their names, and what may stand on their buttons.",
            form: Some(Form::of::<ProvidersAnswer>()),
        }],
        handle: |exchange, _| Box::pin(async move { Ok(list(&exchange)) }),
    },
    Route {
        method: "POST",
        path: "/_auth/oidc/finish",
        name: "finishProvider",
        summary: "Swaps the code that a browser came back with for a session, or links the identity if \
                  that was begun.",
        who: Who::Anybody,
        query: &[],
        body: Some(Form::of::<FinishAsked>()),
        answers: FINISHED,
        handle: |exchange, _| Box::pin(finish(exchange)),
    },
    Route {
        method: "POST",
        path: "/_auth/oidc/{provider}/start",
        name: "startProvider",
        summary: "Begins to sign in with a provider: tells where to send the browser.",
        who: Who::Anybody,
        query: &[],
        body: Some(Form::of::<StartAsked>()),
        answers: STARTED,
        handle: start,
    },
    Route {
        method: "POST",
        path: "/_auth/oidc/{provider}/link/start",
        name: "startProviderLink",
        summary: "Begins to link the caller's account with a provider: tells where to send the browser.",
        who: Who::SignedIn,
        query: &[],
        body: Some(Form::of::<LinkStartAsked>()),
        answers: STARTED,
        handle: start_link,
    },
    Route {
        method: "GET",
        path: "/_auth/oidc/{provider}/callback",
        name: "returnFromProvider",
        summary: "Where a provider sends the browser back to.",
        who: Who::Anybody,
        query: RETURNED_WITH,
        body: None,
        answers: RETURNED,
        handle: |exchange, captures| callback(exchange, captures),
    },
    Route {
        method: "POST",
        path: "/_auth/oidc/{provider}/callback",
        name: "returnFromProviderByForm",
        summary: "Where the page of a provider sends the browser back to with a form.",
        who: Who::Anybody,
        query: &[],
        body: None,
        answers: RETURNED_BY_FORM,
        handle: |exchange, captures| callback(exchange, captures),
    },
    Route {
        method: "GET",
        path: "/_auth/identities",
        name: "listIdentities",
        summary: "Lists who the caller is at other providers.",
        who: Who::SignedIn,
        query: &[],
        body: None,
        answers: &[Answer {
            status: 200,
            about: "One for each provider that the account is linked with.",
            form: Some(Form::of::<IdentitiesAnswer>()),
        }],
        handle: |exchange, _| Box::pin(async move { identities(&exchange) }),
    },
    Route {
        method: "DELETE",
        path: "/_auth/identities/{provider}",
        name: "unlinkIdentity",
        summary: "Takes away who the caller is at a provider.",
        who: Who::SignedIn,
        query: &[],
        body: None,
        answers: &[
            Answer {
                status: 200,
                about: "It is taken away.",
                form: Some(Form::of::<LinkedAnswer>()),
            },
            Answer {
                status: 409,
                about: "It is the only way into the account.",
                form: None,
            },
        ],
        handle: |exchange, captures| unlink(exchange, captures),
    },
];

#[expect(clippy::indexing_slicing, reason = "it would not compile")]
const FINISHED: &[Answer] = &[
    BEGUN[0],
    Answer {
        status: 201,
        about: "The account is linked with the provider.",
        form: Some(Form::of::<LinkedAnswer>()),
    },
    BEGUN[1],
    BEGUN[2],
    Answer {
        status: 404,
        about: "There is no such app.",
        form: None,
    },
    Answer {
        status: 409,
        about: "The identity or the address is of another account.",
        form: None,
    },
    OVER,
];

const STARTED: &[Answer] = &[
    Answer {
        status: 200,
        about: "Where to send the browser, and what to keep until it is back.",
        form: Some(Form::of::<StartedAnswer>()),
    },
    Answer {
        status: 502,
        about: "The provider cannot be asked.",
        form: None,
    },
];

const BACK_WITH_CODE: Answer = Answer {
    status: 200,
    about: "The code, where no page was named to return to.",
    form: Some(Form::of::<ReturnedAnswer>()),
};

const BACK: Answer = Answer {
    status: 303,
    about: "Back to the page that was named, with `#code=` or `#error=`.",
    form: None,
};

const OVER: Answer = Answer {
    status: 410,
    about: "No such attempt was begun here, or it is over.",
    form: None,
};

const UNTRUSTED: Answer = Answer {
    status: 502,
    about: "The provider cannot be asked, or its answer proves nothing.",
    form: None,
};

const RETURNED: &[Answer] = &[BACK_WITH_CODE, BACK, OVER, UNTRUSTED];

const RETURNED_BY_FORM: &[Answer] = &[
    BACK_WITH_CODE,
    BACK,
    OVER,
    Answer {
        status: 413,
        about: "The form is too large.",
        form: None,
    },
    Answer {
        status: 415,
        about: "It is no form.",
        form: None,
    },
    UNTRUSTED,
];

const fn field(name: &'static str, about: &'static str) -> Parameter {
    Parameter {
        name,
        about,
        kind: super::kind::RETURNED,
    }
}

/// What is read of what a provider adds.
pub(super) const RETURNED_WITH: &[Parameter] = &[
    field("state", "What the browser was sent with."),
    field("code", "What is swapped for the identity."),
    field("iss", "Who sends the browser."),
    field("error", "Why there is no code."),
];

fn list(exchange: &Exchange) -> Response {
    let named = exchange.app.pod.provider_names().into_iter();
    let providers = named.map(|(name, label)| ProviderItem { name, label });
    let told = ProvidersAnswer {
        items: providers.collect(),
    };
    answer(StatusCode::OK, &told)
}

fn start(mut exchange: Exchange, captures: Captures) -> Answering {
    Box::pin(async move {
        let asked: StartAsked = read(&mut exchange).await?;
        let app = app_of(&exchange, asked.app.as_deref())?;
        let (base, pod) = (base(&exchange)?, &exchange.app.pod);
        check_redirect(&exchange, &base, asked.redirect_to.as_deref(), &app)?;
        let target = asked.redirect_to;
        let started = pod
            .start_provider(captures.get(0), &base, target, &app, None)
            .await?;
        Ok(answer(StatusCode::OK, &StartedAnswer::from(started)))
    })
}

fn start_link(mut exchange: Exchange, captures: Captures) -> Answering {
    Box::pin(async move {
        let asked: LinkStartAsked = read(&mut exchange).await?;
        let app = app_of(&exchange, asked.app.as_deref())?;
        let (base, pod, by) = (base(&exchange)?, &exchange.app.pod, actor(&exchange));
        check_redirect(&exchange, &base, asked.redirect_to.as_deref(), &app)?;
        let (target, password) = (asked.redirect_to, asked.password.as_deref());
        let started = pod
            .start_provider_link(captures.get(0), &base, target, &by, password)
            .await?;
        Ok(answer(StatusCode::OK, &StartedAnswer::from(started)))
    })
}

fn callback(mut exchange: Exchange, captures: Captures) -> Answering {
    Box::pin(async move {
        let text = if exchange.method == http::Method::POST {
            let kind = header_text(&exchange, &header::CONTENT_TYPE);
            if !kind.starts_with("application/x-www-form-urlencoded") {
                return Err(ApiError::ContentType("application/x-www-form-urlencoded"));
            }
            let body = intake::whole_up_to(&mut exchange, FORM_BYTES_MAX).await?;
            String::from_utf8(body.to_vec()).unwrap_or_default()
        } else {
            exchange.raw_query.clone()
        };
        let fields = form::decode(&text).ok_or_else(|| PodError::from(ProviderError::Over))?;
        let pod = &exchange.app.pod;
        let returned = pod.provider_returned(captures.get(0), &fields).await?;
        back(returned)
    })
}

/// Sends the browser back to its page. What is told there is made here: nothing that came with the
/// request is in it.
fn back(returned: Returned) -> Result<Response, ApiError> {
    let Some(target) = returned.redirect_to else {
        let code = returned.outcome?;
        return Ok(answer(StatusCode::OK, &ReturnedAnswer { code }));
    };
    let fragment = match returned.outcome {
        Ok(code) => form::encode(&[("code", &code)]),
        Err(error) => form::encode(&[("error", word_of(error))]),
    };
    let mut response = reply::empty(StatusCode::SEE_OTHER);
    reply::set(
        &mut response,
        header::LOCATION,
        &format!("{target}#{fragment}"),
    );
    let headers = response.headers_mut();
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(
        header::REFERRER_POLICY,
        HeaderValue::from_static("no-referrer"),
    );
    Ok(response)
}

/// The word for a page.
fn word_of(error: PodError) -> &'static str {
    ApiError::from(error).status().1
}

async fn finish(mut exchange: Exchange) -> Result<Response, ApiError> {
    let asked: FinishAsked = read(&mut exchange).await?;
    let session = SessionAsked {
        face: asked.face,
        app: None,
        device: asked.device,
    };
    let wanted = wanted(&exchange, &session)?;
    let pod = &exchange.app.pod;
    let finished = pod
        .finish_provider(
            &asked.code,
            &asked.continuation,
            exchange.caller.account(),
            wanted,
        )
        .await?;
    Ok(match finished {
        Finished::SignedIn(came) => begun(&exchange, came),
        Finished::Linked(provider) => answer(StatusCode::CREATED, &LinkedAnswer { provider }),
    })
}

fn identities(exchange: &Exchange) -> Result<Response, ApiError> {
    let found = exchange.app.pod.identities(account(exchange)?)?;
    let items = found.into_iter().map(|known| IdentityItem {
        provider: known.provider,
        email: known.address,
        linked_ms: known.linked_ms,
    });
    let told = IdentitiesAnswer {
        items: items.collect(),
    };
    Ok(answer(StatusCode::OK, &told))
}

fn unlink(exchange: Exchange, captures: Captures) -> Answering {
    Box::pin(async move {
        let (pod, provider) = (&exchange.app.pod, captures.get(0).to_owned());
        let from = origin(&pod.auth(), &exchange.headers, exchange.peer);
        pod.unlink(account(&exchange)?, &provider, from).await?;
        Ok(answer(StatusCode::OK, &LinkedAnswer { provider }))
    })
}

/// The caller's account; administrators of the configuration have none.
fn account(exchange: &Exchange) -> Result<&str, ApiError> {
    let account = exchange.caller.account();
    account.ok_or_else(|| PodError::from(adea_pod::AccountError::Missing).into())
}

/// Where browsers reach this server. What a request says of that is believed of this machine only: else
/// whoever asks could have them sent anywhere.
fn base(exchange: &Exchange) -> Result<String, ApiError> {
    let auth = exchange.app.pod.auth();
    if let Some(url) = &auth.accounts.public_url {
        return Ok(url.clone());
    }
    let host = exchange.host();
    let (name, _) = host.rsplit_once(':').unwrap_or((host, ""));
    if ["localhost", "127.0.0.1", "[::1]"].contains(&name) {
        return Ok(exchange.url(""));
    }
    Err(PodError::from(ProviderError::NoPublicUrl).into())
}

/// Lets browsers return to one of our pages, to a page of a listed origin, or to one of the app.
fn check_redirect(
    exchange: &Exchange,
    base: &str,
    target: Option<&str>,
    app: &str,
) -> Result<(), ApiError> {
    let Some(target) = target else {
        return Ok(());
    };
    let plain = target.len() <= REDIRECT_BYTES_MAX
        && target.bytes().all(|byte| (0x21..0x7f).contains(&byte))
        && !target.contains(['\\', '#', '"', '<', '>']);
    let may = match own_path(base, target) {
        Some(path) => is_own_page(path),
        None => is_listed(exchange, target) || of_app(&exchange.app.pod, app, target),
    };
    if plain && may {
        Ok(())
    } else {
        Err(PodError::from(ProviderError::Redirect).into())
    }
}

/// The path of a target on this server, whoever lists its origin; `base` is where browsers reach it.
fn own_path<'t>(base: &str, target: &'t str) -> Option<&'t str> {
    if target.starts_with('/') {
        return Some(target);
    }
    let same = |one: &str, other: &str| {
        let usual = |origin: &str| {
            let origin = origin.to_ascii_lowercase();
            let port = if origin.starts_with("https:") {
                ":443"
            } else {
                ":80"
            };
            origin
                .strip_suffix(port)
                .map(str::to_owned)
                .unwrap_or(origin)
        };
        usual(one) == usual(other)
    };
    let (origin, path) = target.split_at(origin_of(target).len());
    let (own, below) = base.split_at(origin_of(base).len());
    if !same(origin, own) {
        return None;
    }
    // Beside the path of this server stands something else, which its origin was listed for.
    let rest = path.strip_prefix(below.trim_end_matches('/'))?;
    Some(if rest.is_empty() { "/" } else { rest })
}

/// Whether a path is that of a page that we wrote. Any other is of a database, and what stands there
/// was written by whoever may write a design document: the code would be his.
fn is_own_page(target: &str) -> bool {
    let path = target.split('?').next().unwrap_or(target);
    // A browser would take dots away, and who decodes the path would find more of them.
    let plain = path
        .split('/')
        .all(|segment| !matches!(segment, "." | ".."))
        && !path.contains('%');
    let below = |page: &str| {
        let rest = path.strip_prefix(page);
        rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    };
    let front = path == "/";
    plain && (front || ["/_utils", "/_docs", "/_auth/pages"].into_iter().any(below))
}

/// Whether a page is of the public URL's origin, or of one that is listed for pages of others.
fn is_listed(exchange: &Exchange, target: &str) -> bool {
    let auth = exchange.app.pod.auth();
    let own = auth.accounts.public_url.as_deref().map(origin_of);
    let cors = &exchange.options.cors;
    let listed = cors.origins.iter().filter(|_| cors.enabled);
    let mut all = listed.map(String::as_str).chain(own);
    let wanted = origin_of(target);
    wanted.contains("://") && !wanted.contains('@') && all.any(|one| one == wanted)
}

/// Scheme, host and port of a URL, as they are written.
fn origin_of(url: &str) -> &str {
    let host_at = url.find("://").map_or(0, |at| at + 3);
    let rest = url.get(host_at..).unwrap_or("");
    let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    url.get(..host_at + end).unwrap_or(url)
}

fn of_app(pod: &Pod, app: &str, target: &str) -> bool {
    pod.app(app).is_ok_and(|app| app.may_lead_to(target))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_of_a_database_is_no_page_of_ours() {
        const BASE: &str = "https://adea.example";
        let may = |target: &str| own_path(BASE, target).map(is_own_page);
        for page in [
            "/",
            "/?a=/b",
            "/_utils",
            "/_utils/index.html?x=1",
            "/_docs",
            "/_auth/pages/link?x=../../shop",
            "https://adea.example",
            "https://adea.example/?x",
            "https://ADEA.example:443/_docs",
        ] {
            assert_eq!(may(page), Some(true), "{page}");
        }
        for page in [
            "/shop/_design/x/_show/y",
            "/shop",
            "//evil.example/_docs",
            "/_utils/../shop/_design/x/_show/y",
            "/_utils/%2e%2e/shop/_design/x/_show/y",
            "/_utilsx",
            "/_auth/oidc/one/callback",
            "/_docs/..",
            "https://adea.example/shop/_design/x/_show/y",
            "https://Adea.example:443/shop/_design/x/_show/y",
            "https://adea.example//shop",
        ] {
            assert_eq!(may(page), Some(false), "{page}");
        }
        for page in [
            "https://app.example/shop",
            "https://adea.example.evil/",
            "x",
            "",
        ] {
            assert_eq!(may(page), None, "{page}");
        }
        let below = |target| own_path("https://x.example/adea/", target).map(is_own_page);
        assert_eq!(below("https://x.example/adea/_docs"), Some(true));
        assert_eq!(below("https://x.example/adea/shop"), Some(false));
        assert_eq!(below("https://x.example/front"), None);
    }

    #[test]
    fn an_origin_is_what_stands_before_the_path() {
        for (url, expected) in [
            ("https://app.example/x?y", "https://app.example"),
            ("https://app.example?y=/", "https://app.example"),
            ("https://app.example:8443", "https://app.example:8443"),
            (
                "https://app.example@evil.example/",
                "https://app.example@evil.example",
            ),
            (
                "https://app.example.evil.example/",
                "https://app.example.evil.example",
            ),
            ("javascript:alert(1)", "javascript:alert(1)"),
        ] {
            assert_eq!(origin_of(url), expected);
        }
    }
}
