//! Questions to others: to a collector of traces, and whether another service is well. HTTP/1.1, a connection each.

use std::time::Duration;

use axum::body::Bytes;
use axum::http::header::HOST;
use axum::http::uri::{PathAndQuery, Uri};
use axum::http::{HeaderValue, Request, Response};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper_util::rt::TokioIo;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;

use super::any_certificate;
use super::failure::ServeError;

pub(super) type Error = Box<dyn std::error::Error + Send + Sync>;

/// How long a service that is asked how it is may take to answer.
const PROBE: Duration = Duration::from_secs(5);
/// More than this nobody has to say to us.
const LARGEST: usize = 1 << 20;

/// The address of a collector of traces.
///
/// # Errors
/// What is wrong with it and what would work.
pub(super) fn checked(url: &str) -> Result<Uri, String> {
    let uri = address(url)?;
    if uri.scheme_str() == Some("https") {
        return Err(format!(
            "{url:?} is encrypted, and only http:// is spoken here; a collector or proxy on this machine can pass it on"
        ));
    }
    Ok(uri)
}

fn address(url: &str) -> Result<Uri, String> {
    let uri: Uri = url.parse().map_err(|error| format!("{url:?} is no address ({error}); write http://HOST:PORT"))?;
    match (uri.scheme_str(), uri.host()) {
        (Some("http" | "https"), Some(_)) => Ok(uri),
        _ => Err(format!("{url:?} is no address of a server; write http://HOST:PORT")),
    }
}

/// Sends a request and reads the whole answer, whatever its status, within `limit`.
///
/// # Errors
/// Nobody there, an answer that is none, or no answer in time.
pub(super) async fn send(request: Request<Full<Bytes>>, limit: Duration) -> Result<Response<Bytes>, Error> {
    tokio::time::timeout(limit, exchange(request))
        .await
        .map_err(|_| format!("no answer within {} s", limit.as_secs_f64()))?
}

async fn exchange(mut request: Request<Full<Bytes>>) -> Result<Response<Bytes>, Error> {
    let authority = request.uri().authority().ok_or("the address has no host")?.clone();
    let host = authority.host().trim_start_matches('[').trim_end_matches(']');
    let is_secure = request.uri().scheme_str() == Some("https");
    let port = authority.port_u16().unwrap_or(if is_secure { 443 } else { 80 });
    let stream = TcpStream::connect((host, port)).await?;
    let path = request.uri().path_and_query().cloned().unwrap_or_else(|| PathAndQuery::from_static("/"));
    *request.uri_mut() = path.into();
    request.headers_mut().insert(HOST, HeaderValue::from_str(authority.as_str())?);
    if is_secure {
        let name = ServerName::try_from(host.to_owned())?;
        talk(any_certificate::connector()?.connect(name, stream).await?, request).await
    } else {
        talk(stream, request).await
    }
}

/// One question and its answer.
async fn talk<Stream: AsyncRead + AsyncWrite + Unpin>(
    stream: Stream,
    request: Request<Full<Bytes>>,
) -> Result<Response<Bytes>, Error> {
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
    let asking = async move {
        let (head, body) = sender.send_request(request).await?.into_parts();
        Ok::<_, Error>(Response::from_parts(head, Limited::new(body, LARGEST).collect().await?.to_bytes()))
    };
    // The connection ends with what was asked on it; how is of no interest where there is an answer.
    let (answer, _) = tokio::join!(asking, connection);
    answer
}

/// Asks the service at `url` how it is; over TLS, whoever vouches for its certificate.
///
/// # Errors
/// [`ServeError::Probe`] where it does not answer that it is well.
pub(super) async fn probe(url: &str) -> Result<(), ServeError> {
    let failed = |message: String| ServeError::Probe { url: url.to_owned(), message };
    let uri = address(url).map_err(failed)?;
    let request = Request::get(uri).body(Full::default()).map_err(|error| failed(error.to_string()))?;
    let answer = send(request, PROBE).await.map_err(|error| failed(error.to_string()))?;
    if answer.status().is_success() {
        return Ok(());
    }
    Err(failed(format!("the answer is {}: {}", answer.status(), String::from_utf8_lossy(answer.body()))))
}

#[cfg(test)]
mod tests {
    use super::checked;

    #[test]
    fn addresses() {
        for right in ["http://localhost:4318", "http://127.0.0.1/v1", "http://[::1]:80/ready"] {
            checked(right).unwrap();
        }
        for (wrong, says) in [
            ("", "write http://HOST:PORT"),
            ("localhost:4318", "write http://HOST:PORT"),
            ("/ready", "write http://HOST:PORT"),
            ("https://localhost", "only http:// is spoken"),
            ("http:// a", "is no address"),
        ] {
            let message = checked(wrong).unwrap_err();
            assert!(message.contains(says), "{message}");
        }
    }
}
