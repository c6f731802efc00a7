//! What a gRPC library never sends, and what it hides: the routes as they are, with bytes.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::http::{Method, Request, StatusCode};
use axum::response::Response;
use prost::Message;
use tonic::Code;
use tonic::codegen::Service as _;

use super::protocol::{EmbedRequest, EmbedResponse, InfoRequest};
use crate::serve::models::ModelSet;
use crate::serve::rest::{self, Service};
use crate::serve::settings::{ModelSetting, Settings};

const EMBED: &str = "/oxembed.v1.Embedding/Embed";
const STREAM: &str = "/oxembed.v1.Embedding/EmbedStream";
const HEALTH: &str = "/grpc.health.v1.Health/Check";

/// All routes over the embedded model.
async fn service(change: impl FnOnce(&mut Settings)) -> (Router, Service) {
    let model = ModelSetting {
        name: "mini".to_owned(),
        aliases: Vec::new(),
        path: PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("models/all-MiniLM-L6-v2"),
    };
    let mut settings = Settings { models: vec![model], provider: "cpu".to_owned(), ..Settings::default() };
    change(&mut settings);
    let settings = Arc::new(settings);
    let models = ModelSet::load(&settings, None).await.unwrap();
    let service = Service::new(settings, Arc::new(models), None);
    (rest::router(service.clone()).merge(super::router(&service).unwrap()), service)
}

/// A message as it is sent: whether it is compressed, its length, its bytes.
fn framed(message: &[u8]) -> Vec<u8> {
    let length = u32::try_from(message.len()).unwrap();
    [&[0], length.to_be_bytes().as_slice(), message].concat()
}

fn asked(path: &str, body: Vec<u8>) -> Request<Body> {
    let request = Request::builder().method(Method::POST).uri(path).header("content-type", "application/grpc");
    request.body(body.into()).unwrap()
}

async fn answer(router: &Router, request: Request<Body>) -> Response {
    router.clone().call(request).await.unwrap()
}

/// The code of an answer that has no message.
fn code(response: &Response) -> Code {
    assert_eq!(response.status(), StatusCode::OK);
    assert_eq!(response.headers()["content-type"], "application/grpc");
    Code::from_bytes(response.headers()["grpc-status"].as_bytes())
}

fn texts(count: usize) -> Vec<u8> {
    let texts = (0..count).map(|number| format!("text number {number} with some more words")).collect();
    framed(&EmbedRequest { texts, ..EmbedRequest::default() }.encode_to_vec())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deadline_ends_the_work() {
    let (router, service) = service(|settings| settings.max_inputs = 20_000).await;
    let mut request = asked(EMBED, texts(20_000));
    request.headers_mut().insert("grpc-timeout", "300m".parse().unwrap());
    let response = answer(&router, request).await;
    assert_eq!(code(&response), Code::DeadlineExceeded);
    let (served, start) = (service.models.get(None).await.unwrap(), Instant::now());
    while served.admission.inside() > 0 || !served.embedder.pool().is_idle() {
        assert!(start.elapsed() < Duration::from_mins(1), "it is worked on although nobody waits");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    // However long that took: the batches that waited were given up. A text has nine tokens or more.
    let tokens = served.embedder.stages().tokens;
    assert!(tokens < 20_000 * 9, "{tokens} tokens were computed although nobody waits");
    for wrong in ["1", "soon", "-1S", "123456789S"] {
        let mut request = asked(EMBED, texts(1));
        request.headers_mut().insert("grpc-timeout", wrong.parse().unwrap());
        assert_eq!(code(&answer(&router, request).await), Code::InvalidArgument, "{wrong}");
    }
    let mut request = asked(EMBED, texts(1));
    request.headers_mut().insert("grpc-timeout", "99999999H".parse().unwrap());
    let body = to_bytes(answer(&router, request).await.into_body(), usize::MAX).await.unwrap();
    let found = EmbedResponse::decode(&body[5..]).unwrap();
    assert_eq!((found.values.len(), found.dimension), (384, 384));
}

#[tokio::test(flavor = "multi_thread")]
async fn garbage_is_the_clients_fault() {
    let (router, _) = service(|settings| settings.max_body_bytes = 1000).await;
    let info = framed(&InfoRequest::default().encode_to_vec());
    let not_utf8 = framed(&[0x12, 2, 0xff, 0xfe]);
    for (name, body, expected) in [
        ("nothing", Vec::new(), Code::InvalidArgument),
        ("half a head", vec![0, 0], Code::InvalidArgument),
        ("half a message", texts(1)[..10].to_vec(), Code::InvalidArgument),
        ("no message of protobuf", framed(&[0xff; 20]), Code::InvalidArgument),
        ("a string that is no UTF-8", not_utf8, Code::InvalidArgument),
        ("an unknown flag", vec![7, 0, 0, 0, 0], Code::InvalidArgument),
        ("compressed with nothing", vec![1, 0, 0, 0, 0], Code::InvalidArgument),
        ("a message of 4 GiB", vec![0, 0xff, 0xff, 0xff, 0xff], Code::ResourceExhausted),
        ("a message over the limit", texts(100), Code::ResourceExhausted),
        ("a message of another method", info, Code::InvalidArgument),
    ] {
        let response = answer(&router, asked(EMBED, body)).await;
        assert_eq!(code(&response), expected, "{name}");
        assert!(!response.headers()["grpc-message"].is_empty(), "{name}");
    }
    let mut compressed = asked(EMBED, texts(1));
    compressed.headers_mut().insert("grpc-encoding", "gzip".parse().unwrap());
    assert_eq!(code(&answer(&router, compressed).await), Code::Unimplemented);
}

#[tokio::test(flavor = "multi_thread")]
async fn garbage_ends_a_stream() {
    let (router, _) = service(|_| {}).await;
    let response = answer(&router, asked(STREAM, framed(&[0xff; 20]))).await;
    let body = http_body_util::BodyExt::collect(response.into_body()).await.unwrap();
    let status = body.trailers().unwrap()["grpc-status"].clone();
    assert_eq!((Code::from_bytes(status.as_bytes()), body.to_bytes().len()), (Code::InvalidArgument, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_open_all_but_health() {
    let (router, _) = service(|settings| settings.api_keys = vec!["secret".to_owned()]).await;
    for path in [EMBED, STREAM, "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo"] {
        assert_eq!(code(&answer(&router, asked(path, texts(1))).await), Code::Unauthenticated, "{path}");
    }
    let mut request = asked(EMBED, texts(1));
    request.headers_mut().insert("authorization", "Bearer secret".parse().unwrap());
    assert!(!answer(&router, request).await.headers().contains_key("grpc-status"));
    assert!(!answer(&router, asked(HEALTH, framed(&[]))).await.headers().contains_key("grpc-status"));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_grpc_is_told_so() {
    let (router, _) = service(|_| {}).await;
    let plain = Request::get(EMBED).body(Body::empty()).unwrap();
    assert_eq!(answer(&router, plain).await.status(), StatusCode::UNSUPPORTED_MEDIA_TYPE);
    for kind in ["application/json", "application/grpc-web", "application/grpcx"] {
        let mut request = asked(EMBED, texts(1));
        request.headers_mut().insert("content-type", kind.parse().unwrap());
        assert_eq!(answer(&router, request).await.status(), StatusCode::UNSUPPORTED_MEDIA_TYPE, "{kind}");
    }
    for kind in ["application/grpc", "application/grpc+proto", "application/grpc;charset=utf-8"] {
        let mut request = asked("/oxembed.v2.Embedding/Embed", texts(1));
        request.headers_mut().insert("content-type", kind.parse().unwrap());
        assert_eq!(code(&answer(&router, request).await), Code::Unimplemented, "{kind}");
    }
    let rest = Request::get("/nowhere").body(Body::empty()).unwrap();
    assert_eq!(answer(&router, rest).await.status(), StatusCode::NOT_FOUND);
}
