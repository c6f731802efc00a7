//! One connection, made again where it ended.

use http_body_util::{BodyExt as _, Full};
use hyper::body::Bytes;
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper::header::{CONTENT_TYPE, HOST, HeaderValue};
use hyper::{Request, StatusCode, Uri};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;

use crate::run::Error;

/// A client that keeps its connection.
#[derive(Debug)]
pub struct Client {
    host: String,
    port: u16,
    authority: HeaderValue,
    path: Uri,
    sender: Option<SendRequest<Full<Bytes>>>,
}

impl Client {
    /// A client of `url`, not connected yet.
    pub fn new(url: &Uri) -> Result<Self, Error> {
        let authority = url.authority().ok_or("the address has to be http://HOST:PORT/PATH")?;
        let path = url.path_and_query().cloned().ok_or("the address has no path")?;
        Ok(Self {
            host: authority.host().trim_matches(['[', ']']).to_owned(),
            port: authority.port_u16().unwrap_or(80),
            authority: HeaderValue::from_str(authority.as_str())?,
            path: path.into(),
            sender: None,
        })
    }

    /// Sends a body; the status and the bytes of the whole answer.
    pub async fn post(&mut self, body: Bytes) -> Result<(StatusCode, usize), Error> {
        let outcome = self.asked(body).await;
        if outcome.is_err() {
            self.sender = None;
        }
        outcome
    }

    /// Connects where it is not connected.
    pub async fn connect(&mut self) -> Result<&mut SendRequest<Full<Bytes>>, Error> {
        let ready = match self.sender.take() {
            Some(sender) if !sender.is_closed() => sender,
            _ => {
                let stream = TcpStream::connect((self.host.as_str(), self.port)).await?;
                stream.set_nodelay(true)?;
                let (sender, connection) = handshake(TokioIo::new(stream)).await?;
                // How it ends the sender is told as well.
                tokio::spawn(async { drop(connection.await) });
                sender
            }
        };
        Ok(self.sender.insert(ready))
    }

    async fn asked(&mut self, body: Bytes) -> Result<(StatusCode, usize), Error> {
        let request = Request::post(self.path.clone())
            .header(HOST, self.authority.clone())
            .header(CONTENT_TYPE, "application/json")
            .body(Full::new(body))?;
        let sender = self.connect().await?;
        sender.ready().await?;
        let response = sender.send_request(request).await?;
        let status = response.status();
        let mut body = response.into_body();
        let mut bytes = 0;
        while let Some(frame) = body.frame().await {
            bytes += frame?.data_ref().map_or(0, Bytes::len);
        }
        Ok((status, bytes))
    }
}
