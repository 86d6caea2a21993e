-- What is kept of the events a transcript is made of: of each lane the greatest. Reading a conversation is one range of the key.
create table transcript_events (
    organization_id text not null,
    conversation_id blob not null,
    lane blob not null,
    rank blob not null,
    data blob not null,
    primary key (organization_id, conversation_id, lane)
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
