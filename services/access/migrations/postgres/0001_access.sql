create table organizations (
    organization_id text not null primary key,
    created_at bigint not null
);

create table api_keys (
    organization_id text not null references organizations (organization_id),
    key_id uuid not null,
    name text not null,
    prefix text not null,
    -- SHA-256 of the key; the key itself is kept nowhere.
    hash bytea not null,
    scopes text not null,
    created_at bigint not null,
    expires_at bigint,
    revoked_at bigint,
    primary key (organization_id, key_id)
);

-- A tenant is not known before its key is: this index alone is not led by organization_id. On a distributed database it
-- belongs on a reference table.
create unique index api_keys_by_hash on api_keys (hash);
