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
