-- Not built concurrently: processes that start wait for the lock of migrations within a statement, and PostgreSQL would wait for
-- that statement to end. One of the two is then given up, and the index with it.
--
-- Turns of which a release has written the row that knows the columns of the fourth migration begin with a mark; an older one
-- writes them without.
create index conversations_outdated on conversations (last_received_at, organization_id, conversation_id)
    where substr(turns, 1, 2) <> '\x1001'::bytea;
