//! The closed sets of words, one spelling each in proto, JSON, SQL and Rust.

/// The text is none of the words allowed in its place.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("must be one of {allowed}")]
pub struct UnknownWord {
    /// The words that are allowed, separated by commas.
    pub allowed: &'static str,
}

macro_rules! words {
    ($(#[$doc:meta])* $name:ident { $($(#[$variant_doc:meta])* $variant:ident = $word:literal,)+ }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, serde::Serialize, serde::Deserialize)]
        pub enum $name {
            $($(#[$variant_doc])* #[serde(rename = $word)] $variant,)+
        }

        impl $name {
            /// Every word of the set, in ascending order.
            pub const ALL: &'static [Self] = &[$(Self::$variant),+];

            /// Returns the word.
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $word),+ }
            }
        }

        impl std::str::FromStr for $name {
            type Err = UnknownWord;

            fn from_str(text: &str) -> Result<Self, Self::Err> {
                match text {
                    $($word => Ok(Self::$variant),)+
                    _ => Err(UnknownWord { allowed: words!(@list $($word),+) }),
                }
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(self.as_str())
            }
        }
    };
    (@list $first:literal $(, $rest:literal)*) => { concat!($first $(, ", ", $rest)*) };
}

words! {
    /// Where a conversation stands.
    Status {
        /// Announced, not yet connected.
        Initiated = "initiated",
        /// Running.
        InProgress = "in_progress",
        /// It took place and ended.
        Completed = "completed",
        /// Something technical prevented or broke it.
        Failed = "failed",
        /// Nobody took part on the other side.
        Abandoned = "abandoned",
    }
}

impl Status {
    /// Returns whether the conversation has not ended.
    pub const fn is_live(self) -> bool {
        matches!(self, Self::Initiated | Self::InProgress)
    }
}

impl From<EndStatus> for Status {
    fn from(status: EndStatus) -> Self {
        match status {
            EndStatus::Completed => Self::Completed,
            EndStatus::Failed => Self::Failed,
            EndStatus::Abandoned => Self::Abandoned,
        }
    }
}

words! {
    /// How a conversation ended.
    EndStatus {
        /// It took place and ended.
        Completed = "completed",
        /// Something technical prevented or broke it.
        Failed = "failed",
        /// Nobody took part on the other side.
        Abandoned = "abandoned",
    }
}

words! {
    /// Where a conversation that has not ended stands.
    LiveStatus {
        /// Announced, not yet connected.
        Initiated = "initiated",
        /// Running.
        InProgress = "in_progress",
    }
}

words! {
    /// Who a turn is by.
    Role {
        /// The AI agent.
        Agent = "agent",
        /// The person.
        User = "user",
        /// A person on the agent's side.
        HumanAgent = "human_agent",
        /// A tool: a call or its result.
        Tool = "tool",
        /// The platform.
        System = "system",
    }
}

words! {
    /// Which way a conversation or message goes, seen from the agent.
    Direction {
        /// The person reached out.
        Inbound = "inbound",
        /// The agent reached out.
        Outbound = "outbound",
    }
}

words! {
    /// Whether a conversation reached its goal.
    CallSuccessful {
        /// It did.
        Success = "success",
        /// It did not.
        Failure = "failure",
        /// Nobody knows.
        Unknown = "unknown",
    }
}

words! {
    /// The mood of the person.
    Sentiment {
        /// Good.
        Positive = "positive",
        /// Neither.
        Neutral = "neutral",
        /// Bad.
        Negative = "negative",
    }
}

words! {
    /// What became of the person's request.
    ResolutionStatus {
        /// Done.
        Resolved = "resolved",
        /// Not done.
        Unresolved = "unresolved",
        /// Handed to somebody with more authority.
        Escalated = "escalated",
        /// Handed to somebody else.
        Transferred = "transferred",
        /// Nobody knows.
        Unknown = "unknown",
    }
}

words! {
    /// Whose judgement an analysis is, in ascending order of weight.
    Authority {
        /// Colloquy's own analysers.
        Own = "own",
        /// The provider.
        Provider = "provider",
        /// Colloquy's own analysers, where the organization trusts them more than the provider.
        OwnLeading = "own_leading",
        /// A person.
        Human = "human",
    }
}

words! {
    /// Whose voice a recording holds.
    RecordingChannel {
        /// Both.
        Mixed = "mixed",
        /// The person's.
        User = "user",
        /// The agent's.
        Agent = "agent",
    }
}

words! {
    /// A thumb.
    Thumbs {
        /// Liked.
        Up = "up",
        /// Disliked.
        Down = "down",
    }
}

words! {
    /// Where a transfer stands.
    TransferState {
        /// The other side is being reached.
        Started = "started",
        /// Both sides are connected.
        Bridged = "bridged",
        /// It came to nothing.
        Cancelled = "cancelled",
        /// It is over.
        Ended = "ended",
    }
}

words! {
    /// Whether somebody speaks.
    SpeechState {
        /// They began.
        Started = "started",
        /// They ceased.
        Stopped = "stopped",
    }
}

words! {
    /// What a person can do to a running conversation.
    CommandKind {
        /// Become its holder: the agent is silenced where the provider can do that.
        TakeOver = "take_over",
        /// Give it back to the agent.
        Release = "release",
        /// Have a text spoken, or sent, to the person.
        Say = "say",
        /// Tell the agent something that the person does not hear.
        InjectContext = "inject_context",
        /// Connect the person to somebody else.
        Transfer = "transfer",
        /// Silence the agent, or let it be heard again.
        Mute = "mute",
        /// End the conversation.
        End = "end",
    }
}

words! {
    /// What became of the right to command a conversation.
    LeaseState {
        /// Somebody has it who had not.
        Taken = "taken",
        /// Its holder gave it to somebody else.
        HandedOver = "handed_over",
        /// Its holder gave it back.
        Released = "released",
        /// It was not renewed in time.
        Expired = "expired",
        /// An administrator took it away.
        Forced = "forced",
    }
}

words! {
    /// How much an alert matters, in ascending order.
    Severity {
        /// Good to know.
        Info = "info",
        /// Somebody should look.
        Warning = "warning",
        /// Somebody should look now.
        Critical = "critical",
    }
}

impl Authority {
    /// Returns whether it is that of our own analysers, with whatever weight.
    pub const fn is_own(self) -> bool {
        matches!(self, Self::Own | Self::OwnLeading)
    }
}

impl Role {
    /// Returns whether turns of this role are speech between people and agents, rather than machinery.
    pub const fn is_spoken(self) -> bool {
        matches!(self, Self::Agent | Self::User | Self::HumanAgent)
    }
}
