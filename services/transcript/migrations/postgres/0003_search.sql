-- What an organization is called in the index: its number stands before each of its words, so that a word's postings are those of one
-- organization alone.
create table search_organizations (
    organization_id text collate "C" not null primary key,
    number bigint generated always as identity unique
);

-- Who leads a conversation, as far as it is known, and the rank of the event that said so. Whoever indexes a conversation holds its row.
create table search_conversations (
    organization_id text collate "C" not null,
    conversation_id uuid not null,
    agent_id text,
    agent_rank bytea not null,
    primary key (organization_id, conversation_id)
);

-- The turns that can be found. Their words are in the index alone; what was said is in transcript_events.
create table search_turns (
    organization_id text collate "C" not null,
    conversation_id uuid not null,
    turn_id uuid not null,
    -- Its place in the transcript, from 0.
    number integer not null,
    role smallint not null,
    agent_id text,
    -- When it was said.
    at bigint not null,
    -- How many words it has.
    length integer not null,
    -- Of its words: which tokens were indexed.
    hash bigint not null,
    words tsvector not null,
    primary key (organization_id, conversation_id, turn_id)
);
-- New rows wait in a short list, which the reader empties after each batch: many at once are put into the index far faster.
create index search_turns_words on search_turns using gin (words) with (fastupdate = on, gin_pending_list_limit = 1024);
