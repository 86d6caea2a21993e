//! Hands own agents their commands.

use std::collections::HashMap;
use std::sync::Arc;

use colloquy_service::Describe;
use colloquy_storage::StoreError;
use colloquy_types::OrganizationId;
use tokio::sync::mpsc;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tonic::Status;
use uuid::Uuid;

use crate::control::Control;
use crate::share::Share;
use crate::store::Given;

/// How many unanswered commands are looked at: an agent that answers none of these gets no more.
const MOST: u32 = 1_000;
/// How many commands may wait for a slow agent.
const AHEAD: usize = 16;

/// How many streams one organization may have open at one replica. Each looks for commands every second.
pub const MOST_STREAMS: usize = 256;

/// What a subscriber is handed.
pub type Handed = Result<Given, Status>;

/// Begins to hand out the commands to an organization's own agents, or to one of them, until `stop` or until nobody takes them.
/// The stream keeps its `share` for as long.
pub fn subscribe(
    control: Arc<Control>,
    share: Share,
    agent_id: Option<String>,
    stop: CancellationToken,
) -> mpsc::Receiver<Handed> {
    let organization_id = share.organization_id().clone();
    let (hand, taken) = mpsc::channel(AHEAD);
    let gone = hand.clone();
    let mut subscriber = Subscriber { control, organization_id, agent_id, handed: HashMap::new(), hand };
    // Ends with the receiver, or with the process.
    tokio::spawn(async move {
        let _share = share;
        tokio::select! {
            () = stop.cancelled() => {}
            () = gone.closed() => {}
            ended = subscriber.follow() => {
                if let Err(error) = ended {
                    // Whoever reads begins again.
                    let _ = gone.send(Err(error.describe().into())).await;
                }
            }
        }
    });
    taken
}

struct Subscriber {
    control: Arc<Control>,
    organization_id: OrganizationId,
    agent_id: Option<String>,
    /// What was handed out over this stream and has not been answered, and when.
    handed: HashMap<Uuid, Instant>,
    hand: mpsc::Sender<Handed>,
}

impl Subscriber {
    async fn follow(&mut self) -> Result<(), StoreError> {
        let mut bell = self.control.bell.listen();
        loop {
            let open = self.control.store.for_agents(&self.organization_id, self.agent_id.as_deref(), MOST).await?;
            self.handed.retain(|id, _| open.iter().any(|given| given.command.command_id == *id));
            for given in open {
                let id = given.command.command_id;
                if self.handed.get(&id).is_some_and(|at| at.elapsed() < self.control.timing.hand_out_again_after) {
                    continue;
                }
                // Noted before: an agent that is told to end its conversation may have done so before it answers.
                self.control.store.handed_out(&self.organization_id, id).await?;
                if self.hand.send(Ok(given)).await.is_err() {
                    return Ok(());
                }
                self.handed.insert(id, Instant::now());
            }
            tokio::select! {
                () = bell.heard() => {}
                () = tokio::time::sleep(self.control.timing.look_every) => {}
            }
        }
    }
}
