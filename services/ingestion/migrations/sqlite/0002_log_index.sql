-- Where the events of the JetStream log are: how a repeat is recognised, and how an erasure finds what it erases. The log itself is
-- in JetStream; whatever is missing here is completed from it.
create table log_events (
    organization_id text not null,
    conversation_id blob not null,
    event_id blob not null,
    -- The number of its record. A record can be there twice when two replicas took it at the same instant.
    sequence integer not null,
    primary key (organization_id, conversation_id, event_id, sequence)
) strict, without rowid;
create index log_events_by_sequence on log_events (sequence);

-- Conversations that were erased: later events of theirs are dropped.
create table log_erasures (
    organization_id text not null,
    conversation_id blob not null,
    erased_at integer not null,
    primary key (organization_id, conversation_id)
) strict, without rowid;

-- The streams there have been, one after the other. A record's number is its number in the stream plus the offset, so that
-- numbers go on when a stream was lost and made anew. Of the installation, not of an organization.
create table log_epochs (
    epoch integer primary key,
    number_offset integer not null,
    -- Every record up to this number is in log_events.
    indexed_through integer not null,
    -- Numbers up to this one were given out, although the stream may have lost their records.
    used_through integer not null
) strict;
