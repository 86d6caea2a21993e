create table organizations (
    organization_id text not null primary key,
    created_at integer not null
) strict, without rowid;

create table api_keys (
    organization_id text not null references organizations (organization_id),
    key_id blob not null,
    name text not null,
    prefix text not null,
    -- SHA-256 of the key; the key itself is kept nowhere.
    hash blob not null,
    scopes text not null,
    created_at integer not null,
    expires_at integer,
    revoked_at integer,
    primary key (organization_id, key_id)
) strict, without rowid;

create unique index api_keys_by_hash on api_keys (hash);
