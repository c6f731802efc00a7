//! Sockets: who may connect for how long, HTTP/1 and HTTP/2 told apart, and an end that lets requests finish.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::graceful::{GracefulShutdown, Watcher};
use hyper_util::service::TowerToHyperService;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;

use super::draining::Draining;
use super::failure::ServeError;
use super::peer::WithPeer;
use super::settings::Settings;
use super::tls::{self, Tls};

/// What a client says first that speaks HTTP/2 without being asked.
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
/// Requests of one HTTP/2 connection at a time.
const STREAMS: u32 = 256;
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
    pub async fn bind(settings: &Arc<Settings>) -> Result<Self, ServeError> {
        let address = SocketAddr::new(settings.host, settings.port);
        let failed = |source| ServeError::Address { address, source };
        let socket = TcpListener::bind(address).await.map_err(failed)?;
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
    pub async fn serve(self, router: Router, tls: Option<Tls>, draining: &Draining) -> Result<(), ServeError> {
        let tls = tls.map(Arc::new);
        let _rereading = tls.as_ref().map(tls::reread_when_told).transpose()?;
        let graceful = GracefulShutdown::new();
        let room = Arc::new(Semaphore::new(self.settings.max_connections));
        let mut stop = std::pin::pin!(told_to_stop()?);
        loop {
            let permit = tokio::select! {
                // Never closed, so it is always granted in the end.
                permit = Arc::clone(&room).acquire_owned() => permit.ok(),
                () = &mut stop => break,
            };
            let stream = tokio::select! {
                accepted = self.socket.accept() => accepted,
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
            let (router, settings, watcher) = (router.clone(), Arc::clone(&self.settings), graceful.watcher());
            let acceptor = tls.as_ref().map(|tls| tls.acceptor());
            tokio::spawn(async move {
                let _permit = permit;
                if let Err(error) = answer(stream, acceptor, router, &settings, watcher).await {
                    tracing::debug!(%error, "a connection ended early");
                }
            });
        }
        drop(self.socket);
        draining.begin();
        tracing::info!(seconds = self.settings.drain.as_secs(), "stopping; requests that run may come to their end");
        if timeout(self.settings.drain, graceful.shutdown()).await.is_err() {
            tracing::warn!("some requests were still running and are given up");
        }
        Ok(())
    }
}

type Error = Box<dyn std::error::Error + Send + Sync>;

async fn answer(
    stream: TcpStream,
    acceptor: Option<TlsAcceptor>,
    router: Router,
    settings: &Settings,
    watcher: Watcher,
) -> Result<(), Error> {
    stream.set_nodelay(true)?;
    let peer = stream.peer_addr()?.ip();
    match acceptor {
        None => {
            let is_http2 = timeout(settings.header_timeout, speaks_http2(&stream)).await??;
            converse(stream, peer, is_http2, router, settings, watcher).await
        }
        Some(acceptor) => {
            let stream = timeout(settings.header_timeout, tls::shake_hands(&acceptor, stream)).await??;
            // What they agreed on; a client that offers nothing speaks HTTP/1.
            let is_http2 = stream.get_ref().1.alpn_protocol() == Some(tls::HTTP2);
            converse(stream, peer, is_http2, router, settings, watcher).await
        }
    }
}

async fn converse(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    peer: IpAddr,
    is_http2: bool,
    router: Router,
    settings: &Settings,
    watcher: Watcher,
) -> Result<(), Error> {
    let service = TowerToHyperService::new(WithPeer::new(router, peer));
    let stream = TokioIo::new(stream);
    if is_http2 {
        let mut builder = hyper::server::conn::http2::Builder::new(TokioExecutor::new());
        builder.timer(TokioTimer::new()).max_concurrent_streams(STREAMS).keep_alive_interval(PING);
        watcher.watch(builder.serve_connection(stream, service)).await?;
    } else {
        let mut builder = hyper::server::conn::http1::Builder::new();
        builder.timer(TokioTimer::new()).header_read_timeout(settings.header_timeout);
        watcher.watch(builder.serve_connection(stream, service)).await?;
    }
    Ok(())
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
