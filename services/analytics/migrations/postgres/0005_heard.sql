-- When something was last heard of a conversation. Rules on conversations watch what is heard from when they are made, not what lies
-- in the log already.

-- When the last of what is to be analysed was received; absent when nothing new was heard, and something else changed.
alter table analysis_queue add column heard_at bigint;

-- When the last of what the figures are made of was received.
alter table analyses add column heard_at bigint not null default 0;

-- The rule watches what is heard from then on: since it was made, switched on, or told to watch something else.
alter table alert_rules add column watches_from bigint not null default 0;
update alert_rules set watches_from = created_at;

-- One row: since when conversations are watched here. The rules every organization begins with watch from then on.
create table alert_beginning (
    id integer not null primary key check (id = 1),
    began_at bigint not null
);
