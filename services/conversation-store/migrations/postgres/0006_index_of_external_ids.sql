create index conversations_by_external_id on conversations (organization_id, external_id);
