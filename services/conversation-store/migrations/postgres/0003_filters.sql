-- Lists can be filtered by the agent's version. Walks that began before this see none; they end within half an hour.
alter table conversation_list_history add column agent_version_id text;

-- The tags and topics of one conversation: for filters that ask for more than one of some words being there.
create index conversation_words_of_conversation on conversation_words (organization_id, conversation_id, kind);
