-- Provider connections. Secrets are sealed (AES-256-GCM) before they come here.
create table sources (
    organization_id text not null,
    source_id blob not null,
    provider text not null,
    name text not null,
    client_id text,
    -- JSON: the scheme and its options, no secret
    verification text not null,
    secret blob,
    previous_secret blob,
    previous_secret_expires_at integer,
    created_at integer not null,
    updated_at integer not null,
    -- counts changes, so that two at once cannot overwrite each other
    revision integer not null,
    primary key (organization_id, source_id)
) strict, without rowid;

-- A webhook's URL names the source alone. Not unique, so that the table can be distributed by organization; ids are random.
create index sources_by_id on sources (source_id);
create index sources_newest on sources (organization_id, created_at desc, source_id desc);

-- Genuine deliveries that could not be mapped.
create table quarantine (
    organization_id text not null,
    quarantine_id blob not null,
    source_id blob not null,
    provider text not null,
    received_at integer not null,
    reason text not null,
    -- of the body, uncompressed
    size_bytes integer not null,
    attempts integer not null,
    resolved_at integer,
    -- the position after which a resolved delivery can be read
    position integer,
    -- JSON: where its recording was stored, when it had one
    recording text,
    -- compressed and sealed; empty once resolved
    body blob not null,
    stored_bytes integer not null,
    primary key (organization_id, quarantine_id)
) strict;

create index quarantine_newest on quarantine (organization_id, received_at desc, quarantine_id desc);
create index quarantine_by_source on quarantine (organization_id, source_id, received_at desc, quarantine_id desc);
create index quarantine_usage on quarantine (organization_id, source_id, resolved_at, received_at, stored_bytes);
