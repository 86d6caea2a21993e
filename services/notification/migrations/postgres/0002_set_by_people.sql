-- What people decide, beside what stood in its place.

-- The customer a person gave a conversation, whatever its sources say later; null with a time when the person took it away. What
-- counts is in client_id too, for releases that do not know of this.
alter table conversations
    add column set_client_id text,
    add column client_id_set_at bigint;

-- The previous secrets but the newest, which is in previous_secret: a JSON array of [sealed in base64, until when it signs], the newest
-- first; null when there are none.
alter table endpoints add column older_secrets text;
