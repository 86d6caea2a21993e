-- Tokens put aside for single tries of questions. `reserved` of a day's budget is their sum; what nobody settled until its time is
-- over counts as used, since it may have been.
create table analyzer_reservations (
    organization_id text not null,
    -- Since the epoch (UTC).
    day integer not null,
    reservation_id blob not null,
    tokens integer not null,
    held_until integer not null,
    primary key (organization_id, day, reservation_id)
) strict, without rowid;
