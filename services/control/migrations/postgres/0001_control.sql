-- The conversations that run, and for a while those that ran: what it takes to steer them. Made from the log.
create table conversations (
    organization_id text collate "C" not null,
    conversation_id uuid not null,
    provider text not null,
    external_id text not null,
    source_id uuid,
    agent_id text,
    channel text,
    -- Who knows it can steer the conversation; gone once it has ended.
    control_url text,
    -- Whether somebody said that it ended.
    ended boolean not null,
    -- Positions in the log: of the last end that was only inferred, and of the last sign of life known since; 0 without.
    inferred_end bigint not null,
    alive bigint not null,
    -- The last number given to a command or an event of this service in this conversation.
    numbered bigint not null,
    updated_at bigint not null,
    primary key (organization_id, conversation_id)
);
create index conversations_that_ended on conversations (updated_at) where ended or inferred_end > alive;

-- Who holds a conversation.
create table leases (
    organization_id text collate "C" not null,
    conversation_id uuid not null,
    lease_id uuid not null,
    -- The command that took it.
    command_id uuid not null,
    holder text not null,
    key_id text not null,
    taken_at bigint not null,
    expires_at bigint not null,
    primary key (organization_id, conversation_id)
);
create index leases_by_expiry on leases (expires_at);

-- Commands, and what became of them.
create table commands (
    organization_id text collate "C" not null,
    command_id uuid not null,
    conversation_id uuid not null,
    -- Whether an own agent carries it out.
    native boolean not null,
    number bigint not null,
    kind text not null,
    -- What to say or to inject.
    content text,
    destination text,
    muted boolean,
    holder text not null,
    lease_id uuid,
    idempotency_key text,
    state text not null,
    reason text,
    detail text,
    accepted_at bigint not null,
    finished_at bigint,
    -- The position of its `control.accepted`; absent until the log has it.
    position bigint,
    -- Until when a worker has it; 0 when none does.
    claimed_until bigint not null,
    -- How often somebody set about it, so that it may have been carried out.
    attempts bigint not null,
    primary key (organization_id, command_id)
);
create unique index commands_in_order on commands (organization_id, conversation_id, number);
create unique index commands_by_key on commands (organization_id, conversation_id, idempotency_key)
    where idempotency_key is not null;
create index commands_to_do on commands (accepted_at) where state = 'accepted';

-- Events that the log does not have yet, in the order of each conversation.
create table announcements (
    organization_id text collate "C" not null,
    conversation_id uuid not null,
    number bigint not null,
    event_id uuid not null,
    -- The command that is accepted by it.
    command_id uuid,
    occurred_at bigint not null,
    -- JSON: type and data.
    event text not null,
    primary key (organization_id, conversation_id, number)
);

-- How far each reader has read; written together with what it read.
create table reader_positions (
    reader text not null primary key,
    position bigint not null
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
