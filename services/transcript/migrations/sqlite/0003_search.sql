-- What an organization is called in the index: its number stands before each of its words, so that a word's postings are those of one
-- organization alone.
create table search_organizations (
    number integer primary key,
    organization_id text not null unique
) strict;

-- Who leads a conversation, as far as it is known, and the rank of the event that said so.
create table search_conversations (
    organization_id text not null,
    conversation_id blob not null,
    agent_id text,
    agent_rank blob not null,
    primary key (organization_id, conversation_id)
) strict, without rowid;

-- The turns that can be found. Their words are in the index alone; what was said is in transcript_events.
create table search_turns (
    -- Begins with when it was said (see Place), so that the index has the turns in that order.
    id integer primary key,
    organization_id text not null,
    conversation_id blob not null,
    turn_id blob not null,
    -- Its place in the transcript, from 0.
    number integer not null,
    role integer not null,
    agent_id text,
    -- When it was said.
    at integer not null,
    -- How many words it has.
    length integer not null,
    -- Of its words: which tokens were indexed.
    hash integer not null,
    unique (organization_id, conversation_id, turn_id)
) strict;

-- The index. It holds no text, and of the tokens it is given only ASCII letters are case folded, which they are already.
create virtual table search_words using fts5 (words, content='', contentless_delete=1, tokenize='ascii');
