-- What organizations want to know of their conversations, as it is now.
create table analyzers (
    organization_id text not null,
    analyzer_id blob not null,
    name text not null,
    -- A JSON array; an empty one means all agents.
    agent_ids text not null,
    enabled integer not null,
    version integer not null,
    created_at integer not null,
    updated_at integer not null,
    -- Counts changes, so that of two at once one is refused.
    revision integer not null,
    primary key (organization_id, analyzer_id)
) strict;
create index analyzers_created_at on analyzers (organization_id, created_at, analyzer_id);

-- What is asked, by version. Nothing here ever changes, and it outlives its analyzer as runs do.
create table analyzer_versions (
    organization_id text not null,
    analyzer_id blob not null,
    version integer not null,
    -- JSON.
    definition text not null,
    created_at integer not null,
    primary key (organization_id, analyzer_id, version)
) strict;

-- What an analyzer said of a conversation, once. Nothing here ever changes.
create table analyzer_runs (
    organization_id text not null,
    run_id blob not null,
    analyzer_id blob not null,
    version integer not null,
    conversation_id blob not null,
    model text not null,
    prompt_hash blob not null,
    succeeded integer not null,
    score real,
    input_tokens integer not null,
    output_tokens integer not null,
    ran_at integer not null,
    cached integer not null,
    -- Compressed JSON: values, answers of the scorecard, or why it failed.
    result blob not null,
    primary key (organization_id, run_id)
) strict;
create index analyzer_runs_by_conversation on analyzer_runs (organization_id, conversation_id, analyzer_id, ran_at);
create index analyzer_runs_by_version on analyzer_runs (organization_id, analyzer_id, version, conversation_id);
create index analyzer_runs_by_time on analyzer_runs (organization_id, analyzer_id, ran_at, run_id);

-- Conversations that wait to be asked about. A row is removed together with its run being kept.
create table analyzer_queue (
    organization_id text not null,
    analyzer_id blob not null,
    conversation_id blob not null,
    -- 0: it ended just now; 1: it is part of a back-fill.
    priority integer not null,
    -- When it may be taken: in the future while somebody has it, or while it waits.
    due_at integer not null,
    -- What was asked in vain.
    attempts integer not null,
    -- Counts what was heard since it was queued: what comes while it is worked on is not lost.
    changes integer not null,
    -- Counts who took it: what a worker says whose lease ran out does not count.
    claims integer not null,
    -- Which version is asked; the newest when absent.
    version integer,
    backfill_id blob,
    primary key (organization_id, analyzer_id, conversation_id)
) strict, without rowid;
create index analyzer_queue_due on analyzer_queue (priority, due_at);
create index analyzer_queue_backfill on analyzer_queue (organization_id, backfill_id) where backfill_id is not null;

-- Conversations with a run that is not yet in their figures.
create table analyzer_news (
    organization_id text not null,
    conversation_id blob not null,
    due_at integer not null,
    -- Counts runs: what comes while one is told is told as well.
    runs integer not null,
    primary key (organization_id, conversation_id)
) strict, without rowid;
create index analyzer_news_due on analyzer_news (due_at);

-- Many runs.
create table analyzer_backfills (
    organization_id text not null,
    backfill_id blob not null,
    analyzer_id blob not null,
    version integer not null,
    -- The filter, encoded.
    filter blob not null,
    conversations integer not null,
    already_done integer not null,
    estimated_tokens integer not null,
    estimated_days real not null,
    done integer not null,
    failed integer not null,
    created_at integer not null,
    -- Where the list of conversations goes on; absent when all of them are queued.
    place text,
    -- When somebody may go on with the list.
    due_at integer not null,
    primary key (organization_id, backfill_id)
) strict;
create index analyzer_backfills_due on analyzer_backfills (due_at) where place is not null;

-- Tokens an organization has used, and put aside for questions that are being asked, by day since the epoch (UTC).
create table analyzer_budgets (
    organization_id text not null,
    day integer not null,
    used integer not null,
    reserved integer not null,
    primary key (organization_id, day)
) strict, without rowid;

-- Answers, by what was asked of which model.
create table analyzer_answers (
    organization_id text not null,
    question blob not null,
    answer blob not null,
    answered_at integer not null,
    primary key (organization_id, question)
) strict;
create index analyzer_answers_answered_at on analyzer_answers (answered_at);
