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
