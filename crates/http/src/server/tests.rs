//! The server as clients meet it: real sockets, stub handlers.

use super::*;
use crate::body::{Body, BodyError, FeedChunk, FeedSource, frame_chunk};
use crate::cors::ForeignOrigin;
use bytes::Bytes;
use http_body_util::{BodyExt, Empty};
use hyper_util::rt::TokioIo;
use std::task::{Context, Poll};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;

type Chunk = Result<FeedChunk, BodyError>;

/// A feed that a test holds the other end of. Tells when it is dropped by closing that end.
struct TestFeed {
    chunks: mpsc::Receiver<Chunk>,
    shutdown: super::shutdown::Waiting,
}

impl FeedSource for TestFeed {
    fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Option<Chunk>> {
        if self.shutdown.poll(cx).is_ready() {
            return Poll::Ready(None);
        }
        self.chunks.poll_recv(cx)
    }
}

/// Answers by path.
struct Stub {
    shutdown: ShutdownSignal,
    feeds: mpsc::UnboundedSender<mpsc::Sender<Chunk>>,
}

impl Stub {
    fn feed(&self) -> Body {
        let (sender, chunks) = mpsc::channel(8);
        self.feeds.send(sender).unwrap();
        Body::feed(TestFeed {
            chunks,
            shutdown: self.shutdown.waiting(),
        })
    }
}

fn json(body: impl Into<Body>) -> Response {
    http::Response::builder()
        .header("content-type", "application/json")
        .body(body.into())
        .unwrap()
}

fn broken_off() -> Body {
    let (sender, body) = Body::channel(2);
    tokio::spawn(async move {
        sender.send("half".into()).await.unwrap();
        sender.abort("the test wants it");
    });
    body
}

impl Handler for Stub {
    fn handle(
        &self,
        request: Request,
        _: SocketAddr,
    ) -> impl Future<Output = Response> + Send + 'static {
        let path = request.uri().path().to_owned();
        let feed = (path == "/feed").then(|| self.feed());
        let foreign = request.extensions().get::<ForeignOrigin>().is_some();
        async move {
            match path.as_str() {
                "/small" => json("{\"ok\":true}\n"),
                "/big" => json("{\"n\":1}\n".repeat(1_000)),
                "/foreign" => json(if foreign { "foreign" } else { "own" }),
                "/panic" => panic!("the test wants it"),
                "/panic-later" => {
                    tokio::task::yield_now().await;
                    panic!("the test wants it")
                }
                "/feed" => json(feed.unwrap_or_default()),
                "/broken" => json(broken_off()),
                "/never" => std::future::pending().await,
                "/echo" => json(request.into_body().collect().await.unwrap().to_bytes()),
                "/too-large" => {
                    let mut response = json("{\"error\":\"too_large\"}\n");
                    *response.status_mut() = http::StatusCode::PAYLOAD_TOO_LARGE;
                    response
                }
                _ => panic!("no such path"),
            }
        }
    }
}

struct Running {
    address: SocketAddr,
    metrics: Metrics,
    feeds: mpsc::UnboundedReceiver<mpsc::Sender<Chunk>>,
    stop: oneshot::Sender<()>,
    served: JoinHandle<io::Result<()>>,
}

async fn start(options: HttpOptions) -> Running {
    let (feeds_in, feeds) = mpsc::unbounded_channel();
    let shutdown = ShutdownSignal::new();
    let stub = Stub {
        shutdown: shutdown.clone(),
        feeds: feeds_in,
    };
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let metrics = Metrics::new();
    let mut server = Server::new(stub, options, metrics.clone(), shutdown);
    server.drain_time = Duration::from_millis(200);
    let (stop, stopped) = oneshot::channel();
    let served = tokio::spawn(server.serve(listener, async move {
        drop(stopped.await);
    }));
    Running {
        address,
        metrics,
        feeds,
        stop,
        served,
    }
}

impl Running {
    async fn connect(&self) -> TcpStream {
        TcpStream::connect(self.address).await.unwrap()
    }

    /// Sends `request` and reads until the server closes.
    async fn ask(&self, request: &str) -> String {
        let mut stream = self.connect().await;
        stream.write_all(request.as_bytes()).await.unwrap();
        read_all(&mut stream).await
    }

    async fn feed(&mut self) -> mpsc::Sender<Chunk> {
        self.feeds.recv().await.unwrap()
    }
}

async fn read_all(stream: &mut TcpStream) -> String {
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await.unwrap();
    String::from_utf8(answer).unwrap()
}

async fn read_until(stream: &mut TcpStream, end: &str) -> String {
    let mut answer = String::new();
    while !answer.ends_with(end) {
        let byte = stream.read_u8().await.unwrap_or_else(|error| {
            panic!("{error} after {answer}");
        });
        answer.push(char::from(byte));
    }
    answer
}

fn get(path: &str, headers: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nhost: couch.example\r\nconnection: close\r\n{headers}\r\n")
}

fn keep_alive(method: &str, path: &str) -> String {
    format!("{method} {path} HTTP/1.1\r\nhost: couch.example\r\n\r\n")
}

#[tokio::test]
async fn an_answer_carries_what_all_answers_carry() {
    let server = start(HttpOptions::default()).await;
    let answer = server.ask(&get("/small", "")).await;
    assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");
    for header in [
        "server: CouchDB/3.5.0 (adea/",
        "x-couchdb-body-time: 0\r\n",
        "x-couch-request-id: ",
        "cache-control: must-revalidate\r\n",
        "content-length: 12\r\n",
        "date: ",
    ] {
        assert!(answer.contains(header), "{header} in {answer}");
    }
    assert!(answer.ends_with("\r\n\r\n{\"ok\":true}\n"), "{answer}");
    assert!(!answer.contains("access-control"), "{answer}");
}

#[tokio::test]
async fn a_slow_head_is_cut_at_its_time() {
    let options = HttpOptions {
        header_timeout: Duration::from_millis(100),
        ..HttpOptions::default()
    };
    let server = start(options).await;
    for beginning in ["", "P", "PRI * HTT", "GET /small HTTP/1.1\r\nhost: cou"] {
        let began = Instant::now();
        assert_eq!(server.ask(beginning).await, "", "{beginning}");
        assert!(began.elapsed() >= Duration::from_millis(100), "{beginning}");
    }
}

#[tokio::test]
async fn the_second_head_on_a_connection_has_the_same_time() {
    let options = HttpOptions {
        header_timeout: Duration::from_millis(100),
        ..HttpOptions::default()
    };
    let server = start(options).await;
    let mut stream = server.connect().await;
    stream
        .write_all(keep_alive("GET", "/small").as_bytes())
        .await
        .unwrap();
    read_until(&mut stream, "{\"ok\":true}\n").await;
    stream.write_all(b"GET /sm").await.unwrap();
    assert_eq!(read_all(&mut stream).await, "");
}

#[tokio::test]
async fn an_idle_connection_has_longer_than_a_slow_head() {
    let options = HttpOptions {
        header_timeout: Duration::from_millis(50),
        idle_timeout: Duration::from_millis(300),
        ..HttpOptions::default()
    };
    let server = start(options).await;
    let mut stream = server.connect().await;
    stream
        .write_all(keep_alive("GET", "/small").as_bytes())
        .await
        .unwrap();
    read_until(&mut stream, "{\"ok\":true}\n").await;
    let began = Instant::now();
    assert_eq!(read_all(&mut stream).await, "");
    assert!(
        began.elapsed() >= Duration::from_millis(250),
        "{:?}",
        began.elapsed()
    );
}

#[tokio::test]
async fn a_hundred_megabytes_of_headers_are_refused_early() {
    let server = start(HttpOptions::default()).await;
    let (mut reader, mut writer) = server.connect().await.into_split();
    let flood = tokio::spawn(async move {
        writer.write_all(b"GET /small HTTP/1.1\r\n").await?;
        let line = format!("x: {}\r\n", "y".repeat(9_995));
        for _ in 0..10_000 {
            writer.write_all(line.as_bytes()).await?;
        }
        Ok::<(), io::Error>(())
    });
    let mut answer = [0; 12];
    reader.read_exact(&mut answer).await.unwrap();
    assert_eq!(&answer, b"HTTP/1.1 431");
    // The server stops listening long before the end.
    assert!(flood.await.unwrap().is_err());
}

#[tokio::test]
async fn too_many_headers_are_refused() {
    let server = start(HttpOptions::default()).await;
    let answer = server.ask(&get("/small", &"a: b\r\n".repeat(1_000))).await;
    assert!(answer.starts_with("HTTP/1.1 431 "), "{answer}");
}

#[tokio::test]
async fn what_is_not_http_is_refused() {
    let server = start(HttpOptions::default()).await;
    let answer = server.ask("\u{1}\u{2}\u{3} hello\r\n\r\n").await;
    assert!(answer.starts_with("HTTP/1.1 400 "), "{answer}");
}

#[tokio::test]
async fn a_client_that_still_sends_reads_why_it_is_refused() {
    let server = start(HttpOptions::default()).await;
    let mut stream = server.connect().await;
    let length = 2_000_000;
    let head = format!("PUT /too-large HTTP/1.1\r\nhost: a\r\ncontent-length: {length}\r\n\r\n");
    stream.write_all(head.as_bytes()).await.unwrap();
    stream.write_all(&vec![b'x'; length]).await.unwrap();
    let answer = read_all(&mut stream).await;
    assert!(answer.starts_with("HTTP/1.1 413 "), "{answer}");
    assert!(answer.ends_with("{\"error\":\"too_large\"}\n"), "{answer}");
}

#[tokio::test]
async fn pipelined_requests_are_answered_in_order() {
    let server = start(HttpOptions::default()).await;
    let requests = [
        keep_alive("GET", "/small"),
        keep_alive("HEAD", "/big"),
        get("/foreign", ""),
    ];
    let answer = server.ask(&requests.concat()).await;
    let parts: Vec<&str> = answer.split("HTTP/1.1 200 OK\r\n").collect();
    assert_eq!(parts.len(), 4, "{answer}");
    assert!(parts[1].ends_with("{\"ok\":true}\n"), "{answer}");
    assert!(parts[2].contains("content-length: 8000\r\n"), "{answer}");
    assert!(parts[2].ends_with("\r\n\r\n"), "{answer}");
    assert!(parts[3].ends_with("\r\n\r\nown"), "{answer}");
}

#[tokio::test]
async fn a_panic_is_a_500_and_the_connection_lives_on() {
    let server = start(HttpOptions::default()).await;
    let requests = [
        keep_alive("GET", "/panic"),
        keep_alive("GET", "/panic-later"),
        get("/small", ""),
    ];
    let answer = server.ask(&requests.concat()).await;
    assert_eq!(answer.matches("HTTP/1.1 500 ").count(), 2, "{answer}");
    assert_eq!(
        answer
            .matches("\"error\":\"internal_server_error\"")
            .count(),
        2,
        "{answer}"
    );
    assert!(answer.ends_with("{\"ok\":true}\n"), "{answer}");
    assert!(
        server
            .metrics
            .render()
            .contains("adea_http_panics_total 2\n")
    );
}

#[tokio::test]
async fn json_is_compressed_for_those_who_ask() {
    use std::io::Read;
    let server = start(HttpOptions::default()).await;
    let mut stream = server.connect().await;
    let request = get("/big", "accept-encoding: deflate, gzip\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let head = read_until(&mut stream, "\r\n\r\n").await;
    assert!(head.contains("content-encoding: gzip\r\n"), "{head}");
    assert!(head.contains("vary: Accept-Encoding\r\n"), "{head}");
    let mut body = Vec::new();
    stream.read_to_end(&mut body).await.unwrap();
    assert!(
        head.contains(&format!("content-length: {}\r\n", body.len())),
        "{head}"
    );
    let mut text = String::new();
    flate2::read::GzDecoder::new(&body[..])
        .read_to_string(&mut text)
        .unwrap();
    assert_eq!(text, "{\"n\":1}\n".repeat(1_000));
    let plain = server.ask(&get("/big", "")).await;
    assert!(plain.contains("content-length: 8000\r\n"), "{plain}");
}

#[tokio::test]
async fn an_answer_that_breaks_off_is_not_ended() {
    let server = start(HttpOptions::default()).await;
    for version in ["1.1", "1.0"] {
        let mut stream = server.connect().await;
        let request = get("/broken", "").replace("HTTP/1.1", &format!("HTTP/{version}"));
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = Vec::new();
        let read = stream.read_to_end(&mut answer).await;
        let answer = String::from_utf8(answer).unwrap();
        // A reset, or at least no final chunk.
        assert!(read.is_err() || version == "1.1", "{version} {answer}");
        assert!(!answer.ends_with("0\r\n\r\n"), "{answer}");
    }
}

#[tokio::test]
async fn a_feed_gets_its_chunks_and_its_end() {
    let mut server = start(HttpOptions::default()).await;
    let mut stream = server.connect().await;
    // After an answer that may still be on its way out.
    let requests = [keep_alive("GET", "/small"), keep_alive("GET", "/feed")];
    stream
        .write_all(requests.concat().as_bytes())
        .await
        .unwrap();
    let feed = server.feed().await;
    read_until(&mut stream, "{\"ok\":true}\n").await;
    let head = read_until(&mut stream, "\r\n\r\n").await;
    assert!(head.starts_with("HTTP/1.1 200 OK\r\n"), "{head}");
    for header in [
        "transfer-encoding: chunked\r\n",
        "x-couch-request-id: ",
        "date: ",
    ] {
        assert!(head.contains(header), "{header} in {head}");
    }
    assert_eq!(server.metrics.open_feeds(), 1);
    feed.send(Ok(FeedChunk::Payload("one\n".into())))
        .await
        .unwrap();
    assert_eq!(read_until(&mut stream, "one\n\r\n").await, "4\r\none\n\r\n");
    feed.send(Ok(FeedChunk::Payload(Bytes::new())))
        .await
        .unwrap();
    feed.send(Ok(FeedChunk::Framed(frame_chunk(b"two\n"))))
        .await
        .unwrap();
    assert_eq!(read_until(&mut stream, "two\n\r\n").await, "4\r\ntwo\n\r\n");
    drop(feed);
    assert_eq!(read_all(&mut stream).await, "0\r\n\r\n");
}

#[tokio::test]
async fn a_feed_that_fails_is_not_ended() {
    let mut server = start(HttpOptions::default()).await;
    let mut stream = server.connect().await;
    stream.write_all(get("/feed", "").as_bytes()).await.unwrap();
    let feed = server.feed().await;
    read_until(&mut stream, "\r\n\r\n").await;
    feed.send(Err(BodyError::new("the test wants it")))
        .await
        .unwrap();
    assert_eq!(read_all(&mut stream).await, "");
}

#[tokio::test]
async fn a_listener_that_goes_away_takes_its_feed_with_it() {
    let mut server = start(HttpOptions::default()).await;
    let mut stream = server.connect().await;
    stream.write_all(get("/feed", "").as_bytes()).await.unwrap();
    let feed = server.feed().await;
    read_until(&mut stream, "\r\n\r\n").await;
    drop(stream);
    feed.closed().await;
}

#[tokio::test]
async fn a_listener_that_reads_nothing_is_cut() {
    let options = HttpOptions {
        idle_timeout: Duration::from_millis(200),
        ..HttpOptions::default()
    };
    let mut server = start(options).await;
    let mut stream = server.connect().await;
    stream.write_all(get("/feed", "").as_bytes()).await.unwrap();
    let feed = server.feed().await;
    let megabyte = Bytes::from(vec![b'x'; 1 << 20]);
    // Until it is dropped.
    while feed
        .send(Ok(FeedChunk::Payload(megabyte.clone())))
        .await
        .is_ok()
    {}
    assert!(feed.is_closed());
}

#[tokio::test]
async fn a_feed_over_http_1_0_is_not_framed() {
    let mut server = start(HttpOptions::default()).await;
    let mut stream = server.connect().await;
    stream
        .write_all(b"GET /feed HTTP/1.0\r\n\r\n")
        .await
        .unwrap();
    let feed = server.feed().await;
    feed.send(Ok(FeedChunk::Framed(frame_chunk(b"one\n"))))
        .await
        .unwrap();
    drop(feed);
    let answer = read_all(&mut stream).await;
    assert!(answer.ends_with("\r\n\r\none\n"), "{answer}");
    assert!(!answer.contains("chunked"), "{answer}");
}

#[tokio::test]
async fn head_of_a_feed_does_not_wait() {
    let server = start(HttpOptions::default()).await;
    let answer = server.ask(&get("/feed", "").replace("GET", "HEAD")).await;
    assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");
    assert!(!answer.contains("content-length"), "{answer}");
    assert!(answer.ends_with("\r\n\r\n"), "{answer}");
}

#[tokio::test]
async fn stopping_ends_feeds_properly_and_lets_requests_be_answered() {
    let mut server = start(HttpOptions::default()).await;
    let mut listener = server.connect().await;
    listener
        .write_all(get("/feed", "").as_bytes())
        .await
        .unwrap();
    let _feed = server.feed().await;
    read_until(&mut listener, "\r\n\r\n").await;
    let mut idle = server.connect().await;
    idle.write_all(keep_alive("GET", "/small").as_bytes())
        .await
        .unwrap();
    read_until(&mut idle, "{\"ok\":true}\n").await;
    let mut uploading = server.connect().await;
    let head = "PUT /echo HTTP/1.1\r\nhost: a\r\ncontent-length: 4\r\n\r\nab";
    uploading.write_all(head.as_bytes()).await.unwrap();
    // Its request has begun when this one, on the same connection's heels, is answered.
    server.ask(&get("/small", "")).await;
    server.stop.send(()).unwrap();
    assert_eq!(read_all(&mut listener).await, "0\r\n\r\n");
    assert_eq!(read_all(&mut idle).await, "");
    uploading.write_all(b"cd").await.unwrap();
    let answer = read_all(&mut uploading).await;
    assert!(answer.ends_with("\r\n\r\nabcd"), "{answer}");
    server.served.await.unwrap().unwrap();
    assert!(TcpStream::connect(server.address).await.is_err());
}

#[tokio::test]
async fn what_does_not_end_is_cut_when_the_time_is_over() {
    let server = start(HttpOptions::default()).await;
    let mut stream = server.connect().await;
    stream
        .write_all(get("/never", "").as_bytes())
        .await
        .unwrap();
    server.ask(&get("/small", "")).await;
    server.stop.send(()).unwrap();
    server.served.await.unwrap().unwrap();
    assert_eq!(read_all(&mut stream).await, "");
}

#[tokio::test]
async fn connections_over_the_limit_wait() {
    let options = HttpOptions {
        connections_max: 1,
        ..HttpOptions::default()
    };
    let server = start(options).await;
    let mut first = server.connect().await;
    first
        .write_all(keep_alive("GET", "/small").as_bytes())
        .await
        .unwrap();
    read_until(&mut first, "{\"ok\":true}\n").await;
    let mut second = server.connect().await;
    second
        .write_all(get("/small", "").as_bytes())
        .await
        .unwrap();
    // The first is served on while the second waits.
    first
        .write_all(keep_alive("GET", "/small").as_bytes())
        .await
        .unwrap();
    read_until(&mut first, "{\"ok\":true}\n").await;
    assert!(
        server
            .metrics
            .render()
            .contains("adea_http_connections 1\n")
    );
    drop(first);
    assert!(read_all(&mut second).await.ends_with("{\"ok\":true}\n"));
}

#[tokio::test]
async fn a_preflight_is_answered_before_the_handler() {
    let server = start(HttpOptions::default()).await;
    let ask = |headers: &'static str| get("/panic", headers).replace("GET", "OPTIONS");
    let answer = server
        .ask(&ask(
            "origin: https://app.example\r\naccess-control-request-method: PUT\r\n",
        ))
        .await;
    assert!(answer.starts_with("HTTP/1.1 204 "), "{answer}");
    assert!(
        answer.contains("access-control-allow-origin: https://app.example\r\n"),
        "{answer}"
    );
    assert!(
        answer.contains("access-control-allow-credentials: true\r\n"),
        "{answer}"
    );
    let answer = server
        .ask(&ask("access-control-request-method: PUT\r\n"))
        .await;
    assert!(answer.starts_with("HTTP/1.1 500 "), "{answer}");
}

#[tokio::test]
async fn an_answer_to_a_page_names_its_origin() {
    let server = start(HttpOptions::default()).await;
    let answer = server
        .ask(&get("/foreign", "origin: https://app.example\r\n"))
        .await;
    assert!(answer.ends_with("\r\n\r\nforeign"), "{answer}");
    assert!(
        answer.contains("access-control-allow-origin: https://app.example\r\n"),
        "{answer}"
    );
    assert!(answer.contains("vary: Origin\r\n"), "{answer}");
    let answer = server
        .ask(&get("/foreign", "origin: http://couch.example\r\n"))
        .await;
    assert!(answer.ends_with("\r\n\r\nown"), "{answer}");
}

type Http2Client = hyper::client::conn::http2::SendRequest<Empty<Bytes>>;

async fn http2(server: &Running) -> Http2Client {
    let stream = TokioIo::new(server.connect().await);
    let (client, connection) = hyper::client::conn::http2::handshake(TokioExecutor::new(), stream)
        .await
        .unwrap();
    tokio::spawn(connection);
    client
}

async fn ask_http2(client: &mut Http2Client, path: &str) -> http::Response<hyper::body::Incoming> {
    let request = http::Request::get(format!("http://couch.example{path}"))
        .body(Empty::new())
        .unwrap();
    client.send_request(request).await.unwrap()
}

#[tokio::test]
async fn http2_works_with_prior_knowledge() {
    let mut server = start(HttpOptions::default()).await;
    let mut client = http2(&server).await;
    let answer = ask_http2(&mut client, "/small").await;
    assert_eq!(answer.version(), http::Version::HTTP_2);
    assert!(answer.headers().contains_key("x-couch-request-id"));
    assert_eq!(
        answer.into_body().collect().await.unwrap().to_bytes(),
        "{\"ok\":true}\n"
    );
    assert_eq!(ask_http2(&mut client, "/panic").await.status(), 500);
    let mut answer = ask_http2(&mut client, "/feed").await;
    let feed = server.feed().await;
    feed.send(Ok(FeedChunk::Framed(frame_chunk(b"one\n"))))
        .await
        .unwrap();
    let frame = answer.body_mut().frame().await.unwrap().unwrap();
    assert_eq!(frame.into_data().unwrap(), "one\n");
    server.stop.send(()).unwrap();
    // To its end, without an error.
    assert_eq!(answer.into_body().collect().await.unwrap().to_bytes(), "");
    server.served.await.unwrap().unwrap();
}

#[tokio::test]
async fn an_idle_http2_connection_is_closed() {
    let options = HttpOptions {
        idle_timeout: Duration::from_millis(100),
        ..HttpOptions::default()
    };
    let server = start(options).await;
    let stream = TokioIo::new(server.connect().await);
    let (mut client, connection) =
        hyper::client::conn::http2::handshake::<_, _, Empty<Bytes>>(TokioExecutor::new(), stream)
            .await
            .unwrap();
    let connection = tokio::spawn(connection);
    let answer = ask_http2(&mut client, "/small").await;
    answer.into_body().collect().await.unwrap();
    // Ends while the client still holds it.
    drop(connection.await.unwrap());
    assert!(client.is_closed());
}
