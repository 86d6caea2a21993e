create index conversations_by_failure_code on conversations (organization_id, failure_code, created_at desc, conversation_id)
    where failure_code is not null;
