-- How a source's provider is called, to steer running conversations. The key is sealed as the secrets are.
alter table sources add column control_api_key bytea;
alter table sources add column control_base_url text;
