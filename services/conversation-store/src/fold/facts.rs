//! What is known of a conversation as a whole.

use std::collections::{HashMap, HashSet};

use colloquy_events::{Direction, Facts, JsonMap};

use super::{merge, set};
use crate::conversation::Agent;

/// What the events so far say.
#[derive(Default)]
pub(super) struct Known {
    /// The agent named last.
    agent_id: Option<String>,
    /// What is known of each agent; under `None`, what was said of an agent that was not named.
    agents: HashMap<Option<String>, Agent>,
    pub(super) channel: Option<String>,
    pub(super) direction: Option<Direction>,
    pub(super) caller_number: Option<String>,
    pub(super) caller_name: Option<String>,
    pub(super) client_id: Option<String>,
    pub(super) user_id: Option<String>,
    pub(super) thread_id: Option<String>,
    pub(super) language: Option<String>,
    pub(super) translation_language: Option<String>,
    pub(super) tags: Vec<String>,
    tags_seen: HashSet<String>,
    pub(super) metadata: JsonMap,
    pub(super) voice_platform: Option<String>,
    pub(super) latency_ms: JsonMap,
    pub(super) quality: JsonMap,
    pub(super) network: JsonMap,
}

impl Known {
    /// Adds what a later event says.
    pub(super) fn learn(&mut self, facts: &Facts) {
        self.learn_agent(facts);
        set(&mut self.channel, &facts.channel);
        set(&mut self.direction, &facts.direction);
        set(&mut self.caller_number, &facts.caller_number);
        set(&mut self.caller_name, &facts.caller_name);
        set(&mut self.client_id, &facts.client_id);
        set(&mut self.user_id, &facts.user_id);
        set(&mut self.thread_id, &facts.thread_id);
        set(&mut self.language, &facts.language);
        set(&mut self.translation_language, &facts.translation_language);
        set(&mut self.voice_platform, &facts.voice_platform);
        self.tag(&facts.tags);
        merge(&mut self.metadata, facts.metadata.as_ref());
        merge(&mut self.latency_ms, facts.latency_ms.as_ref());
        merge(&mut self.quality, facts.quality.as_ref());
        merge(&mut self.network, facts.network.as_ref());
    }

    /// A name or version belongs to the agent it came with: one agent's name must not stick to the next.
    fn learn_agent(&mut self, facts: &Facts) {
        set(&mut self.agent_id, &facts.agent_id);
        if facts.agent_name.is_none() && facts.agent_version_id.is_none() && facts.agent_version.is_none() {
            return;
        }
        let agent = self.agents.entry(self.agent_id.clone()).or_default();
        set(&mut agent.name, &facts.agent_name);
        set(&mut agent.version_id, &facts.agent_version_id);
        set(&mut agent.version, &facts.agent_version);
    }

    /// Adds tags that are not there yet.
    pub(super) fn tag(&mut self, tags: &[String]) {
        for tag in tags {
            if self.tags_seen.insert(tag.clone()) {
                self.tags.push(tag.clone());
            }
        }
    }

    /// Forgets the tags so far.
    pub(super) fn untag(&mut self) {
        self.tags.clear();
        self.tags_seen.clear();
    }

    /// Returns the agent that led the conversation.
    pub(super) fn agent(&mut self) -> Agent {
        let mut agent = self.agents.remove(&None).unwrap_or_default();
        if let Some(named) = self.agent_id.as_ref().and_then(|_| self.agents.remove(&self.agent_id)) {
            set(&mut agent.name, &named.name);
            set(&mut agent.version_id, &named.version_id);
            set(&mut agent.version, &named.version);
        }
        Agent { id: self.agent_id.take(), ..agent }
    }
}
