-- What queries and alert rules ask of a conversation: one flat row. Names are explained by the schema (src/query/schema.rs).
create table features (
    organization_id text collate "C" not null,
    conversation_id uuid not null,
    -- Everything up to here is in the row.
    position bigint not null,
    settled boolean not null,
    provider text collate "C" not null,
    external_id text collate "C" not null,
    agent_id text collate "C",
    agent_version_id text collate "C",
    client_id text collate "C",
    user_id text collate "C",
    caller text collate "C",
    channel text collate "C",
    direction text collate "C",
    status text collate "C" not null,
    end_reason text collate "C",
    failure_code text collate "C",
    call_successful text collate "C" not null,
    outcome text collate "C",
    resolution_status text collate "C" not null,
    sentiment text collate "C",
    intent text collate "C",
    language text collate "C",
    created_at bigint not null,
    started_at bigint,
    ended_at bigint,
    duration_ms bigint,
    turn_count bigint not null,
    exchanges bigint,
    agent_talk_ms bigint,
    user_talk_ms bigint,
    talk_ratio double precision,
    agent_words_per_minute double precision,
    user_words_per_minute double precision,
    silence_ms bigint,
    longest_silence_ms bigint,
    silence_count bigint,
    hold_ms bigint,
    interruptions_by_user bigint,
    interruptions_by_agent bigint,
    response_latency_ms double precision,
    response_latency_p95_ms double precision,
    response_latency_max_ms double precision,
    sentiment_score double precision,
    sentiment_shift double precision,
    satisfaction_score double precision,
    caller_rating double precision,
    inferred_satisfaction double precision,
    technical_quality double precision,
    error_count bigint not null,
    cost_micros bigint,
    cost_currency text collate "C",
    primary key (organization_id, conversation_id)
) with (fillfactor = 85);
create index features_created_at on features (organization_id, created_at, conversation_id);
create index features_ended_at on features (organization_id, ended_at);

-- What a conversation has several of. `kind` is `topic`, `tag`, `keyword` or `error`.
create table feature_words (
    organization_id text collate "C" not null,
    conversation_id uuid not null,
    kind text collate "C" not null,
    word text collate "C" not null,
    -- Where it stands among those of its kind, from 0.
    place bigint not null default 0,
    primary key (organization_id, conversation_id, kind, word)
);
create index feature_words_by_word on feature_words (organization_id, kind, word, conversation_id);

-- Values that were extracted by name. A truth is 0 or 1; a value is a text or a number.
create table feature_values (
    organization_id text collate "C" not null,
    conversation_id uuid not null,
    name text collate "C" not null,
    text_value text collate "C",
    number_value double precision,
    primary key (organization_id, conversation_id, name)
);
create index feature_values_by_name on feature_values (organization_id, name, conversation_id);

-- The whole analysis: compressed JSON.
create table analyses (
    organization_id text collate "C" not null,
    conversation_id uuid not null,
    -- Counts the judgements of our own that were appended to the log, and the SHA-256 of the last one.
    revision bigint not null default 0,
    told bytea,
    -- Whether those who listen were told that the conversation is over.
    announced boolean not null default false,
    analysis bytea not null,
    primary key (organization_id, conversation_id)
);
alter table analyses alter column analysis set storage external;

-- Conversations of which something new was heard since they were analysed, and those that are still going on.
create table analysis_queue (
    organization_id text collate "C" not null,
    conversation_id uuid not null,
    -- The last thing that was heard.
    position bigint not null,
    -- The first of what is not in the figures yet, and when it was received: nothing younger is surely in them. Null when all is.
    first_position bigint,
    received_at bigint,
    -- When it is to be analysed; null when all is in the figures.
    due_at bigint,
    -- The same of what was heard since a worker took it, and when that is due if it cannot wait.
    later_position bigint,
    later_received_at bigint,
    later_urgent_at bigint,
    -- While it goes on it is not analysed again before this, unless somebody waits for it.
    not_before bigint not null default 0,
    -- Who is at work on it, and until when that is to be believed.
    claimed_by uuid,
    claimed_until bigint not null default 0,
    -- How often it could not be analysed.
    failures bigint not null default 0,
    primary key (organization_id, conversation_id)
) with (fillfactor = 70, autovacuum_vacuum_scale_factor = 0.05, autovacuum_vacuum_threshold = 5000);
create index analysis_queue_due on analysis_queue (due_at) where due_at is not null;
create index analysis_queue_first on analysis_queue (organization_id, first_position) where first_position is not null;
create index analysis_queue_received on analysis_queue (organization_id, received_at) where received_at is not null;

-- Organizations that were seen, with how their conversations are analysed. `settings` is JSON; absent while it is the default.
create table organizations (
    organization_id text collate "C" not null primary key,
    seen_at bigint not null,
    settings text
);

-- Hours (since the epoch, UTC) in which conversations changed that the rollups do not know of yet. Written together with the features.
create table rollup_dirty (
    organization_id text collate "C" not null,
    hour bigint not null,
    -- Counts the changes, so that one which comes while the hour is rolled up is not lost.
    changes bigint not null,
    primary key (organization_id, hour)
);

-- How far each reader has read, and when what it read last was received; written together with what it read.
create table reader_positions (
    reader text not null primary key,
    position bigint not null,
    received_at bigint not null default 0
);

-- Records that could not be read. The log still holds them.
create table set_aside (
    organization_id text collate "C" not null,
    record_id uuid not null,
    sequence bigint not null,
    reason text not null,
    set_aside_at bigint not null,
    primary key (organization_id, record_id)
);

-- Events that say what this release does not know, until one that does picks them up. The bytes are as the log has them.
create table unknown_events (
    organization_id text collate "C" not null,
    conversation_id uuid not null,
    event_id uuid not null,
    position bigint not null,
    received_at bigint not null,
    event bytea not null,
    primary key (organization_id, conversation_id, event_id)
);
