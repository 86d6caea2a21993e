//! `colloquy.control.v1.ControlService`.

use std::sync::Arc;

use colloquy_proto::control::v1 as pb;
use colloquy_proto::control::v1::control_service_server::{ControlService, ControlServiceServer};
use colloquy_service::{Caller, Describe, Problem};
use colloquy_types::Scope;
use futures::StreamExt;
use futures::stream::BoxStream;
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;
use tonic::{Request, Response, Status};

use crate::control::Control;
use crate::convert;
use crate::error::Error;
use crate::share::Shares;
use crate::subscribe::{MOST_STREAMS, subscribe};

/// The methods.
pub struct Handler {
    control: Arc<Control>,
    streams: Shares,
    stop: CancellationToken,
}

impl Handler {
    /// Returns the server over `control`, whose streams end with `stop`.
    pub fn server(control: Arc<Control>, stop: CancellationToken) -> ControlServiceServer<Self> {
        ControlServiceServer::new(Self { control, streams: Shares::of(MOST_STREAMS), stop })
    }
}

fn told(error: Error) -> Status {
    error.describe().into()
}

#[tonic::async_trait]
impl ControlService for Handler {
    async fn send_command(&self, request: Request<pb::SendCommandRequest>) -> Result<Response<pb::SendCommandResponse>, Status> {
        let caller = Caller::of(&request);
        let organization_id = caller.require(Scope::ConversationsWrite)?;
        let key_id = match &caller {
            Caller::Key(identity) => identity.key_id.to_string(),
            Caller::Service | Caller::Anonymous => String::new(),
        };
        let send = convert::send(request.into_inner(), key_id)?;
        if send.order.force && !caller.has(Scope::Admin) {
            return Err(told(Error::ForceNotAllowed));
        }
        let answer = self.control.send(&organization_id, &send.conversation, &send.order).await.map_err(told)?;
        Ok(Response::new(convert::answer_to_pb(&answer)))
    }

    async fn get_control(&self, request: Request<pb::GetControlRequest>) -> Result<Response<pb::GetControlResponse>, Status> {
        let caller = Caller::of(&request);
        let organization_id = caller.require(Scope::ConversationsRead)?;
        let name = convert::get(request.get_ref())?;
        let overview = self.control.overview(&organization_id, &name).await.map_err(told)?;
        Ok(Response::new(convert::overview_to_pb(&overview, caller.has(Scope::TranscriptsRead))))
    }

    type SubscribeStream = BoxStream<'static, Result<pb::SubscribeResponse, Status>>;

    async fn subscribe(&self, request: Request<pb::SubscribeRequest>) -> Result<Response<Self::SubscribeStream>, Status> {
        let organization_id = Caller::of(&request).require(Scope::EventsWrite)?;
        let agent_id = convert::agent(request.into_inner())?;
        let share = self.streams.take(&organization_id).ok_or_else(|| {
            let most = self.streams.most();
            let message = format!("there are {most} such streams open already, which is the most an organization may have here");
            Problem::exhausted("TOO_MANY_STREAMS", message)
        })?;
        let handed = subscribe(Arc::clone(&self.control), share, agent_id, self.stop.clone());
        let answers = ReceiverStream::new(handed)
            .map(|handed| handed.map(|given| pb::SubscribeResponse { command: Some(convert::given_to_pb(&given)) }));
        Ok(Response::new(answers.boxed()))
    }

    async fn report_command(
        &self,
        request: Request<pb::ReportCommandRequest>,
    ) -> Result<Response<pb::ReportCommandResponse>, Status> {
        let organization_id = Caller::of(&request).require(Scope::EventsWrite)?;
        let report = convert::report(request.into_inner())?;
        let given = self.control.report(&organization_id, report.command_id, report.refused).await.map_err(told)?;
        Ok(Response::new(pb::ReportCommandResponse { command: Some(convert::given_to_pb(&given)) }))
    }
}
