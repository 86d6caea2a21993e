//! Why conversations end, in one vocabulary. Providers' own words are kept beside as `end_reason_detail`.

/// The person ended it.
pub const USER_ENDED: &str = "user_ended";
/// The agent ended it.
pub const AGENT_ENDED: &str = "agent_ended";
/// It was ended on request of the organization: stopped by hand, cancelled, deleted.
pub const CANCELLED: &str = "cancelled";
/// It was handed to somebody else.
pub const TRANSFERRED: &str = "transferred";
/// A human agent took it over for good.
pub const TAKEN_OVER: &str = "taken_over";
/// A machine answered.
pub const VOICEMAIL: &str = "voicemail";
/// An automatic menu answered.
pub const IVR_REACHED: &str = "ivr_reached";
/// Nobody spoke for too long.
pub const SILENCE_TIMEOUT: &str = "silence_timeout";
/// It reached its greatest length.
pub const MAX_DURATION: &str = "max_duration";
/// The person asked not to be called.
pub const USER_REQUESTED_DNC: &str = "user_requested_dnc";
/// The person asked to be called back.
pub const USER_REQUESTED_CALLBACK: &str = "user_requested_callback";
/// It was over, and nothing says why.
pub const ENDED: &str = "ended";
/// Nobody answered.
pub const NO_ANSWER: &str = "no_answer";
/// The line was busy.
pub const BUSY: &str = "busy";
/// The person declined.
pub const DECLINED: &str = "declined";
/// The person never joined, or never said anything.
pub const USER_NOT_JOINED: &str = "user_not_joined";
/// The call could not be set up.
pub const DIAL_FAILED: &str = "dial_failed";
/// The organization's account did not allow it: payment, limits, permissions.
pub const ACCOUNT_LIMIT: &str = "account_limit";
/// It was refused as spam, fraud or by a block list.
pub const BLOCKED: &str = "blocked";
/// The organization's own side failed: its model, its server, its configuration.
pub const CONFIGURATION_ERROR: &str = "configuration_error";
/// The platform failed.
pub const PLATFORM_ERROR: &str = "platform_error";
/// A supplier of the platform failed.
pub const SUPPLIER_ERROR: &str = "supplier_error";
/// Nothing was heard any more, so Colloquy closed it.
pub const UNKNOWN_END: &str = "unknown_end";

/// Every word of the vocabulary.
pub const ALL: &[&str] = &[
    USER_ENDED,
    AGENT_ENDED,
    CANCELLED,
    TRANSFERRED,
    TAKEN_OVER,
    VOICEMAIL,
    IVR_REACHED,
    SILENCE_TIMEOUT,
    MAX_DURATION,
    USER_REQUESTED_DNC,
    USER_REQUESTED_CALLBACK,
    ENDED,
    NO_ANSWER,
    BUSY,
    DECLINED,
    USER_NOT_JOINED,
    DIAL_FAILED,
    ACCOUNT_LIMIT,
    BLOCKED,
    CONFIGURATION_ERROR,
    PLATFORM_ERROR,
    SUPPLIER_ERROR,
    UNKNOWN_END,
];
