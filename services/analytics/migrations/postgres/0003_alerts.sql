-- Rules that watch conversations, and the alerts they raise.

-- Organizations that have their first rules. `version` counts the changes to its rules, so that replicas notice them by reading one row.
create table alert_organizations (
    organization_id text collate "C" not null primary key,
    version bigint not null
);

-- `definition` is an encoded `colloquy.analytics.v1.AlertRule` with what people chose; the other columns say the same again where
-- statements ask for it.
create table alert_rules (
    organization_id text collate "C" not null,
    rule_id uuid not null,
    definition bytea not null,
    scope text collate "C" not null,
    enabled boolean not null,
    -- After how long a running conversation may come under it without anything being heard, in milliseconds.
    live_after_ms bigint,
    -- How often to tell again, in milliseconds.
    renotify_after_ms bigint,
    muted_until bigint,
    builtin text collate "C",
    created_at bigint not null,
    updated_at bigint not null,
    revision bigint not null,
    primary key (organization_id, rule_id)
);
create index alert_rules_newest on alert_rules (organization_id, created_at, rule_id);
create index alert_rules_live on alert_rules (organization_id, live_after_ms) where live_after_ms is not null and enabled;
create index alert_rules_renotify on alert_rules (organization_id, rule_id) where renotify_after_ms is not null and enabled;

-- Where rules over a window stand.
create table alert_states (
    organization_id text collate "C" not null,
    rule_id uuid not null,
    state text collate "C" not null,
    since bigint not null,
    last_value double precision,
    -- Whether the value was too bad when last there was one, and has not recovered since.
    is_bad boolean not null,
    -- The alert that is open because of it.
    alert_id uuid,
    -- Whether an alert is to be raised that was not, because the rule was muted.
    owed boolean not null,
    -- The last window that was looked at ended then.
    evaluated_until bigint not null,
    -- When to look next; absent while the rule is not enabled.
    due_at bigint,
    primary key (organization_id, rule_id)
);
create index alert_states_due on alert_states (due_at) where due_at is not null;

create table alerts (
    organization_id text collate "C" not null,
    alert_id uuid not null,
    rule_id uuid not null,
    rule_name text collate "C" not null,
    severity text collate "C" not null,
    -- The conversation it is about; absent for those of rules over a window.
    conversation_id uuid,
    provider text collate "C",
    external_id text collate "C",
    state text collate "C" not null,
    opened_at bigint not null,
    -- JSON.
    evidence text collate "C" not null,
    conversation_count bigint not null,
    -- Some of them, newest first: 16 bytes each.
    conversation_ids bytea not null,
    acknowledged_at bigint,
    resolved_at bigint,
    renotified_at bigint,
    renotified bigint not null,
    -- When it was last told of.
    told_at bigint not null,
    primary key (organization_id, alert_id)
);
create index alerts_newest on alerts (organization_id, opened_at, alert_id);
create index alerts_of_rule on alerts (organization_id, rule_id, opened_at, alert_id);
create index alerts_of_conversation on alerts (organization_id, conversation_id) where conversation_id is not null;
create index alerts_untold on alerts (organization_id, rule_id, told_at) where state = 'open';

-- Events that are still to be appended to the log, written together with what they tell of. The event is encoded as the log has it.
create table alert_outbox (
    organization_id text collate "C" not null,
    event_id uuid not null,
    written_at bigint not null,
    ordinal bigint not null,
    event bytea not null,
    primary key (organization_id, event_id)
);
create index alert_outbox_oldest on alert_outbox (written_at, ordinal);

-- Conversations that run: what time alone may bring under a rule.
create index features_live on features (organization_id, created_at) where not settled;
