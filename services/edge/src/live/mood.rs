//! What analysers say of a conversation so far. They come about a second behind what happens, and nobody waits for them.

use std::time::Duration;

use colloquy_proto::analytics::v1 as analytics;
use colloquy_proto::conversation::v1 as conversation;
use colloquy_types::{ConversationId, Position};
use tonic::Code;

use super::Live;
use crate::clients::Calling;

/// Without what analysers say by then, figures go out.
const WITHIN: Duration = Duration::from_secs(1);

/// What analysers say so far.
#[derive(Debug, Default)]
pub(super) struct Mood {
    /// What they say; `None` when they have said nothing, or the key may not know it.
    pub(super) judgement: Option<conversation::Analytics>,
    /// Up to where they have read; `None` when the key may not know.
    pub(super) through: Option<Position>,
}

impl Mood {
    /// Asks for it.
    pub(super) async fn so_far(live: &Live, calling: &Calling, id: ConversationId) -> Self {
        // A position would have the conversation analysed at once, and more often than it is worth.
        let request = analytics::GetConversationAnalyticsRequest { conversation_id: id.to_string(), min_position: 0 };
        match live.analytics.clone().get_conversation_analytics(calling.long_call(request, WITHIN)).await {
            Ok(answer) => {
                let analytics = answer.into_inner().analytics.unwrap_or_default();
                Self { judgement: analytics.judgement, through: Some(Position(analytics.position)) }
            }
            Err(status) if matches!(status.code(), Code::PermissionDenied | Code::Unauthenticated) => Self::default(),
            Err(_) => Self { judgement: None, through: Some(Position::START) },
        }
    }
}
