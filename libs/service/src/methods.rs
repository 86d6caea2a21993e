//! The methods there are, and what a caller may assume of each. A path is what a caller wrote; only one that names a method may
//! stand in a span or a label.

use std::collections::HashMap;
use std::sync::LazyLock;

use prost::Message;
use prost_types::FileDescriptorSet;

/// What every path is called that names no method.
const UNKNOWN: &str = "unknown";

/// Methods that may be called again when nobody knows whether the first call arrived: whatever only reads, and what writes
/// under ids that come with the request, so that a repeat changes nothing.
///
/// `ReadRecording` answers with a stream: it is called again only while the stream has not begun. `Consume` and `Tail` are not
/// here, since their callers begin again by themselves, from where they were.
const IDEMPOTENT: &[&str] = &[
    "colloquy.access.v1.AccessService/Authenticate",
    "colloquy.access.v1.AccessService/GetOrganization",
    "colloquy.access.v1.AccessService/ListApiKeys",
    "colloquy.analytics.v1.AlertService/BacktestAlertRule",
    "colloquy.analytics.v1.AlertService/GetAlertRule",
    "colloquy.analytics.v1.AlertService/ListAlertRules",
    "colloquy.analytics.v1.AlertService/ListAlerts",
    "colloquy.analytics.v1.AnalyticsService/CompareAnalytics",
    "colloquy.analytics.v1.AnalyticsService/FindPatterns",
    "colloquy.analytics.v1.AnalyticsService/GetAnalysisSettings",
    "colloquy.analytics.v1.AnalyticsService/GetAnalyticsSchema",
    "colloquy.analytics.v1.AnalyticsService/GetConversationAnalytics",
    "colloquy.analytics.v1.AnalyticsService/ListAgentPerformance",
    "colloquy.analytics.v1.AnalyticsService/QueryAnalytics",
    "colloquy.analytics.v1.AnalyzerService/CompareAnalyzerVersions",
    "colloquy.analytics.v1.AnalyzerService/GetAnalyzer",
    "colloquy.analytics.v1.AnalyzerService/GetBackfill",
    "colloquy.analytics.v1.AnalyzerService/ListAnalyzerRuns",
    "colloquy.analytics.v1.AnalyzerService/ListAnalyzers",
    "colloquy.conversation.v1.ConversationService/BatchGetConversations",
    "colloquy.conversation.v1.ConversationService/GetAgent",
    "colloquy.conversation.v1.ConversationService/GetConversation",
    "colloquy.conversation.v1.ConversationService/ListAgents",
    "colloquy.conversation.v1.ConversationService/ListConversationEvents",
    "colloquy.conversation.v1.ConversationService/ListConversations",
    "colloquy.control.v1.ControlService/GetControl",
    // An answer that is there already stays as it is.
    "colloquy.control.v1.ControlService/ReportCommand",
    "colloquy.conversation.v1.RecordingService/ReadRecording",
    // Events are known by their ids: those that are there already are counted and dropped.
    "colloquy.ingestion.v1.IngestionService/IngestEvents",
    "colloquy.ingestion.v1.IngestionService/ListQuarantine",
    "colloquy.ingestion.v1.SourceService/GetSource",
    "colloquy.ingestion.v1.SourceService/GetSourceCredentials",
    "colloquy.ingestion.v1.SourceService/ListSources",
    // Likewise.
    "colloquy.log.v1.EventLogService/Append",
    "colloquy.log.v1.EventLogService/GetConsumer",
    "colloquy.log.v1.EventLogService/ListConsumers",
    "colloquy.notification.v1.WebhookService/GetWebhookEndpoint",
    "colloquy.notification.v1.WebhookService/ListWebhookDeliveries",
    "colloquy.notification.v1.WebhookService/ListWebhookEndpoints",
    "colloquy.notification.v1.WebhookService/ListWebhookEventTypes",
    "colloquy.transcript.v1.TranscriptService/BatchGetTranscripts",
    "colloquy.transcript.v1.TranscriptService/GetFigures",
    "colloquy.transcript.v1.TranscriptService/GetTranscript",
    "colloquy.transcript.v1.TranscriptService/MatchConversations",
    "colloquy.transcript.v1.TranscriptService/RenderTranscript",
    "colloquy.transcript.v1.TranscriptService/SearchTurns",
];

/// Methods whose streams have no end of their own. A connection that is to be closed ends them; whoever reads begins again.
const ENDLESS: &[&str] = &[
    "/colloquy.control.v1.ControlService/Subscribe",
    "/colloquy.log.v1.EventLogService/Consume",
    "/colloquy.log.v1.EventLogService/Tail",
    HEALTH_WATCH,
];

/// Comes from a library, which knows of no stop.
const HEALTH_WATCH: &str = "/grpc.health.v1.Health/Watch";

/// One method of the contract.
#[derive(Debug)]
pub(crate) struct Method {
    /// Its name, for example `colloquy.log.v1.EventLogService/Append`.
    pub(crate) name: String,
    /// Whether a call is one message, and so can be sent again.
    pub(crate) one_request: bool,
    /// Whether an answer is one message, and so has an end.
    pub(crate) one_answer: bool,
    /// Whether a call may be made again when nobody knows whether the first one arrived.
    pub(crate) idempotent: bool,
}

static METHODS: LazyLock<HashMap<String, Method>> = LazyLock::new(|| {
    // Embedded by the build, and read by reflection as well.
    let described = FileDescriptorSet::decode(colloquy_proto::FILE_DESCRIPTOR_SET).unwrap_or_default();
    let mut methods = HashMap::new();
    for file in &described.file {
        for service in &file.service {
            for method in &service.method {
                let name = format!("{}.{}/{}", file.package(), service.name(), method.name());
                let (one_request, one_answer) = (!method.client_streaming(), !method.server_streaming());
                let idempotent = IDEMPOTENT.contains(&name.as_str());
                methods.insert(format!("/{name}"), Method { name, one_request, one_answer, idempotent });
            }
        }
    }
    methods
});

/// Returns the method a path names.
pub(crate) fn find(path: &str) -> Option<&'static Method> {
    METHODS.get(path)
}

/// Returns the name of the method a path names: `colloquy.log.v1.EventLogService/Append`, or `unknown`.
pub(crate) fn known(path: &str) -> &'static str {
    find(path).map_or(UNKNOWN, |method| method.name.as_str())
}

/// Returns whether a path names a method whose streams have no end of their own.
pub(crate) fn is_endless(path: &str) -> bool {
    ENDLESS.contains(&path)
}

/// Returns whether a path names an endless method whose streams nobody ends when the process stops.
pub(crate) fn is_unattended(path: &str) -> bool {
    path == HEALTH_WATCH
}

impl Method {
    /// Returns the service that serves the method, as it is called in settings and metrics.
    pub(crate) fn service(&self) -> &'static str {
        match self.name.split('.').nth(1) {
            Some("access") => "access",
            Some("analytics") => "analytics",
            Some("control" | "notification") => "notification",
            Some("conversation") => "conversation-store",
            Some("ingestion" | "log") => "ingestion",
            Some("transcript") => "transcript",
            _ => UNKNOWN,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_methods_are_named() {
        assert_eq!(known("/colloquy.log.v1.EventLogService/Append"), "colloquy.log.v1.EventLogService/Append");
        for odd in ["", "/", "colloquy.log.v1.EventLogService/Append", "/colloquy.log.v1.EventLogService/+12025550177"] {
            assert_eq!(known(odd), "unknown", "{odd}");
        }
    }

    #[test]
    fn every_method_of_the_tables_exists() {
        for name in IDEMPOTENT {
            let method = find(&format!("/{name}")).unwrap_or_else(|| panic!("there is no method {name}"));
            assert!(method.idempotent && method.one_request, "{name} cannot be sent again");
        }
        for path in ENDLESS.iter().filter(|path| path.starts_with("/colloquy.")) {
            let method = find(path).unwrap_or_else(|| panic!("there is no method {path}"));
            assert!(!method.one_answer, "{path} answers once");
        }
    }

    #[test]
    fn every_method_that_only_reads_is_idempotent() {
        for method in METHODS.values().filter(|method| method.one_request && method.one_answer) {
            let verb = method.name.rsplit('/').next().unwrap_or_default();
            if ["Get", "List", "Query"].iter().any(|reading| verb.starts_with(reading)) {
                assert!(method.idempotent, "{} only reads and is not in the table", method.name);
            }
        }
    }

    #[test]
    fn every_method_has_a_service() {
        for method in METHODS.values().filter(|method| method.name.starts_with("colloquy.")) {
            assert_ne!(method.service(), UNKNOWN, "{}", method.name);
        }
    }
}
