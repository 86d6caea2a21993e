-- Tokens put aside for single tries of questions. `reserved` of a day's budget is their sum; what nobody settled until its time is
-- over counts as used, since it may have been.
create table analyzer_reservations (
    organization_id text collate "C" not null,
    -- Since the epoch (UTC).
    day bigint not null,
    reservation_id uuid not null,
    tokens bigint not null,
    held_until bigint not null,
    primary key (organization_id, day, reservation_id)
);
