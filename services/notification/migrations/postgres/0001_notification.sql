-- Who is told, of what, and how.
create table endpoints (
    organization_id text collate "C" not null,
    endpoint_id uuid not null,
    kind text not null,
    url text not null,
    description text not null,
    -- A JSON array.
    event_types text not null,
    agent_id text,
    client_id text,
    channel text,
    ordered boolean not null,
    enabled boolean not null,
    rate_limit bigint,
    sealed_headers bytea,
    -- A JSON array.
    header_names text not null,
    secret bytea not null,
    previous_secret bytea,
    previous_secret_expires_at bigint,
    failing_since bigint,
    disabled_reason text,
    created_at bigint not null,
    updated_at bigint not null,
    revision bigint not null,
    primary key (organization_id, endpoint_id)
) with (fillfactor = 70);
create index endpoints_newest on endpoints (organization_id, created_at);

-- Changes whenever an endpoint does.
create table endpoints_version (
    id bigint not null primary key check (id = 1),
    version bigint not null
);
insert into endpoints_version (id, version) values (1, 0);

-- Endpoints that were removed, until their deliveries are too.
create table gone_endpoints (
    organization_id text collate "C" not null,
    endpoint_id uuid not null,
    primary key (organization_id, endpoint_id)
);

-- What the endpoints' filters ask about a conversation.
create table conversations (
    organization_id text collate "C" not null,
    conversation_id uuid not null,
    agent_id text,
    client_id text,
    channel text,
    -- When it was last heard of, to the day.
    heard_at bigint not null,
    primary key (organization_id, conversation_id)
);
create index conversations_heard_at on conversations (heard_at);

-- What is told, once for all endpoints. The messages of a conversation lie side by side, since their ids are spread at random.
create table messages (
    organization_id text collate "C" not null,
    conversation_id uuid not null,
    message_id uuid not null,
    event_type text collate "C" not null,
    position bigint not null,
    at bigint not null,
    -- Compressed already where that helps; null until it is made.
    body bytea,
    -- Whether the log told of it; otherwise it was added by hand, and the log may still.
    from_log boolean not null,
    kept_at bigint not null,
    primary key (organization_id, conversation_id, message_id)
);
alter table messages alter column body set storage external;
create index messages_kept_at on messages (kept_at);

-- The queue: deliveries that have not ended. A row goes to `ended` when it has, so this stays small, whatever was delivered
-- before.
create table pending (
    organization_id text collate "C" not null,
    endpoint_id uuid not null,
    delivery_id uuid not null,
    message_id uuid not null,
    conversation_id uuid not null,
    position bigint not null,
    event_type text collate "C" not null,
    schedule_attempts bigint not null,
    attempt_count bigint not null,
    next_attempt_at bigint not null,
    -- When it may be claimed: when its next attempt is due, or while somebody holds it, when the claim runs out. Null while an
    -- ordered delivery waits for an earlier one, or for the log.
    due_at bigint,
    -- Whether it is one of a lane: the deliveries of one conversation to an endpoint that is told in order. Of a lane, one at
    -- most has `due_at`.
    ordered boolean not null,
    -- The first of its lane waits for the log: what is read out of turn may still bring an earlier one.
    beyond boolean not null,
    created_at bigint not null,
    -- A line of JSON each, oldest first.
    attempts text not null,
    primary key (organization_id, endpoint_id, delivery_id)
) with (autovacuum_vacuum_scale_factor = 0.05, autovacuum_vacuum_threshold = 5000, autovacuum_analyze_scale_factor = 0.2);
create index pending_due on pending (organization_id, endpoint_id, due_at) where due_at is not null;
-- For lists alone, which say that the type is not empty, and none is: without statistics the planner would otherwise take it to find
-- a delivery by its key, and read all of an endpoint's entries for each.
create index pending_newest on pending (organization_id, endpoint_id, event_type, created_at, delivery_id) where event_type > '';
create index pending_lane on pending (organization_id, endpoint_id, conversation_id, position, delivery_id) where ordered;
create index pending_lane_at_work on pending (organization_id, endpoint_id, conversation_id) where ordered and due_at is not null;
create index pending_beyond on pending (position) where beyond;

-- Deliveries that have ended.
create table ended (
    organization_id text collate "C" not null,
    endpoint_id uuid not null,
    delivery_id uuid not null,
    message_id uuid not null,
    conversation_id uuid not null,
    position bigint not null,
    event_type text collate "C" not null,
    status text collate "C" not null,
    schedule_attempts bigint not null,
    attempt_count bigint not null,
    created_at bigint not null,
    ended_at bigint not null,
    -- As in `pending`.
    attempts text not null,
    primary key (organization_id, endpoint_id, delivery_id)
);
create index ended_newest on ended (organization_id, endpoint_id, status, event_type, created_at, delivery_id)
    where event_type > '';
create index ended_at on ended (ended_at);

-- Replays under way.
create table replays (
    organization_id text collate "C" not null,
    replay_id uuid not null,
    endpoint_id uuid not null,
    request bytea not null,
    page_token text not null,
    -- When somebody may go on with it.
    due_at bigint not null,
    primary key (organization_id, replay_id)
);
create index replays_due on replays (due_at);

-- How far each reader has read; written together with what it read.
create table reader_positions (
    reader text not null primary key,
    position bigint not null
) with (fillfactor = 50);
insert into reader_positions (reader, position) values ('notification', 0);

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
