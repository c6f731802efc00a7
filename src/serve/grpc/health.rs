//! `grpc.health.v1.Health`: serving, until the service is told to end.
//!
//! The messages are those of `tonic-health`. Its own service never ends a watch, so that a client who watches would hold up the
//! end of this one; and it refuses to watch a service that it does not know, where the protocol has a status for that.

use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status};
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_server::Health;
use tonic_health::pb::{HealthCheckRequest, HealthCheckResponse};

use super::protocol::embedding_server::SERVICE_NAME;
use crate::serve::draining::Draining;

/// The empty name is the service as a whole.
const KNOWN: [&str; 2] = ["", SERVICE_NAME];

#[derive(Debug)]
pub(super) struct HealthService {
    draining: Draining,
}

impl HealthService {
    pub fn new(draining: Draining) -> Self {
        Self { draining }
    }

    /// None where there is no such service.
    fn status(&self, service: &str) -> Option<ServingStatus> {
        let status = if self.draining.has_begun() { ServingStatus::NotServing } else { ServingStatus::Serving };
        KNOWN.contains(&service).then_some(status)
    }
}

#[tonic::async_trait]
impl Health for HealthService {
    async fn check(&self, request: Request<HealthCheckRequest>) -> Result<Response<HealthCheckResponse>, Status> {
        let status = self.status(&request.get_ref().service);
        let status = status.ok_or_else(|| Status::not_found(format!("there are \"\" and {SERVICE_NAME:?} here")))?;
        Ok(Response::new(said(status)))
    }

    type WatchStream = ReceiverStream<Result<HealthCheckResponse, Status>>;

    async fn watch(&self, request: Request<HealthCheckRequest>) -> Result<Response<Self::WatchStream>, Status> {
        let status = self.status(&request.get_ref().service);
        let (sender, receiver) = mpsc::channel(2);
        let draining = self.draining.clone();
        tokio::spawn(async move {
            // Sending fails where the client has left, and then nobody is to be told.
            let _ = sender.send(Ok(said(status.unwrap_or(ServingStatus::ServiceUnknown)))).await;
            tokio::select! {
                () = draining.begun() => {}
                () = sender.closed() => return,
            }
            if status == Some(ServingStatus::Serving) {
                let _ = sender.send(Ok(said(ServingStatus::NotServing))).await;
            }
        });
        Ok(Response::new(ReceiverStream::new(receiver)))
    }
}

fn said(status: ServingStatus) -> HealthCheckResponse {
    HealthCheckResponse { status: status as i32 }
}

#[cfg(test)]
mod tests {
    use tokio_stream::StreamExt;

    use super::*;

    fn asked(service: &str) -> Request<HealthCheckRequest> {
        Request::new(HealthCheckRequest { service: service.to_owned() })
    }

    #[tokio::test]
    async fn serving_until_the_end() {
        let draining = Draining::new();
        let health = HealthService::new(draining.clone());
        let mut watches = Vec::new();
        for service in KNOWN {
            let answer = health.check(asked(service)).await.unwrap().into_inner();
            assert_eq!(answer.status(), ServingStatus::Serving);
            let mut watch = health.watch(asked(service)).await.unwrap().into_inner();
            assert_eq!(watch.next().await.unwrap().unwrap().status(), ServingStatus::Serving);
            watches.push(watch);
        }
        draining.begin();
        for (service, mut watch) in KNOWN.into_iter().zip(watches) {
            assert_eq!(watch.next().await.unwrap().unwrap().status(), ServingStatus::NotServing);
            assert!(watch.next().await.is_none(), "the watch goes on");
            let answer = health.check(asked(service)).await.unwrap().into_inner();
            assert_eq!(answer.status(), ServingStatus::NotServing);
        }
        let mut late: Vec<_> = health.watch(asked("")).await.unwrap().into_inner().collect().await;
        assert_eq!(late.len(), 1);
        assert_eq!(late.remove(0).unwrap().status(), ServingStatus::NotServing);
    }

    #[tokio::test]
    async fn a_service_that_there_is_not() {
        let draining = Draining::new();
        let health = HealthService::new(draining.clone());
        let refused = health.check(asked("other")).await.unwrap_err();
        assert_eq!(refused.code(), tonic::Code::NotFound);
        let mut watch = health.watch(asked("other")).await.unwrap().into_inner();
        assert_eq!(watch.next().await.unwrap().unwrap().status(), ServingStatus::ServiceUnknown);
        draining.begin();
        assert!(watch.next().await.is_none());
    }
}
