//! The client against sockets of its own test: what comes back is written byte by byte.

use std::time::Duration;

use bytes::Bytes;
use http::{Request, header};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

use crate::{Body, Client, Credentials, Options, OutboundError};

fn client(proxy: Option<String>) -> Client {
    Client::new(Options {
        connect_timeout: Duration::from_millis(500),
        response_timeout: Duration::from_millis(300),
        idle_timeout: Duration::from_millis(300),
        proxy,
        ..Options::default()
    })
    .unwrap()
}

/// Reads a head, and what came with it.
async fn head(stream: &mut TcpStream) -> String {
    let mut head = Vec::new();
    while !head.windows(4).any(|end| end == b"\r\n\r\n") {
        let mut piece = [0; 1024];
        let length = stream.read(&mut piece).await.unwrap();
        if length == 0 {
            break;
        }
        head.extend_from_slice(&piece[..length]);
    }
    String::from_utf8_lossy(&head).into_owned()
}

/// The heads that came, and the connections, which are open as long as this is there.
type Served = (Vec<String>, Vec<TcpStream>);

/// Answers each connection with the next of `answers`, and tells the heads that came. A connection is
/// held open when its answer is out.
async fn server(answers: Vec<&'static str>) -> (u16, tokio::task::JoinHandle<Served>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let task = tokio::spawn(async move {
        let (mut heads, mut held) = (Vec::new(), Vec::new());
        for answer in answers {
            let (mut stream, _) = listener.accept().await.unwrap();
            if !answer.starts_with("SSH") {
                heads.push(head(&mut stream).await);
            }
            stream.write_all(answer.as_bytes()).await.unwrap();
            if answer.ends_with("[cut]") {
                drop(stream);
            } else {
                held.push(stream);
            }
        }
        (heads, held)
    });
    (port, task)
}

async fn get(client: &Client, url: &str) -> Result<Bytes, OutboundError> {
    let request = Request::get(url).body(Body::empty()).unwrap();
    client.send(request).await?.whole(100).await
}

#[tokio::test]
async fn an_answer_is_read_and_its_connection_kept() {
    let (port, server) = server(vec!["HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok"]).await;
    let client = client(None);
    let url = format!("http://127.0.0.1:{port}/a?b=c");
    assert_eq!(get(&client, &url).await.unwrap(), "ok");
    let (heads, _) = server.await.unwrap();
    assert!(
        heads[0].starts_with("GET /a?b=c HTTP/1.1\r\n"),
        "{}",
        heads[0]
    );
}

#[tokio::test]
async fn what_goes_wrong_is_told_by_its_kind() {
    let check = async |answer: &'static str| {
        let (port, _server) = server(vec![answer]).await;
        get(&client(None), &format!("http://127.0.0.1:{port}/"))
            .await
            .unwrap_err()
    };
    let long = "HTTP/1.1 200 OK\r\ncontent-length: 101\r\n\r\n";
    assert_eq!(check(long).await, OutboundError::TooLarge(100));
    let chunked = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n";
    let chunk = Box::leak(format!("{chunked}65\r\n{}\r\n", "x".repeat(101)).into_boxed_str());
    assert_eq!(check(chunk).await, OutboundError::TooLarge(100));
    assert_eq!(
        check("").await,
        OutboundError::Timeout("before it answered")
    );
    assert_eq!(check(chunked).await, OutboundError::Timeout("in the body"));
    assert!(matches!(
        check("220 ready\r\n\r\n").await,
        OutboundError::Malformed(_)
    ));
    let cut = "HTTP/1.1 200 OK\r\ncontent-length: 50\r\n\r\n[cut]";
    assert_eq!(check(cut).await, OutboundError::Closed);
    let nobody = get(&client(None), "http://127.0.0.1:1/").await.unwrap_err();
    assert!(matches!(nobody, OutboundError::Connect(..)), "{nobody}");
    let nowhere = get(&client(None), "http://nothing.invalid/")
        .await
        .unwrap_err();
    assert_eq!(
        nowhere,
        OutboundError::Resolve("nothing.invalid".to_owned())
    );
}

#[tokio::test]
async fn a_peer_that_speaks_no_tls_is_told() {
    let (port, _server) = server(vec!["SSH-2.0-x\r\n\r\n"]).await;
    let refused = get(&client(None), &format!("https://127.0.0.1:{port}/"))
        .await
        .unwrap_err();
    assert!(matches!(refused, OutboundError::Tls(_)), "{refused:?}");
}

#[tokio::test]
async fn a_body_that_is_given_up_is_never_whole() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let (mut sender, body) = Body::coming(Some(10));
    let request = Request::put(format!("http://127.0.0.1:{port}/"))
        .body(body)
        .unwrap();
    let client = client(None);
    let sending = tokio::spawn(async move { client.send(request).await.map(drop) });
    let (mut stream, _) = listener.accept().await.unwrap();
    sender.send(Bytes::from_static(b"12345")).await.unwrap();
    drop(sender);
    let mut all = Vec::new();
    // Reset or closed: in no case is it as long as was said.
    drop(stream.read_to_end(&mut all).await);
    assert!(!String::from_utf8_lossy(&all).contains("1234567890"));
    assert!(sending.await.unwrap().is_err());
}

#[tokio::test]
async fn a_proxy_gets_plain_requests_whole_and_tunnels_the_others() {
    let (port, proxy) = server(vec![
        "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok",
        "HTTP/1.1 407 Proxy Authentication Required\r\n\r\n",
    ])
    .await;
    let client = client(Some(format!("http://user:secret@127.0.0.1:{port}")));
    assert_eq!(get(&client, "http://db.invalid/x").await.unwrap(), "ok");
    let refused = get(&client, "https://db.invalid/x").await.unwrap_err();
    let OutboundError::Proxy(shown, why) = &refused else {
        panic!("{refused:?}")
    };
    assert!(
        shown.contains("user:*****@") && why.contains("407"),
        "{refused}"
    );
    let (heads, _) = proxy.await.unwrap();
    assert!(
        heads[0].starts_with("GET http://db.invalid/x HTTP/1.1\r\n"),
        "{}",
        heads[0]
    );
    assert!(
        heads[1].starts_with("CONNECT db.invalid:443 HTTP/1.1\r\n"),
        "{}",
        heads[1]
    );
    let named = "proxy-authorization: basic dxnlcjpzzwnyzxq=";
    assert!(
        heads.iter().all(|head| head.to_lowercase().contains(named)),
        "{heads:?}"
    );
    for wrong in ["socks5://h", "https://h", "http://"] {
        assert!(
            Client::new(Options {
                proxy: Some(wrong.to_owned()),
                ..Options::default()
            })
            .is_err()
        );
    }
}

#[tokio::test]
async fn json_is_fetched_over_redirects_without_anybodys_name() {
    let (port, json) = server(vec!["HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}"]).await;
    let redirect = format!("HTTP/1.1 302 Found\r\nlocation: http://127.0.0.1:{port}/keys\r\n\r\n");
    let (first, _server) = server(vec![Box::leak(redirect.into_boxed_str())]).await;
    let client = client(None);
    let url = format!("http://name:secret@127.0.0.1:{first}/");
    assert_eq!(client.fetch_json(&url, 10).await.unwrap(), "{}");
    let (heads, _) = json.await.unwrap();
    let authorization = header::AUTHORIZATION.as_str();
    assert!(heads[0].starts_with("GET /keys ") && !heads[0].contains(authorization));
    let error = client
        .fetch_json("file:///etc/passwd", 10)
        .await
        .unwrap_err();
    assert!(matches!(error, OutboundError::Malformed(_)));
}

#[tokio::test]
async fn a_form_is_sent_with_credentials_and_no_redirect_is_followed() {
    let (port, server) = server(vec![
        "HTTP/1.1 400 Bad Request\r\nconnection: close\r\ncontent-length: 2\r\n\r\n{}",
        "HTTP/1.1 302 Found\r\nlocation: http://127.0.0.1:1/\r\nconnection: close\r\ncontent-length: 0\r\n\r\n",
        "HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 6\r\n\r\n123456",
    ])
    .await;
    let client = client(None);
    let url = format!("http://127.0.0.1:{port}/token");
    let basic = Credentials::Basic("me".to_owned(), "s:ecret".to_owned());
    let form = "a=1&b=2".to_owned();
    let (status, body) = client.post_form(&url, form, &basic, 100).await.unwrap();
    assert_eq!((status.as_u16(), &body[..]), (400, &b"{}"[..]));
    let bearer = Credentials::Bearer("tok".to_owned());
    let (status, _) = client.get_as(&url, &bearer, 100).await.unwrap();
    assert_eq!(status.as_u16(), 302);
    let large = client.get_as(&url, &Credentials::None, 5).await;
    assert_eq!(large.unwrap_err(), OutboundError::TooLarge(5));
    let (heads, _) = server.await.unwrap();
    assert!(
        heads[0].starts_with("POST /token HTTP/1.1\r\n"),
        "{}",
        heads[0]
    );
    assert!(heads[0].contains("content-type: application/x-www-form-urlencoded\r\n"));
    assert!(
        heads[0].contains("authorization: Basic bWU6czplY3JldA==\r\n"),
        "{}",
        heads[0]
    );
    assert!(
        heads[1].contains("authorization: Bearer tok\r\n"),
        "{}",
        heads[1]
    );
    assert!(!heads[2].contains("authorization"));
    let broken = Credentials::Bearer("a\nb".to_owned());
    let answer = client.get_as(&url, &broken, 5).await;
    assert!(matches!(answer, Err(OutboundError::Malformed(_))));
    assert_eq!(format!("{bearer:?}"), "…");
}
