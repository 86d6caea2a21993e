-- One row a delivery. A record whose events have all been erased stays as an empty row, so that no sequence is given out twice.
create table records (
    sequence integer primary key,
    organization_id text not null,
    event_count integer not null,
    -- A format byte, then the record without its sequence, organization and raw body (log/embedded/codec.rs).
    body blob not null,
    -- The delivery as it came, zstd; null when it was not kept or has been erased.
    raw_body blob
) strict;

-- Conversations have small numbers here, ascending with their first event: the keys of event_ids are then short, and what is
-- written together stands together, where the ids themselves would scatter every batch over the whole index.
create table conversations (
    organization_id text not null,
    conversation_id blob not null,
    number integer not null,
    -- Since when events of it are dropped; null for those that are not erased.
    erased_at integer,
    primary key (organization_id, conversation_id)
) strict, without rowid;

-- Which events are there, and in which record: what makes repeats vanish, and what an erasure has to visit.
create table event_ids (
    conversation integer not null,
    event_id blob not null,
    sequence integer not null,
    primary key (conversation, event_id)
) strict, without rowid;

-- How far each durable consumer has acknowledged. Services have no organization: theirs is the empty text.
create table consumers (
    organization_id text not null,
    name text not null,
    acknowledged integer not null,
    primary key (organization_id, name)
) strict, without rowid;
