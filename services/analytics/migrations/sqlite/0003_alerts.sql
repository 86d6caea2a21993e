-- Rules that watch conversations, and the alerts they raise.

-- Organizations that have their first rules. `version` counts the changes to its rules, so that replicas notice them by reading one row.
create table alert_organizations (
    organization_id text not null primary key,
    version integer not null
) strict, without rowid;

-- `definition` is an encoded `colloquy.analytics.v1.AlertRule` with what people chose; the other columns say the same again where
-- statements ask for it.
create table alert_rules (
    organization_id text not null,
    rule_id blob not null,
    definition blob not null,
    scope text not null,
    enabled integer not null,
    -- After how long a running conversation may come under it without anything being heard, in milliseconds.
    live_after_ms integer,
    -- How often to tell again, in milliseconds.
    renotify_after_ms integer,
    muted_until integer,
    builtin text,
    created_at integer not null,
    updated_at integer not null,
    revision integer not null,
    primary key (organization_id, rule_id)
) strict;
create index alert_rules_newest on alert_rules (organization_id, created_at, rule_id);
create index alert_rules_live on alert_rules (organization_id, live_after_ms) where live_after_ms is not null and enabled;
create index alert_rules_renotify on alert_rules (organization_id, rule_id) where renotify_after_ms is not null and enabled;

-- Where rules over a window stand.
create table alert_states (
    organization_id text not null,
    rule_id blob not null,
    state text not null,
    since integer not null,
    last_value real,
    -- Whether the value was too bad when last there was one, and has not recovered since.
    is_bad integer not null,
    -- The alert that is open because of it.
    alert_id blob,
    -- Whether an alert is to be raised that was not, because the rule was muted.
    owed integer not null,
    -- The last window that was looked at ended then.
    evaluated_until integer not null,
    -- When to look next; absent while the rule is not enabled.
    due_at integer,
    primary key (organization_id, rule_id)
) strict;
create index alert_states_due on alert_states (due_at) where due_at is not null;

create table alerts (
    organization_id text not null,
    alert_id blob not null,
    rule_id blob not null,
    rule_name text not null,
    severity text not null,
    -- The conversation it is about; absent for those of rules over a window.
    conversation_id blob,
    provider text,
    external_id text,
    state text not null,
    opened_at integer not null,
    -- JSON.
    evidence text not null,
    conversation_count integer not null,
    -- Some of them, newest first: 16 bytes each.
    conversation_ids blob not null,
    acknowledged_at integer,
    resolved_at integer,
    renotified_at integer,
    renotified integer not null,
    -- When it was last told of.
    told_at integer not null,
    primary key (organization_id, alert_id)
) strict;
create index alerts_newest on alerts (organization_id, opened_at, alert_id);
create index alerts_of_rule on alerts (organization_id, rule_id, opened_at, alert_id);
create index alerts_of_conversation on alerts (organization_id, conversation_id) where conversation_id is not null;
create index alerts_untold on alerts (organization_id, rule_id, told_at) where state = 'open';

-- Events that are still to be appended to the log, written together with what they tell of. The event is encoded as the log has it.
create table alert_outbox (
    organization_id text not null,
    event_id blob not null,
    written_at integer not null,
    ordinal integer not null,
    event blob not null,
    primary key (organization_id, event_id)
) strict;
create index alert_outbox_oldest on alert_outbox (written_at, ordinal);

-- Conversations that run: what time alone may bring under a rule.
create index features_live on features (organization_id, created_at) where not settled;
