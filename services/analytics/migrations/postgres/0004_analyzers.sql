-- What organizations want to know of their conversations, as it is now.
create table analyzers (
    organization_id text collate "C" not null,
    analyzer_id uuid not null,
    name text not null,
    -- A JSON array; an empty one means all agents.
    agent_ids text not null,
    enabled boolean not null,
    version bigint not null,
    created_at bigint not null,
    updated_at bigint not null,
    -- Counts changes, so that of two at once one is refused.
    revision bigint not null,
    primary key (organization_id, analyzer_id)
);
create index analyzers_created_at on analyzers (organization_id, created_at, analyzer_id);

-- What is asked, by version. Nothing here ever changes, and it outlives its analyzer as runs do.
create table analyzer_versions (
    organization_id text collate "C" not null,
    analyzer_id uuid not null,
    version bigint not null,
    -- JSON.
    definition text not null,
    created_at bigint not null,
    primary key (organization_id, analyzer_id, version)
);

-- What an analyzer said of a conversation, once. Nothing here ever changes.
create table analyzer_runs (
    organization_id text collate "C" not null,
    run_id uuid not null,
    analyzer_id uuid not null,
    version bigint not null,
    conversation_id uuid not null,
    model text not null,
    prompt_hash bytea not null,
    succeeded boolean not null,
    score double precision,
    input_tokens bigint not null,
    output_tokens bigint not null,
    ran_at bigint not null,
    cached boolean not null,
    -- Compressed JSON: values, answers of the scorecard, or why it failed.
    result bytea not null,
    primary key (organization_id, run_id)
);
create index analyzer_runs_by_conversation on analyzer_runs (organization_id, conversation_id, analyzer_id, ran_at);
create index analyzer_runs_by_version on analyzer_runs (organization_id, analyzer_id, version, conversation_id);
create index analyzer_runs_by_time on analyzer_runs (organization_id, analyzer_id, ran_at, run_id);

-- Conversations that wait to be asked about. A row is removed together with its run being kept.
create table analyzer_queue (
    organization_id text collate "C" not null,
    analyzer_id uuid not null,
    conversation_id uuid not null,
    -- 0: it ended just now; 1: it is part of a back-fill.
    priority bigint not null,
    -- When it may be taken: in the future while somebody has it, or while it waits.
    due_at bigint not null,
    -- What was asked in vain.
    attempts bigint not null,
    -- Counts what was heard since it was queued: what comes while it is worked on is not lost.
    changes bigint not null,
    -- Counts who took it: what a worker says whose lease ran out does not count.
    claims bigint not null,
    -- Which version is asked; the newest when absent.
    version bigint,
    backfill_id uuid,
    primary key (organization_id, analyzer_id, conversation_id)
);
create index analyzer_queue_due on analyzer_queue (priority, due_at);
create index analyzer_queue_backfill on analyzer_queue (organization_id, backfill_id) where backfill_id is not null;

-- Conversations with a run that is not yet in their figures.
create table analyzer_news (
    organization_id text collate "C" not null,
    conversation_id uuid not null,
    due_at bigint not null,
    -- Counts runs: what comes while one is told is told as well.
    runs bigint not null,
    primary key (organization_id, conversation_id)
);
create index analyzer_news_due on analyzer_news (due_at);

-- Many runs.
create table analyzer_backfills (
    organization_id text collate "C" not null,
    backfill_id uuid not null,
    analyzer_id uuid not null,
    version bigint not null,
    -- The filter, encoded.
    filter bytea not null,
    conversations bigint not null,
    already_done bigint not null,
    estimated_tokens bigint not null,
    estimated_days double precision not null,
    done bigint not null,
    failed bigint not null,
    created_at bigint not null,
    -- Where the list of conversations goes on; absent when all of them are queued.
    place text,
    -- When somebody may go on with the list.
    due_at bigint not null,
    primary key (organization_id, backfill_id)
);
create index analyzer_backfills_due on analyzer_backfills (due_at) where place is not null;

-- Tokens an organization has used, and put aside for questions that are being asked, by day since the epoch (UTC).
create table analyzer_budgets (
    organization_id text collate "C" not null,
    day bigint not null,
    used bigint not null,
    reserved bigint not null,
    primary key (organization_id, day)
);

-- Answers, by what was asked of which model.
create table analyzer_answers (
    organization_id text collate "C" not null,
    question bytea not null,
    answer bytea not null,
    answered_at bigint not null,
    primary key (organization_id, question)
);
create index analyzer_answers_answered_at on analyzer_answers (answered_at);
