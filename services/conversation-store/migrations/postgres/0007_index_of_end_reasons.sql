create index conversations_by_end_reason on conversations (organization_id, end_reason, created_at desc, conversation_id)
    where end_reason is not null;
