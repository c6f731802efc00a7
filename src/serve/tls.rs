//! TLS: the certificate that the service proves itself with, read again when the process is told to.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};

use rustls::crypto::ring;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use super::failure::ServeError;
use super::settings::Settings;

/// How HTTP/2 is called where a client and a server agree on it.
pub(crate) const HTTP2: &[u8] = b"h2";
const HTTP1: &[u8] = b"http/1.1";
/// The first byte of a TLS connection: a record of the handshake.
const HANDSHAKE: u8 = 0x16;
/// For those who speak HTTP where TLS is expected.
const PLAIN: &[u8] =
    b"HTTP/1.1 400 Bad Request\r\nContent-Type: text/plain\r\nContent-Length: 39\r\nConnection: close\r\n\r\n\
    this port speaks TLS: use https:// URLs";

/// What connections are secured with.
#[derive(Debug)]
pub(crate) struct Tls {
    files: Files,
    config: RwLock<Arc<ServerConfig>>,
}

/// PEM files.
#[derive(Debug, Clone)]
struct Files {
    certificate: PathBuf,
    key: PathBuf,
    client_ca: Option<PathBuf>,
}

impl Tls {
    /// Reads what the settings name; none where they name nothing.
    ///
    /// # Errors
    /// [`ServeError::Setting`] for a file that cannot be read, is no certificate or key, or does not fit the others.
    pub fn read(settings: &Settings) -> Result<Option<Self>, ServeError> {
        let (Some(certificate), Some(key)) = (settings.tls_certificate.clone(), settings.tls_key.clone()) else {
            return Ok(None);
        };
        let files = Files { certificate, key, client_ca: settings.tls_client_ca.clone() };
        let config = RwLock::new(Arc::new(files.read()?));
        Ok(Some(Self { files, config }))
    }

    /// What a new connection is secured with.
    pub fn acceptor(&self) -> TlsAcceptor {
        Arc::clone(&self.config.read().unwrap_or_else(PoisonError::into_inner)).into()
    }

    /// Reads the files again. Where that fails, new connections get what they got before.
    fn reread(&self) {
        match self.files.read() {
            Ok(config) => {
                *self.config.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(config);
                tracing::info!(certificate = %self.files.certificate.display(), "the certificate was read again");
            }
            Err(error) => tracing::error!(%error, "the certificate is not replaced; the one from before stays in use"),
        }
    }
}

impl Files {
    fn read(&self) -> Result<ServerConfig, ServeError> {
        let provider = Arc::new(ring::default_provider());
        let chain = certificates("--tls-certificate", &self.certificate)?;
        let key = PrivateKeyDer::from_pem_file(&self.key).map_err(|error| wrong("--tls-key", &self.key, error))?;
        let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
            .with_safe_default_protocol_versions()
            .map_err(|error| wrong("--tls-certificate", &self.certificate, error))?;
        let builder = match &self.client_ca {
            None => builder.with_no_client_auth(),
            Some(file) => {
                let setting = "--tls-client-ca";
                let mut roots = RootCertStore::empty();
                for certificate in certificates(setting, file)? {
                    roots.add(certificate).map_err(|error| wrong(setting, file, error))?;
                }
                let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider).build();
                builder.with_client_cert_verifier(verifier.map_err(|error| wrong(setting, file, error))?)
            }
        };
        // A key of another certificate is found here.
        let config = builder.with_single_cert(chain, key);
        let mut config = config.map_err(|error| wrong("--tls-certificate", &self.certificate, error))?;
        config.alpn_protocols = vec![HTTP2.to_vec(), HTTP1.to_vec()];
        Ok(config)
    }
}

/// All certificates of a PEM file; at least one.
fn certificates(setting: &str, file: &Path) -> Result<Vec<CertificateDer<'static>>, ServeError> {
    let read = CertificateDer::pem_file_iter(file).and_then(Iterator::collect::<Result<Vec<_>, _>>);
    let found = read.map_err(|error| wrong(setting, file, error))?;
    if found.is_empty() {
        return Err(wrong(setting, file, "it has no section `-----BEGIN CERTIFICATE-----`"));
    }
    Ok(found)
}

fn wrong(setting: &str, file: &Path, error: impl std::fmt::Display) -> ServeError {
    ServeError::Setting { setting: setting.to_owned(), message: format!("{}: {error}", file.display()) }
}

/// Agrees with a client on keys. One that speaks plain HTTP is told so.
///
/// # Errors
/// A client that leaves, speaks something else, or does not trust the certificate.
pub(crate) async fn shake_hands(acceptor: &TlsAcceptor, mut stream: TcpStream) -> io::Result<TlsStream<TcpStream>> {
    let mut first = [0];
    if stream.peek(&mut first).await? > 0 && first != [HANDSHAKE] {
        if first[0].is_ascii_uppercase() {
            stream.write_all(PLAIN).await?;
            stream.shutdown().await?;
            // Closing with bytes that nobody read resets the connection, and the answer is lost with it.
            tokio::io::copy(&mut stream, &mut tokio::io::sink()).await?;
        }
        return Err(io::Error::new(io::ErrorKind::InvalidData, "the client does not speak TLS"));
    }
    acceptor.accept(stream).await
}

/// Ends what it guards when it is dropped.
pub(crate) struct Rereading(tokio::task::JoinHandle<()>);

impl Drop for Rereading {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// Reads the files again at every SIGHUP, for as long as what is returned is there.
///
/// # Errors
/// [`ServeError::Runtime`] where signals cannot be listened to.
#[cfg(unix)]
pub(crate) fn reread_when_told(tls: &Arc<Tls>) -> Result<Rereading, ServeError> {
    use tokio::signal::unix::{SignalKind, signal};
    let mut hangup = signal(SignalKind::hangup()).map_err(|source| ServeError::Runtime { source })?;
    let tls = Arc::clone(tls);
    let rereading = async move {
        while hangup.recv().await.is_some() {
            let tls = Arc::clone(&tls);
            // Files may be on a disk that is far away.
            if let Err(error) = tokio::task::spawn_blocking(move || tls.reread()).await {
                tracing::error!(%error, "the certificate could not be read again");
            }
        }
    };
    Ok(Rereading(tokio::spawn(rereading)))
}

/// Other systems have no such signal: a new certificate takes a new start.
#[cfg(not(unix))]
pub(crate) fn reread_when_told(_: &Arc<Tls>) -> Result<Rereading, ServeError> {
    Ok(Rereading(tokio::spawn(std::future::ready(()))))
}
