-- The conversations that run, and for a while those that ran: what it takes to steer them. Made from the log.
create table conversations (
    organization_id text not null,
    conversation_id blob not null,
    provider text not null,
    external_id text not null,
    source_id blob,
    agent_id text,
    channel text,
    -- Who knows it can steer the conversation; gone once it has ended.
    control_url text,
    -- Whether somebody said that it ended.
    ended integer not null,
    -- Positions in the log: of the last end that was only inferred, and of the last sign of life known since; 0 without.
    inferred_end integer not null,
    alive integer not null,
    -- The last number given to a command or an event of this service in this conversation.
    numbered integer not null,
    updated_at integer not null,
    primary key (organization_id, conversation_id)
) strict, without rowid;
create index conversations_that_ended on conversations (updated_at) where ended or inferred_end > alive;

-- Who holds a conversation.
create table leases (
    organization_id text not null,
    conversation_id blob not null,
    lease_id blob not null,
    -- The command that took it.
    command_id blob not null,
    holder text not null,
    key_id text not null,
    taken_at integer not null,
    expires_at integer not null,
    primary key (organization_id, conversation_id)
) strict, without rowid;
create index leases_by_expiry on leases (expires_at);

-- Commands, and what became of them.
create table commands (
    organization_id text not null,
    command_id blob not null,
    conversation_id blob not null,
    -- Whether an own agent carries it out.
    native integer not null,
    number integer not null,
    kind text not null,
    -- What to say or to inject.
    content text,
    destination text,
    muted integer,
    holder text not null,
    lease_id blob,
    idempotency_key text,
    state text not null,
    reason text,
    detail text,
    accepted_at integer not null,
    finished_at integer,
    -- The position of its `control.accepted`; absent until the log has it.
    position integer,
    -- Until when a worker has it; 0 when none does.
    claimed_until integer not null,
    -- How often somebody set about it, so that it may have been carried out.
    attempts integer not null,
    primary key (organization_id, command_id)
) strict, without rowid;
create unique index commands_in_order on commands (organization_id, conversation_id, number);
create unique index commands_by_key on commands (organization_id, conversation_id, idempotency_key)
    where idempotency_key is not null;
create index commands_to_do on commands (accepted_at) where state = 'accepted';

-- Events that the log does not have yet, in the order of each conversation.
create table announcements (
    organization_id text not null,
    conversation_id blob not null,
    number integer not null,
    event_id blob not null,
    -- The command that is accepted by it.
    command_id blob,
    occurred_at integer not null,
    -- JSON: type and data.
    event text not null,
    primary key (organization_id, conversation_id, number)
) strict, without rowid;

-- How far each reader has read; written together with what it read.
create table reader_positions (
    reader text not null primary key,
    position integer not null
) strict, without rowid;

-- Records that could not be read. The log still holds them.
create table set_aside (
    organization_id text not null,
    record_id blob not null,
    sequence integer not null,
    reason text not null,
    set_aside_at integer not null,
    primary key (organization_id, record_id)
) strict, without rowid;

-- Events that say what this release does not know, until one that does picks them up. The bytes are as the log has them.
create table unknown_events (
    organization_id text not null,
    conversation_id blob not null,
    event_id blob not null,
    position integer not null,
    received_at integer not null,
    event blob not null,
    primary key (organization_id, conversation_id, event_id)
) strict, without rowid;
