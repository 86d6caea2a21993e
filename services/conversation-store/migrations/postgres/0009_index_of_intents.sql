create index conversations_by_intent on conversations (organization_id, intent, created_at desc, conversation_id)
    where intent is not null;
