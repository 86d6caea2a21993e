-- Lists can be filtered by what analytics counts by, too. Rows of older releases are folded again in the background.
alter table conversations add column direction text;
alter table conversations add column end_reason text;
alter table conversations add column failure_code text;
alter table conversations add column intent text;
alter table conversations add column cost_currency text;
alter table conversations add column cost_micros integer;
alter table conversations add column started_at integer;
alter table conversations add column ended_at integer;
-- JSON arrays; null where there are none.
alter table conversations add column keywords text;
alter table conversations add column error_codes text;

-- Turns of which this release has written the row begin with a mark; an older release, which does not know the columns above,
-- writes them without. Of no bytes at all, a part is null.
create index conversations_outdated on conversations (last_received_at, organization_id, conversation_id)
    where coalesce(substr(turns, 1, 2), x'') <> x'1001';

create index conversations_by_external_id on conversations (organization_id, external_id);
create index conversations_by_end_reason on conversations (organization_id, end_reason, created_at desc, conversation_id)
    where end_reason is not null;
create index conversations_by_failure_code on conversations (organization_id, failure_code, created_at desc, conversation_id)
    where failure_code is not null;
create index conversations_by_intent on conversations (organization_id, intent, created_at desc, conversation_id)
    where intent is not null;

-- The values of each conversation that were extracted by name, with what lists sort by.
create table conversation_values (
    organization_id text not null,
    conversation_id blob not null,
    name text not null,
    -- A text; one that no index holds is in long_value instead.
    text_value text,
    long_value text,
    -- A number; of a truth 0 or 1.
    number_value real,
    created_at integer not null,
    primary key (organization_id, conversation_id, name)
) strict, without rowid;
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
alter table conversation_list_history add column cost_micros integer;
alter table conversation_list_history add column started_at integer;
alter table conversation_list_history add column ended_at integer;
alter table conversation_list_history add column keywords text;
alter table conversation_list_history add column error_codes text;
-- A JSON object; null where there are none.
alter table conversation_list_history add column custom_values text;
