-- Provider connections. Secrets are sealed (AES-256-GCM) before they come here.
create table sources (
    organization_id text not null,
    source_id uuid not null,
    provider text not null,
    name text not null,
    client_id text,
    -- JSON: the scheme and its options, no secret
    verification text not null,
    secret bytea,
    previous_secret bytea,
    previous_secret_expires_at bigint,
    created_at bigint not null,
    updated_at bigint not null,
    -- counts changes, so that two at once cannot overwrite each other
    revision bigint not null,
    primary key (organization_id, source_id)
);

-- A webhook's URL names the source alone. Not unique, so that the table can be distributed by organization; ids are random.
create index sources_by_id on sources (source_id);
create index sources_newest on sources (organization_id, created_at desc, source_id desc);

-- Genuine deliveries that could not be mapped.
create table quarantine (
    organization_id text not null,
    quarantine_id uuid not null,
    source_id uuid not null,
    provider text not null,
    received_at bigint not null,
    reason text not null,
    -- of the body, uncompressed
    size_bytes bigint not null,
    attempts bigint not null,
    resolved_at bigint,
    -- the position after which a resolved delivery can be read
    position bigint,
    -- JSON: where its recording was stored, when it had one
    recording text,
    -- compressed and sealed; empty once resolved
    body bytea not null,
    stored_bytes bigint not null,
    primary key (organization_id, quarantine_id)
);

create index quarantine_newest on quarantine (organization_id, received_at desc, quarantine_id desc);
create index quarantine_by_source on quarantine (organization_id, source_id, received_at desc, quarantine_id desc);
create index quarantine_usage on quarantine (organization_id, source_id, resolved_at, received_at, stored_bytes);
