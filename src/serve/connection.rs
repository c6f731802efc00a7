//! Sockets: who may connect for how long, HTTP/1 and HTTP/2 told apart, and an end that lets requests finish.

use std::convert::Infallible;
use std::error::Error as _;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use hyper::body::Incoming;
use hyper::server::conn::{http1, http2};
use hyper::service::Service;
use hyper::{Request, Response};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::Semaphore;
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;

use super::draining::Draining;
use super::failure::ServeError;
use super::metrics::Metrics;
use super::patience::{Activity, Connection, Impatience, RunningBody, Watched, drive};
use super::peer::WithPeer;
use super::rest;
use super::settings::Settings;
use super::tls::{self, Tls};

/// What a client says first that speaks HTTP/2 without being asked.
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
/// Requests of one HTTP/2 connection at a time.
const STREAMS: u32 = 256;
/// Streams that a client may have taken back before they were looked at ("rapid reset"), and that we have refused for what
/// they did wrong. With one more the connection is over.
const TAKEN_BACK: usize = 20;
const REFUSED: usize = 1024;
/// Most bytes of a request's head, most of its fields: 431 beyond.
const HEAD_BYTES: u32 = 32 << 10;
const HEAD_FIELDS: usize = 100;
/// Most bytes that wait in the socket's buffers of one connection. Also most of a head that is not at its end.
const BUFFER: usize = 64 << 10;
/// Room for what is sent and not taken yet, of one connection. The system says that there is room again when a third of it
/// is, so with megabytes, which it takes by itself, a slow reader would seem to read nothing for long.
const SEND_BUFFER: u32 = 256 << 10;
/// Connections that wait to be accepted.
const BACKLOG: u32 = 1024;
/// How often a silent HTTP/2 client is asked whether it is still there.
const PING: Duration = Duration::from_secs(20);
/// How long to wait where the system refuses a socket, for want of file descriptors mostly.
const PAUSE: Duration = Duration::from_millis(50);

/// An address that is listened to.
pub(crate) struct Listener {
    socket: TcpListener,
    address: SocketAddr,
    settings: Arc<Settings>,
}

impl Listener {
    /// Takes the address, so that it is known to be free.
    ///
    /// # Errors
    /// [`ServeError::Address`].
    pub fn bind(settings: &Arc<Settings>) -> Result<Self, ServeError> {
        let address = SocketAddr::new(settings.host, settings.port);
        let failed = |source| ServeError::Address { address, source };
        let socket = listen(address).map_err(failed)?;
        let address = socket.local_addr().map_err(failed)?;
        Ok(Self { socket, address, settings: Arc::clone(settings) })
    }

    /// The address, with the port that was chosen.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Answers until the process is told to stop, then lets what runs come to its end.
    ///
    /// # Errors
    /// [`ServeError::Runtime`] where signals cannot be listened to.
    pub async fn serve(self, router: Router, tls: Option<Tls>, service: &rest::Service) -> Result<(), ServeError> {
        let Self { socket, settings, .. } = self;
        let tls = tls.map(Arc::new);
        let _rereading = tls.as_ref().map(tls::reread_when_told).transpose()?;
        let room = Arc::new(Semaphore::new(settings.max_connections));
        let mut stop = std::pin::pin!(told_to_stop()?);
        loop {
            let permit = tokio::select! {
                // Never closed, so it is always granted in the end.
                permit = Arc::clone(&room).acquire_owned() => permit.ok(),
                () = &mut stop => break,
            };
            let stream = tokio::select! {
                accepted = socket.accept() => accepted,
                () = &mut stop => break,
            };
            let stream = match stream {
                Ok((stream, _)) => stream,
                Err(error) => {
                    tracing::warn!(%error, "a connection could not be accepted");
                    tokio::time::sleep(PAUSE).await;
                    continue;
                }
            };
            let (router, settings, draining) = (router.clone(), Arc::clone(&settings), service.draining.clone());
            let acceptor = tls.as_ref().map(|tls| tls.acceptor());
            let open = Open::new(service.metrics());
            tokio::spawn(async move {
                let _permit = permit;
                match answer(stream, acceptor, router, &settings, &draining).await {
                    Ok(None) => {}
                    Ok(Some(reason)) => open.0.closed(reason.name()),
                    Err(error) => {
                        if is_malformed(&error) {
                            open.0.closed("malformed");
                        }
                        tracing::debug!(%error, "a connection ended early");
                    }
                }
            });
        }
        drop(socket);
        service.draining.begin();
        tracing::info!(seconds = settings.drain.as_secs(), "stopping; requests that run may come to their end");
        let all = u32::try_from(settings.max_connections).unwrap_or(u32::MAX);
        if timeout(settings.drain, room.acquire_many(all)).await.is_err() {
            tracing::warn!("some requests were still running and are given up");
        }
        Ok(())
    }
}

/// A connection that is counted while it is open.
struct Open(Arc<Metrics>);

impl Open {
    fn new(metrics: &Arc<Metrics>) -> Self {
        metrics.accepted.inc();
        metrics.connections.inc();
        Self(Arc::clone(metrics))
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.0.connections.dec();
    }
}

type Error = Box<dyn std::error::Error + Send + Sync>;

/// Whether what the client sent broke the rules of TLS or HTTP; it may as well just have ended.
fn is_malformed(error: &Error) -> bool {
    if let Some(error) = error.downcast_ref::<io::Error>() {
        // So rustls tells what it does not understand.
        return error.kind() == io::ErrorKind::InvalidData;
    }
    error.downcast_ref::<hyper::Error>().is_some_and(|error| {
        let http2 = error.source().and_then(|source| source.downcast_ref::<h2::Error>());
        error.is_parse() || http2.is_some_and(|error| !error.is_io() && !error.is_remote())
    })
}

/// Why it was closed on the client, if it was.
async fn answer(
    stream: TcpStream,
    acceptor: Option<TlsAcceptor>,
    router: Router,
    settings: &Settings,
    draining: &Draining,
) -> Result<Option<Impatience>, Error> {
    stream.set_nodelay(true)?;
    let router = WithPeer::new(router, stream.peer_addr()?.ip());
    let Some(acceptor) = acceptor else {
        return match soon(speaks_http2(&stream), settings, draining).await {
            Soon::Done(is_http2) => Ok(converse(stream, is_http2?, router, settings, draining).await?),
            Soon::Late => Ok(Some(Impatience::SlowHead)),
            Soon::Stopped => Ok(None),
        };
    };
    match soon(tls::shake_hands(&acceptor, stream), settings, draining).await {
        Soon::Done(stream) => {
            let stream = stream?;
            // What they agreed on; a client that offers nothing speaks HTTP/1.
            let is_http2 = stream.get_ref().1.alpn_protocol() == Some(tls::HTTP2);
            Ok(converse(stream, is_http2, router, settings, draining).await?)
        }
        Soon::Late => Ok(Some(Impatience::SlowHead)),
        Soon::Stopped => Ok(None),
    }
}

/// What becomes of the beginning of a connection.
enum Soon<T> {
    Done(T),
    Late,
    Stopped,
}

/// Waits for what a client has to do first, as long as it may take, or until the service ends.
async fn soon<T>(first: impl Future<Output = T>, settings: &Settings, draining: &Draining) -> Soon<T> {
    tokio::select! {
        outcome = timeout(settings.header_timeout, first) => outcome.map_or(Soon::Late, Soon::Done),
        () = draining.begun() => Soon::Stopped,
    }
}

async fn converse(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    is_http2: bool,
    router: WithPeer<Router>,
    settings: &Settings,
    draining: &Draining,
) -> Result<Option<Impatience>, hyper::Error> {
    let activity = Activity::new(settings, !is_http2);
    let service = Counted { router: TowerToHyperService::new(router), activity: Arc::clone(&activity) };
    let stream = TokioIo::new(Watched { stream, activity: Arc::clone(&activity) });
    let stop = draining.begun();
    if is_http2 {
        let mut builder = http2::Builder::new(TokioExecutor::new());
        builder.timer(TokioTimer::new()).keep_alive_interval(PING).max_concurrent_streams(STREAMS);
        builder.max_pending_accept_reset_streams(TAKEN_BACK).max_local_error_reset_streams(REFUSED);
        builder.max_header_list_size(HEAD_BYTES);
        drive(builder.serve_connection(stream, service), &activity, stop).await
    } else {
        let mut builder = http1::Builder::new();
        // Of the time for a head `patience` takes care.
        builder.timer(TokioTimer::new()).header_read_timeout(None).max_headers(HEAD_FIELDS);
        builder.max_header_size(HEAD_BYTES as usize).max_buf_size(BUFFER);
        drive(builder.serve_connection(stream, service), &activity, stop).await
    }
}

type Socket<S> = TokioIo<Watched<S>>;

impl<S> Connection for http1::Connection<Socket<S>, Counted>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    fn finish(self: Pin<&mut Self>) {
        self.graceful_shutdown();
    }
}

impl<S> Connection for http2::Connection<Socket<S>, Counted, TokioExecutor>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    fn finish(self: Pin<&mut Self>) {
        self.graceful_shutdown();
    }
}

/// The routes, with the requests of a connection counted while they run.
struct Counted {
    router: TowerToHyperService<WithPeer<Router>>,
    activity: Arc<Activity>,
}

impl Service<Request<Incoming>> for Counted {
    type Response = Response<RunningBody<Body>>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Infallible>> + Send>>;

    fn call(&self, request: Request<Incoming>) -> Self::Future {
        let running = self.activity.request();
        let answer = self.router.call(request);
        Box::pin(async move { Ok(answer.await?.map(|body| RunningBody::new(body, running))) })
    }
}

/// Takes the address, as [`TcpListener::bind`] does, with less room for what is sent.
fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
    // A server that is started again takes the address over from connections that have ended; Windows needs no such thing.
    #[cfg(not(windows))]
    socket.set_reuseaddr(true)?;
    // Connections have it from the listener.
    socket.set_send_buffer_size(SEND_BUFFER)?;
    socket.bind(address)?;
    socket.listen(BACKLOG)
}

/// Looks at the first bytes, without taking them, until they tell.
async fn speaks_http2(stream: &TcpStream) -> io::Result<bool> {
    let mut start = [0; PREFACE.len()];
    let mut seen = 0;
    loop {
        let count = stream.peek(&mut start).await?;
        if count == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let matches = start[..count] == PREFACE[..count];
        if !matches || count == PREFACE.len() {
            return Ok(matches);
        }
        if count == seen {
            // What is there is looked at again and again; more of it comes with the next packet.
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        seen = count;
    }
}

/// Done when the process is asked to end: SIGTERM, or SIGINT from a terminal.
fn told_to_stop() -> Result<impl Future<Output = ()>, ServeError> {
    #[cfg(unix)]
    {
        use tokio::signal::unix::{SignalKind, signal};
        let failed = |source| ServeError::Runtime { source };
        let mut terminate = signal(SignalKind::terminate()).map_err(failed)?;
        let mut interrupt = signal(SignalKind::interrupt()).map_err(failed)?;
        Ok(async move {
            tokio::select! {
                _ = terminate.recv() => {}
                _ = interrupt.recv() => {}
            }
        })
    }
    #[cfg(not(unix))]
    Ok(async {
        if tokio::signal::ctrl_c().await.is_err() {
            std::future::pending::<()>().await;
        }
    })
}
