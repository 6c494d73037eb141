//! Mail that is captured: every kind, what cannot be made, and where links lead.

use adea_mail::queue::Listed;
use adea_mail::templates::Which;
use adea_mail::{Kind, Language, Outgoing, Template, enqueue};
use serde_json::{Value, json};

use super::*;
use crate::apps::Actor;
use crate::write_user::tests::pod;

fn outgoing(kind: Kind, language: &str, data: Value) -> Outgoing {
    Outgoing {
        kind,
        to: "ann@example.org".to_owned(),
        language: language.to_owned(),
        app: String::new(),
        data,
    }
}

fn somebody() -> Actor {
    Actor::of(&adea_base::Caller::named("root", Vec::new()), None)
}

async fn queue(pod: &Pod, mail: Outgoing) {
    let (entropy, now_ms) = (pod.entropy().clone(), pod.clock().now_unix_ms());
    let queued = pod.transact_mail(move |tx| {
        enqueue(tx, &entropy, now_ms, &mail);
        Ok(())
    });
    queued.await.unwrap();
}

#[tokio::test]
async fn every_kind_is_captured_with_its_link() {
    let pod = pod().await;
    for kind in Kind::ALL {
        for language in ["de-AT", "en"] {
            queue(&pod, outgoing(kind, language, kind.sample())).await;
            let captured = pod.captured_mail().await.unwrap();
            assert_eq!(captured[0].kind, kind);
            let link = kind.sample().get("link").cloned();
            let found = captured[0].links.first().map(|link| json!(link));
            assert_eq!(found, link, "{}", kind.name());
        }
    }
    assert_eq!(pod.captured_mail().await.unwrap().len(), 24);
    pod.clear_captured_mail(&somebody()).await.unwrap();
    assert_eq!(pod.captured_mail().await.unwrap(), []);
}

#[tokio::test]
async fn a_mail_that_cannot_be_made_is_given_up_and_says_why_without_its_data() {
    let pod = pod().await;
    queue(
        &pod,
        outgoing(Kind::Recover, "en", json!({"link": "https://hush"})),
    )
    .await;
    let injected = Outgoing {
        to: "ann@example.org\r\nBcc: bob@example.org".to_owned(),
        ..outgoing(Kind::Test, "en", Value::Null)
    };
    queue(&pod, injected).await;
    assert_eq!(pod.captured_mail().await.unwrap(), []);
    let page = pod.mail_queue(Listed::Failed, None, 10).unwrap();
    let mut told: Vec<String> = page.items.into_iter().filter_map(|one| one.error).collect();
    told.sort();
    assert!(told[0].contains("address is none"), "{told:?}");
    assert!(
        told[1].contains("there is no minutes") && !told[1].contains("hush"),
        "{told:?}"
    );
}

#[tokio::test]
async fn words_that_do_not_fit_a_mail_are_passed_over() {
    let pod = pod().await;
    let which = Which {
        kind: Kind::Invitation,
        app: String::new(),
        language: Language::default(),
    };
    let template = Template {
        subject: "{{ days // 1 }}".to_owned(),
        text: "own".to_owned(),
        html: String::new(),
    };
    pod.put_mail_template(which, template, &somebody())
        .await
        .unwrap();
    let mut data = Kind::Invitation.sample();
    queue(&pod, outgoing(Kind::Invitation, "en", data.clone())).await;
    data["days"] = json!("seven");
    queue(&pod, outgoing(Kind::Invitation, "en", data)).await;
    let captured = pod.captured_mail().await.unwrap();
    let mut texts: Vec<&str> = captured.iter().map(|one| one.words.text.as_str()).collect();
    texts.sort_unstable();
    assert!(
        texts[0].starts_with("Hello") && texts[1] == "own",
        "{texts:?}"
    );
}

#[tokio::test]
async fn links_lead_only_where_they_are_set_to_lead() {
    let pod = pod().await;
    let link = |app| pod.link(LinkKind::Recover, app, "s-1_x");
    pod.change_auth(|auth| auth.accounts.mail.own_url = "http://127.0.0.1:1".to_owned());
    assert_eq!(link(""), "http://127.0.0.1:1/_auth/pages/reset#token=s-1_x");
    pod.change_auth(|auth| auth.accounts.public_url = Some("https://x.example".to_owned()));
    assert_eq!(
        link("shop"),
        "https://x.example/_auth/pages/reset#token=s-1_x&app=shop"
    );
    pod.change_auth(|auth| {
        auth.accounts.mail.links.recover = LinkTemplate::parse("https://y.example/?t={token}");
    });
    assert_eq!(link("a&b#"), "https://y.example/?t=s-1_x");
    assert_eq!(
        pod.link(LinkKind::SignIn, "", "x"),
        "https://x.example/_auth/pages/link#token=x"
    );
}
