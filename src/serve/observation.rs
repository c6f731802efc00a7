//! What is kept of a request besides its answer: an id, a line in the log, counts, a trace. Never a text, a token or a key.

use std::hash::{BuildHasher as _, Hasher as _, RandomState};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, LazyLock, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use axum::extract::{MatchedPath, Request, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method};
use axum::middleware::Next;
use axum::response::Response;
use opentelemetry::{Context, KeyValue};

use super::failure::{Failure, Kind};
use super::metrics::{Metrics, Outcome};
use super::traces::{TracedRequest, TracedStage, Traces};
use crate::options::Usage;

/// The header with a request's id, in the question and in the answer.
const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
/// The longest id that is taken over from a client.
const LONGEST_ID: usize = 128;
/// Asked every few seconds by whoever watches the service: not worth a line each where all is well.
const WATCHED: [&str; 4] = ["/live", "/ready", "/health", "/metrics"];

tokio::task_local! {
    /// Those of the request that a task answers.
    static FACTS: Arc<Mutex<Facts>>;
    /// Where the request that a task answers comes from.
    static ORIGIN: Origin;
}

/// What a client says of a request beside what it asks for.
#[derive(Debug, Clone)]
pub(crate) struct Origin {
    id: HeaderValue,
    /// The client's own trace.
    parent: Context,
}

/// That of the request that this task answers.
pub(crate) fn origin() -> Option<Origin> {
    ORIGIN.try_with(Origin::clone).ok()
}

/// What is known of a request when it is answered.
#[derive(Debug, Default)]
struct Facts {
    model: Option<String>,
    inputs: usize,
    tokens: usize,
    stages: Vec<TracedStage>,
}

/// The request that this task answers has inputs for a model.
pub(crate) fn asked(model: &str, inputs: usize) {
    note(|facts| {
        facts.model = Some(model.to_owned());
        facts.inputs += inputs;
    });
}

/// The inputs of the request that this task answers were embedded, just now.
pub(crate) fn embedded(usage: &Usage) {
    note(|facts| {
        facts.tokens += usage.total_tokens;
        let mut started = SystemTime::now().checked_sub(usage.duration).unwrap_or(SystemTime::UNIX_EPOCH);
        for (name, duration) in stages(usage) {
            facts.stages.push(TracedStage { name, started, duration });
            started += duration;
        }
    });
}

/// What the time of a call went into. A call of several batches may wait between them: it is told as one stretch.
pub(crate) fn stages(usage: &Usage) -> [(&'static str, Duration); 3] {
    let run = usage.duration.saturating_sub(usage.preparation + usage.waiting);
    [("tokenize", usage.preparation), ("queue", usage.waiting), ("run", run)]
}

fn note(change: impl FnOnce(&mut Facts)) {
    // A call that belongs to no request, such as the one that tries a new model, has nobody to tell.
    let _ = FACTS.try_with(|facts| change(&mut facts.lock().unwrap_or_else(PoisonError::into_inner)));
}

/// Who is told of each request.
#[derive(Debug)]
pub(crate) struct Observer {
    pub metrics: Arc<Metrics>,
    pub traces: Option<Traces>,
}

/// Around every route: gives the request an id, lets it be answered, and tells the observer.
pub(crate) async fn observe(State(observer): State<Arc<Observer>>, request: Request, next: Next) -> Response {
    let parent = observer.traces.as_ref().map(|_| Traces::parent(request.headers())).unwrap_or_default();
    let origin = Origin { id: id(request.headers()), parent };
    let running = Running::start(observer, origin.clone(), method(request.method()), route(&request));
    let facts = Arc::clone(&running.facts);
    let response = ORIGIN.scope(origin, FACTS.scope(facts, next.run(request))).await;
    running.answered(response)
}

/// Around a request that is one of many of a stream, which is a request itself: observed as one that comes alone, by
/// `route` and with the id and the trace of the stream.
pub(crate) async fn observe_message<Answer>(
    observer: Arc<Observer>,
    origin: Option<Origin>,
    route: &str,
    work: impl Future<Output = Result<Answer, Failure>>,
) -> Result<Answer, Failure> {
    let origin = origin.unwrap_or_else(|| Origin { id: new_id(), parent: Context::default() });
    let mut running = Running::start(observer, origin, "POST", route.to_owned());
    let answer = FACTS.scope(Arc::clone(&running.facts), work).await;
    running.is_answered = true;
    let failed = answer
        .as_ref()
        .err()
        .map(|failure| Failed { kind: failure.kind.name(), is_ours: failure.status.is_server_error() });
    running.tell(Some(200), failed);
    answer
}

/// What a request that failed is counted as.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Failed {
    kind: &'static str,
    /// Whether it is the service that failed, and not what was asked of it.
    is_ours: bool,
}

/// A request that is being answered; dropped before it is where the client has left.
#[derive(Debug)]
struct Running {
    observer: Arc<Observer>,
    facts: Arc<Mutex<Facts>>,
    origin: Origin,
    method: &'static str,
    route: String,
    started: SystemTime,
    clock: Instant,
    is_answered: bool,
}

impl Running {
    fn start(observer: Arc<Observer>, origin: Origin, method: &'static str, route: String) -> Self {
        observer.metrics.in_flight.inc();
        Self {
            observer,
            facts: Arc::default(),
            origin,
            method,
            route,
            started: SystemTime::now(),
            clock: Instant::now(),
            is_answered: false,
        }
    }

    fn answered(mut self, mut response: Response) -> Response {
        self.is_answered = true;
        let status = response.status().as_u16();
        self.tell(Some(status), failure(&response));
        response.headers_mut().insert(REQUEST_ID, self.origin.id.clone());
        response
    }

    /// `status` is none for a client that has left.
    fn tell(&self, status: Option<u16>, failed: Option<Failed>) {
        let elapsed = self.clock.elapsed();
        let failure = failed.map(|failed| failed.kind);
        let facts = std::mem::take(&mut *self.facts.lock().unwrap_or_else(PoisonError::into_inner));
        let outcome = Outcome { method: self.method, route: &self.route, status, failure, elapsed };
        self.observer.metrics.request(&outcome);
        self.log(&outcome, &facts);
        if let Some(traces) = &self.observer.traces {
            let is_ours = failed.is_some_and(|failed| failed.is_ours);
            traces.request(self.traced(&outcome, facts, is_ours));
        }
    }

    fn log(&self, outcome: &Outcome<'_>, facts: &Facts) {
        macro_rules! told {
            ($level:ident) => {
                tracing::$level!(
                    target: "oxembed::requests",
                    id = self.origin.id.to_str().unwrap_or_default(),
                    method = self.method,
                    route = self.route,
                    status = outcome.status,
                    milliseconds = (outcome.elapsed.as_secs_f64() * 1e6).round() / 1e3,
                    model = facts.model.as_deref(),
                    inputs = facts.model.as_ref().map(|_| facts.inputs),
                    tokens = facts.model.as_ref().map(|_| facts.tokens),
                    failure = outcome.failure,
                    "request"
                )
            };
        }
        if outcome.failure.is_none() && WATCHED.contains(&self.route.as_str()) { told!(debug) } else { told!(info) }
    }

    fn traced(&self, outcome: &Outcome<'_>, facts: Facts, is_ours: bool) -> TracedRequest {
        let mut attributes = vec![
            KeyValue::new("http.request.method", self.method),
            KeyValue::new("http.route", self.route.clone()),
            KeyValue::new("oxembed.request_id", self.origin.id.to_str().unwrap_or_default().to_owned()),
        ];
        attributes.extend(outcome.status.map(|status| KeyValue::new("http.response.status_code", i64::from(status))));
        attributes.extend(outcome.failure.map(|failure| KeyValue::new("error.type", failure)));
        if let Some(model) = facts.model {
            attributes.push(KeyValue::new("oxembed.model", model));
            attributes.push(KeyValue::new("oxembed.inputs", i64::try_from(facts.inputs).unwrap_or(i64::MAX)));
            attributes.push(KeyValue::new("oxembed.tokens", i64::try_from(facts.tokens).unwrap_or(i64::MAX)));
        }
        TracedRequest {
            name: format!("{} {}", self.method, self.route),
            parent: self.origin.parent.clone(),
            started: self.started,
            attributes,
            failure: outcome.failure.filter(|_| is_ours),
            stages: facts.stages,
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if !self.is_answered {
            self.tell(None, Some(Failed { kind: "left", is_ours: false }));
        }
        self.observer.metrics.in_flight.dec();
    }
}

/// The client's own id where it is one that can stand in a log, else a new one.
fn id(headers: &HeaderMap) -> HeaderValue {
    let given = headers
        .get(REQUEST_ID)
        .filter(|id| (1..=LONGEST_ID).contains(&id.len()) && id.as_bytes().iter().all(u8::is_ascii_graphic));
    given.cloned().unwrap_or_else(new_id)
}

/// Another one each time, in this process and in all others.
fn new_id() -> HeaderValue {
    static PROCESS: LazyLock<u64> = LazyLock::new(|| RandomState::new().build_hasher().finish());
    static NEXT: AtomicU64 = AtomicU64::new(0);
    let id = format!("{:016x}-{:x}", *PROCESS, NEXT.fetch_add(1, Ordering::Relaxed));
    HeaderValue::try_from(id).unwrap_or_else(|_| HeaderValue::from_static("-"))
}

/// By name where it is one of HTTP's: a client can make up others without end.
fn method(method: &Method) -> &'static str {
    const KNOWN: [&str; 8] = ["GET", "POST", "PUT", "DELETE", "HEAD", "OPTIONS", "PATCH", "TRACE"];
    KNOWN.into_iter().find(|known| *known == method.as_str()).unwrap_or("other")
}

/// Methods of the gRPC services, each of which is one route of all that lies below its name.
const METHODS: [&str; 8] =
    ["Embed", "EmbedStream", "Tokenize", "Info", "Check", "Watch", "List", "ServerReflectionInfo"];

/// The route's pattern: the path itself is the client's, who may write there what should not be kept.
fn route(request: &Request) -> String {
    let matched = request.extensions().get::<MatchedPath>().map_or("none", MatchedPath::as_str);
    let method = matched.strip_suffix("{*rest}").and_then(|service| {
        let method = request.uri().path().strip_prefix(service)?;
        METHODS.contains(&method).then(|| format!("{service}{method}"))
    });
    method.unwrap_or_else(|| matched.replace("{*", "{"))
}

/// How a request failed: as its route says, else as gRPC or HTTP say.
fn failure(response: &Response) -> Option<Failed> {
    let status = response.status();
    if let Some(kind) = response.extensions().get::<Kind>() {
        return Some(Failed { kind: kind.name(), is_ours: status.is_server_error() });
    }
    let code = response.headers().get("grpc-status").and_then(|code| code.to_str().ok());
    let kind = match (code, status.as_u16()) {
        (Some("0"), _) => return None,
        (Some("5"), _) => Kind::UnknownModel,
        (Some("7" | "16"), _) | (_, 401 | 403) => Kind::Unauthorized,
        (Some("8"), _) | (_, 429) => Kind::Overloaded,
        (Some("4"), _) | (_, 408 | 504) => Kind::TimedOut,
        (Some("13" | "14" | "15" | "2"), _) | (_, 500..) => Kind::Backend,
        (Some(_), _) | (_, 400..) => Kind::Invalid,
        _ => return None,
    };
    // OpenTelemetry's "Semantic conventions for gRPC spans": these codes, of a server, are errors.
    let is_ours = matches!(code, Some("2" | "4" | "12" | "13" | "14" | "15")) || status.is_server_error();
    Some(Failed { kind: kind.name(), is_ours })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn taken(given: &str) -> bool {
        let mut headers = HeaderMap::new();
        headers.insert(REQUEST_ID, HeaderValue::from_bytes(given.as_bytes()).unwrap());
        id(&headers) == given
    }

    #[test]
    fn ids_of_clients_are_kept_where_they_are_harmless() {
        assert!(taken("a-1") && taken(&"x".repeat(128)));
        assert!(!taken("") && !taken("a b") && !taken("é") && !taken("a\tb") && !taken(&"x".repeat(129)));
    }

    #[test]
    fn new_ids_differ() {
        let ids: std::collections::HashSet<_> = (0..1000).map(|_| new_id()).collect();
        assert_eq!(ids.len(), 1000);
    }

    #[test]
    fn every_method_of_the_proto_is_known() {
        let proto = include_str!("../../proto/oxembed.proto");
        let methods = proto.lines().filter_map(|line| line.trim().strip_prefix("rpc ")?.split_once('('));
        let methods: Vec<&str> = methods.map(|(method, _)| method).collect();
        assert!(methods.len() >= 4 && methods.iter().all(|method| METHODS.contains(method)), "{methods:?}");
    }

    #[test]
    fn what_failed_is_told_by_status() {
        let failed = |status: u16, grpc: Option<&'static str>| {
            let mut response = Response::new(axum::body::Body::empty());
            *response.status_mut() = status.try_into().unwrap();
            grpc.map(|code| response.headers_mut().insert("grpc-status", HeaderValue::from_static(code)));
            failure(&response).map(|failed| (failed.kind, failed.is_ours))
        };
        for (status, code, expected) in [
            (200, "0", None),
            (404, "3", Some(("invalid", false))),
            (429, "8", Some(("overloaded", false))),
            (504, "4", Some(("timed_out", true))),
            (503, "13", Some(("backend", true))),
        ] {
            assert_eq!((failed(status, None), failed(200, Some(code))), (expected, expected), "{status}");
        }
    }

    #[test]
    fn stages_fill_the_time_of_a_call() {
        let millis = Duration::from_millis;
        let usage = Usage { duration: millis(10), preparation: millis(2), waiting: millis(3), ..Usage::default() };
        assert_eq!(stages(&usage), [("tokenize", millis(2)), ("queue", millis(3)), ("run", millis(5))]);
    }
}
