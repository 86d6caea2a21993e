-- Lists can be filtered by what analytics counts by, too. Rows of older releases are folded again in the background.
-- What is added here is there at once. The indexes over what is there already have migrations of their own, after this one: while
-- they are built lists are still read, and between them conversations are written.
alter table conversations add column direction text;
alter table conversations add column end_reason text;
alter table conversations add column failure_code text;
alter table conversations add column intent text;
alter table conversations add column cost_currency text;
alter table conversations add column cost_micros bigint;
alter table conversations add column started_at bigint;
alter table conversations add column ended_at bigint;
-- JSON arrays; null where there are none.
alter table conversations add column keywords text;
alter table conversations add column error_codes text;

-- The values of each conversation that were extracted by name, with what lists sort by.
create table conversation_values (
    organization_id text not null,
    conversation_id uuid not null,
    name text not null,
    -- A text; one that no index holds is in long_value instead.
    text_value text,
    long_value text,
    -- A number; of a truth 0 or 1.
    number_value double precision,
    created_at bigint not null,
    primary key (organization_id, conversation_id, name)
);
create index conversation_values_by_text
    on conversation_values (organization_id, name, text_value, created_at desc, conversation_id) where text_value is not null;
create index conversation_values_by_number
    on conversation_values (organization_id, name, number_value, created_at desc, conversation_id) where number_value is not null;

-- Walks that began before this see none.
alter table conversation_list_history add column direction text;
alter table conversation_list_history add column end_reason text;
alter table conversation_list_history add column failure_code text;
alter table conversation_list_history add column intent text;
alter table conversation_list_history add column cost_currency text;
alter table conversation_list_history add column cost_micros bigint;
alter table conversation_list_history add column started_at bigint;
alter table conversation_list_history add column ended_at bigint;
alter table conversation_list_history add column keywords text;
alter table conversation_list_history add column error_codes text;
-- A JSON object; null where there are none.
alter table conversation_list_history add column custom_values text;
