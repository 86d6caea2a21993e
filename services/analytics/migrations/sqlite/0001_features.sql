-- What queries and alert rules ask of a conversation: one flat row. Names are explained by the schema (src/query/schema.rs).
create table features (
    organization_id text not null,
    conversation_id blob not null,
    -- Everything up to here is in the row.
    position integer not null,
    settled integer not null,
    provider text not null,
    external_id text not null,
    agent_id text,
    agent_version_id text,
    client_id text,
    user_id text,
    caller text,
    channel text,
    direction text,
    status text not null,
    end_reason text,
    failure_code text,
    call_successful text not null,
    outcome text,
    resolution_status text not null,
    sentiment text,
    intent text,
    language text,
    created_at integer not null,
    started_at integer,
    ended_at integer,
    duration_ms integer,
    turn_count integer not null,
    exchanges integer,
    agent_talk_ms integer,
    user_talk_ms integer,
    talk_ratio real,
    agent_words_per_minute real,
    user_words_per_minute real,
    silence_ms integer,
    longest_silence_ms integer,
    silence_count integer,
    hold_ms integer,
    interruptions_by_user integer,
    interruptions_by_agent integer,
    response_latency_ms real,
    response_latency_p95_ms real,
    response_latency_max_ms real,
    sentiment_score real,
    sentiment_shift real,
    satisfaction_score real,
    caller_rating real,
    inferred_satisfaction real,
    technical_quality real,
    error_count integer not null,
    cost_micros integer,
    cost_currency text,
    primary key (organization_id, conversation_id)
) strict;
create index features_created_at on features (organization_id, created_at, conversation_id);
create index features_ended_at on features (organization_id, ended_at);

-- What a conversation has several of. `kind` is `topic`, `tag`, `keyword` or `error`.
create table feature_words (
    organization_id text not null,
    conversation_id blob not null,
    kind text not null,
    word text not null,
    -- Where it stands among those of its kind, from 0.
    place integer not null default 0,
    primary key (organization_id, conversation_id, kind, word)
) strict, without rowid;
create index feature_words_by_word on feature_words (organization_id, kind, word, conversation_id);

-- Values that were extracted by name. A truth is 0 or 1; a value is a text or a number.
create table feature_values (
    organization_id text not null,
    conversation_id blob not null,
    name text not null,
    text_value text,
    number_value real,
    primary key (organization_id, conversation_id, name)
) strict, without rowid;
create index feature_values_by_name on feature_values (organization_id, name, conversation_id);

-- The whole analysis: compressed JSON.
create table analyses (
    organization_id text not null,
    conversation_id blob not null,
    -- Counts the judgements of our own that were appended to the log, and the SHA-256 of the last one.
    revision integer not null default 0,
    told blob,
    -- Whether those who listen were told that the conversation is over.
    announced integer not null default 0,
    analysis blob not null,
    primary key (organization_id, conversation_id)
) strict;

-- Conversations of which something new was heard since they were analysed, and those that are still going on.
create table analysis_queue (
    organization_id text not null,
    conversation_id blob not null,
    -- The last thing that was heard.
    position integer not null,
    -- The first of what is not in the figures yet, and when it was received: nothing younger is surely in them. Null when all is.
    first_position integer,
    received_at integer,
    -- When it is to be analysed; null when all is in the figures.
    due_at integer,
    -- The same of what was heard since a worker took it, and when that is due if it cannot wait.
    later_position integer,
    later_received_at integer,
    later_urgent_at integer,
    -- While it goes on it is not analysed again before this, unless somebody waits for it.
    not_before integer not null default 0,
    -- Who is at work on it, and until when that is to be believed.
    claimed_by blob,
    claimed_until integer not null default 0,
    -- How often it could not be analysed.
    failures integer not null default 0,
    primary key (organization_id, conversation_id)
) strict, without rowid;
create index analysis_queue_due on analysis_queue (due_at) where due_at is not null;
create index analysis_queue_first on analysis_queue (organization_id, first_position) where first_position is not null;
create index analysis_queue_received on analysis_queue (organization_id, received_at) where received_at is not null;

-- Organizations that were seen, with how their conversations are analysed. `settings` is JSON; absent while it is the default.
create table organizations (
    organization_id text not null primary key,
    seen_at integer not null,
    settings text
) strict, without rowid;

-- Hours (since the epoch, UTC) in which conversations changed that the rollups do not know of yet. Written together with the features.
create table rollup_dirty (
    organization_id text not null,
    hour integer not null,
    -- Counts the changes, so that one which comes while the hour is rolled up is not lost.
    changes integer not null,
    primary key (organization_id, hour)
) strict, without rowid;

-- How far each reader has read, and when what it read last was received; written together with what it read.
create table reader_positions (
    reader text not null primary key,
    position integer not null,
    received_at integer not null default 0
) strict, without rowid;

-- Records that could not be read. The log still holds them.
create table set_aside (
    organization_id text not null,
    record_id blob not null,
    sequence integer not null,
    reason text not null,
    set_aside_at integer not null,
    primary key (organization_id, record_id)
) strict;

-- Events that say what this release does not know, until one that does picks them up. The bytes are as the log has them.
create table unknown_events (
    organization_id text not null,
    conversation_id blob not null,
    event_id blob not null,
    position integer not null,
    received_at integer not null,
    event blob not null,
    primary key (organization_id, conversation_id, event_id)
) strict;
