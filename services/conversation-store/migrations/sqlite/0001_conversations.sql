-- How far the view is, and the ascending version of its lists. One row.
create table view_state (
    id integer primary key check (id = 1),
    position integer not null,
    version integer not null,
    -- The greatest version a page token was issued for, and when: what changed since must be remembered for those tokens.
    issued integer not null,
    issued_at integer not null
) strict;
insert into view_state (id, position, version, issued, issued_at) values (1, 0, 0, 0, 0);

-- The events of each conversation's course, whole. Those about turns are in conversations.turns.
create table events (
    organization_id text not null,
    conversation_id blob not null,
    event_id blob not null,
    received_at integer not null,
    event blob not null,
    primary key (organization_id, conversation_id, event_id)
) strict, without rowid;

create table conversations (
    organization_id text not null,
    conversation_id blob not null,
    provider text not null,
    external_id blob not null,
    -- 0 ended, 1 live, 2 live in a channel of messages: what the sweeper looks for.
    live integer not null,
    last_received_at integer not null,
    -- What lists filter and sort by. Values too long for an index are null here.
    agent_id text,
    agent_version_id text,
    client_id text,
    user_id text,
    caller text,
    channel text,
    status text not null,
    call_successful text not null,
    resolution_status text not null,
    outcome text,
    sentiment text,
    language text,
    created_at integer not null,
    duration_ms integer,
    turn_count integer not null,
    satisfaction_score real,
    -- The version at which the columns above became what they are.
    list_version integer not null,
    record blob not null,
    turns blob not null,
    primary key (organization_id, conversation_id)
) strict, without rowid;

create index conversations_by_created on conversations (organization_id, created_at desc, conversation_id);
create index conversations_by_duration on conversations (organization_id, duration_ms desc, conversation_id);
create index conversations_by_turns on conversations (organization_id, turn_count desc, conversation_id);
create index conversations_by_satisfaction on conversations (organization_id, satisfaction_score desc, conversation_id);
create index conversations_by_agent on conversations (organization_id, agent_id, created_at desc, conversation_id)
    where agent_id is not null;
create index conversations_by_agent_version on conversations (organization_id, agent_id, agent_version_id, created_at)
    where agent_version_id is not null;
create index conversations_by_client on conversations (organization_id, client_id, created_at desc, conversation_id)
    where client_id is not null;
create index conversations_by_user on conversations (organization_id, user_id, created_at desc, conversation_id)
    where user_id is not null;
create index conversations_by_caller on conversations (organization_id, caller, created_at desc, conversation_id)
    where caller is not null;
create index conversations_by_provider on conversations (organization_id, provider, created_at desc, conversation_id);
create index conversations_by_channel on conversations (organization_id, channel, created_at desc, conversation_id)
    where channel is not null;
create index conversations_by_status on conversations (organization_id, status, created_at desc, conversation_id);
create index conversations_by_success on conversations (organization_id, call_successful, created_at desc, conversation_id);
create index conversations_by_resolution on conversations (organization_id, resolution_status, created_at desc, conversation_id);
create index conversations_by_outcome on conversations (organization_id, outcome, created_at desc, conversation_id)
    where outcome is not null;
create index conversations_by_sentiment on conversations (organization_id, sentiment, created_at desc, conversation_id)
    where sentiment is not null;
create index conversations_by_language on conversations (organization_id, language, created_at desc, conversation_id)
    where language is not null;
create index conversations_live on conversations (live, last_received_at) where live > 0;

-- The tags and topics of each conversation, with what lists sort by.
create table conversation_words (
    organization_id text not null,
    -- 'tag' or 'topic'.
    kind text not null,
    word text not null,
    created_at integer not null,
    conversation_id blob not null,
    primary key (organization_id, kind, word, created_at desc, conversation_id)
) strict, without rowid;

-- What list columns were before they changed, for as long as a page token may ask.
create table conversation_list_history (
    organization_id text not null,
    valid_to integer not null,
    conversation_id blob not null,
    valid_from integer not null,
    changed_at integer not null,
    provider text not null,
    agent_id text,
    client_id text,
    user_id text,
    caller text,
    channel text,
    status text not null,
    call_successful text not null,
    resolution_status text not null,
    outcome text,
    sentiment text,
    language text,
    created_at integer not null,
    duration_ms integer,
    turn_count integer not null,
    satisfaction_score real,
    -- JSON arrays.
    tags text not null,
    topics text not null,
    primary key (organization_id, valid_to, conversation_id)
) strict, without rowid;
create index conversation_list_history_by_age on conversation_list_history (changed_at);

-- Agents, by how many conversations they led. Everything else about them is read from those conversations.
create table agents (
    organization_id text not null,
    agent_id text not null,
    provider text not null,
    conversation_count integer not null,
    primary key (organization_id, agent_id, provider)
) strict, without rowid;

create table agent_versions (
    organization_id text not null,
    agent_id text not null,
    provider text not null,
    agent_version_id text not null,
    conversation_count integer not null,
    -- The settings as the conversation that began last brought them, if any did.
    snapshot_at integer,
    snapshot blob,
    primary key (organization_id, agent_id, provider, agent_version_id)
) strict, without rowid;

create table recordings (
    organization_id text not null,
    conversation_id blob not null,
    -- 'mixed', 'user' or 'agent'.
    channel text not null,
    -- 'remote' (to be fetched), 'stored' or 'failed'.
    state text not null,
    url text,
    object_key text,
    sha256 text,
    size_bytes integer,
    content_type text,
    duration_ms integer,
    -- Tries to fetch it so far, and when the next one is due.
    attempts integer not null,
    next_attempt_at integer not null,
    primary key (organization_id, conversation_id, channel)
) strict, without rowid;
create index recordings_due on recordings (next_attempt_at) where state = 'remote';

-- Records that could not be folded, kept so that they can be looked at and read again.
create table set_aside (
    organization_id text not null,
    record_id blob not null,
    sequence integer not null,
    set_aside_at integer not null,
    reason text not null,
    record blob not null,
    primary key (organization_id, record_id)
) strict, without rowid;
