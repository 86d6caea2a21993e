-- What is kept of the events a transcript is made of: of each lane the greatest. Reading a conversation is one range of the key.
create table transcript_events (
    organization_id text collate "C" not null,
    conversation_id uuid not null,
    lane uuid not null,
    rank bytea not null,
    -- Compressed already where that helps.
    data bytea not null,
    primary key (organization_id, conversation_id, lane)
);
alter table transcript_events alter column data set storage external;

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
