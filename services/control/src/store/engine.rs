//! The statements, which are the same on both engines. A macro, since rows and connections have types of their own on each.

/// The columns of a conversation, in the order [`implement`] reads them.
macro_rules! conversation_columns {
    () => {
        "c.organization_id, c.conversation_id, c.provider, c.external_id, c.source_id, c.agent_id, c.channel, c.control_url, \
         (c.ended or c.inferred_end > c.alive)"
    };
}

/// The columns of a command, in the order [`implement`] reads them.
macro_rules! command_columns {
    () => {
        "m.organization_id, m.command_id, m.conversation_id, m.native, m.number, m.kind, m.content, m.destination, m.muted, \
         m.holder, m.lease_id, m.idempotency_key, m.state, m.reason, m.detail, m.accepted_at, m.finished_at, m.position, \
         m.claimed_until, m.attempts"
    };
}

/// The columns of a lease, in the order [`implement`] reads them.
macro_rules! lease_columns {
    () => {
        "lease_id, command_id, holder, key_id, taken_at, expires_at"
    };
}

/// Implements the store over a pool that reads and one that writes. `begin` begins a transaction that writes; `lock` and `skip`
/// are what locks the rows that a query reads, where that is needed; `elements` makes rows of the JSON array `$3`.
macro_rules! implement {
    (
        $store:ident,
        row: $row:ty,
        connection: $connection:ty,
        begin: $begin:literal,
        lock: $lock:literal,
        skip: $skip:literal,
        elements: $elements:literal,
        apply: $apply:path $(,)?
    ) => {
        fn conversation_of(row: &$row, from: usize) -> Result<Conversation, StoreError> {
            Ok(Conversation {
                organization_id: organization_of(row, from)?,
                conversation_id: ConversationId(row.try_get(from + 1)?),
                provider: row.try_get::<String, _>(from + 2)?.parse().map_err(|_| corrupt("a provider"))?,
                external_id: row.try_get(from + 3)?,
                source_id: row.try_get::<Option<Uuid>, _>(from + 4)?.map(SourceId),
                agent_id: row.try_get(from + 5)?,
                channel: row.try_get(from + 6)?,
                control_url: row.try_get(from + 7)?,
                ended: row.try_get(from + 8)?,
            })
        }

        fn command_of(row: &$row, from: usize) -> Result<Command, StoreError> {
            let kind: CommandKind = row.try_get::<String, _>(from + 5)?.parse().map_err(|_| corrupt("a command's kind"))?;
            let (text, destination): (Option<String>, Option<String>) = (row.try_get(from + 6)?, row.try_get(from + 7)?);
            let parts = Parts { text: text.as_deref(), destination: destination.as_deref(), muted: row.try_get(from + 8)? };
            let state = match row.try_get::<String, _>(from + 12)?.as_str() {
                "accepted" => State::Accepted,
                "applied" => State::Applied,
                "rejected" => State::Rejected {
                    reason: row.try_get::<Option<String>, _>(from + 13)?.unwrap_or_default(),
                    detail: row.try_get(from + 14)?,
                },
                _ => return Err(corrupt("a command's state")),
            };
            Ok(Command {
                organization_id: organization_of(row, from)?,
                command_id: row.try_get(from + 1)?,
                conversation_id: ConversationId(row.try_get(from + 2)?),
                native: row.try_get(from + 3)?,
                number: row.try_get(from + 4)?,
                action: parts.action(kind).ok_or_else(|| corrupt("a command's arguments"))?,
                holder: row.try_get(from + 9)?,
                lease_id: row.try_get(from + 10)?,
                idempotency_key: row.try_get(from + 11)?,
                state,
                accepted_at: time_of(row, from + 15)?,
                finished_at: row.try_get::<Option<i64>, _>(from + 16)?.map(instant),
                position: row.try_get::<Option<i64>, _>(from + 17)?.map(|position| Position(position as u64)),
                claimed_until: time_of(row, from + 18)?,
                attempts: u32::try_from(row.try_get::<i64, _>(from + 19)?).unwrap_or(u32::MAX),
            })
        }

        fn given_of(row: &$row) -> Result<Given, StoreError> {
            Ok(Given { command: command_of(row, 0)?, conversation: conversation_of(row, 20)? })
        }

        fn lease_of(row: &$row) -> Result<Lease, StoreError> {
            Ok(Lease {
                lease_id: row.try_get(0)?,
                command_id: row.try_get(1)?,
                holder: row.try_get(2)?,
                key_id: row.try_get(3)?,
                taken_at: time_of(row, 4)?,
                expires_at: time_of(row, 5)?,
            })
        }

        fn note_of(row: &$row) -> Result<Note, StoreError> {
            let event: String = row.try_get(4)?;
            Ok(Note {
                number: row.try_get(0)?,
                event_id: EventId(row.try_get(1)?),
                accepts: row.try_get(2)?,
                occurred_at: time_of(row, 3)?,
                data: serde_json::from_str(&event).map_err(|_| corrupt("an event"))?,
            })
        }

        fn key_of(row: &$row) -> Result<Key, StoreError> {
            Ok((organization_of(row, 0)?, ConversationId(row.try_get(1)?)))
        }

        fn organization_of(row: &$row, index: usize) -> Result<OrganizationId, StoreError> {
            row.try_get::<String, _>(index)?.parse().map_err(|_| corrupt("an organization"))
        }

        fn time_of(row: &$row, index: usize) -> Result<Timestamp, StoreError> {
            Ok(instant(row.try_get(index)?))
        }

        fn instant(millis: i64) -> Timestamp {
            Timestamp::from_millis(millis).unwrap_or_default()
        }

        async fn read_lease(
            connection: &mut $connection,
            organization_id: &OrganizationId,
            conversation_id: ConversationId,
        ) -> Result<Option<Lease>, StoreError> {
            let row = sqlx::query(concat!(
                "select ",
                lease_columns!(),
                " from leases where organization_id = $1 and conversation_id = $2"
            ))
            .bind(organization_id.as_str())
            .bind(conversation_id.0)
            .fetch_optional(connection)
            .await?;
            row.as_ref().map(lease_of).transpose()
        }

        /// Reads a conversation with everything that a decision needs, and locks it.
        async fn read_scene(
            connection: &mut $connection,
            organization_id: &OrganizationId,
            conversation_id: ConversationId,
            find: Find<'_>,
        ) -> Result<Option<Scene>, StoreError> {
            let row = sqlx::query(concat!(
                "select ",
                conversation_columns!(),
                ", c.numbered from conversations c where c.organization_id = $1 and c.conversation_id = $2",
                $lock
            ))
            .bind(organization_id.as_str())
            .bind(conversation_id.0)
            .fetch_optional(&mut *connection)
            .await?;
            let Some(row) = row else { return Ok(None) };
            let command = match find {
                Find::Nothing => None,
                Find::Key(key) => {
                    sqlx::query(concat!(
                        "select ",
                        command_columns!(),
                        " from commands m \
                         where m.organization_id = $1 and m.conversation_id = $2 and m.idempotency_key = $3"
                    ))
                    .bind(organization_id.as_str())
                    .bind(conversation_id.0)
                    .bind(key)
                    .fetch_optional(&mut *connection)
                    .await?
                }
                Find::Id(command_id) => {
                    sqlx::query(concat!(
                        "select ",
                        command_columns!(),
                        " from commands m \
                         where m.organization_id = $1 and m.conversation_id = $2 and m.command_id = $3"
                    ))
                    .bind(organization_id.as_str())
                    .bind(conversation_id.0)
                    .bind(command_id)
                    .fetch_optional(&mut *connection)
                    .await?
                }
            };
            Ok(Some(Scene {
                conversation: conversation_of(&row, 0)?,
                lease: read_lease(connection, organization_id, conversation_id).await?,
                command: command.as_ref().map(|row| command_of(row, 0)).transpose()?,
                numbered: row.try_get(9)?,
            }))
        }

        async fn write_change(
            connection: &mut $connection,
            organization_id: &OrganizationId,
            conversation_id: ConversationId,
            change: &Change,
        ) -> Result<(), StoreError> {
            sqlx::query("update conversations set numbered = $3 where organization_id = $1 and conversation_id = $2")
                .bind(organization_id.as_str())
                .bind(conversation_id.0)
                .bind(change.numbered)
                .execute(&mut *connection)
                .await?;
            match &change.lease {
                Hold::Keep => {}
                Hold::Set(lease) => write_lease(&mut *connection, organization_id, conversation_id, lease).await?,
                Hold::Clear => {
                    sqlx::query("delete from leases where organization_id = $1 and conversation_id = $2")
                        .bind(organization_id.as_str())
                        .bind(conversation_id.0)
                        .execute(&mut *connection)
                        .await?;
                }
            }
            if let Some(command_id) = change.key_freed {
                sqlx::query("update commands set idempotency_key = null where organization_id = $1 and command_id = $2")
                    .bind(organization_id.as_str())
                    .bind(command_id)
                    .execute(&mut *connection)
                    .await?;
            }
            for command in &change.accepted {
                write_command(&mut *connection, command).await?;
            }
            for command in &change.finished {
                let (reason, detail) = refusal(command);
                sqlx::query(
                    "update commands set state = $3, reason = $4, detail = $5, finished_at = $6, claimed_until = 0 \
                     where organization_id = $1 and command_id = $2 and state = 'accepted'",
                )
                .bind(organization_id.as_str())
                .bind(command.command_id)
                .bind(command.state.as_str())
                .bind(reason)
                .bind(detail)
                .bind(command.finished_at.map(Timestamp::as_millis))
                .execute(&mut *connection)
                .await?;
            }
            for note in &change.notes {
                let event = serde_json::to_string(&note.data).map_err(|_| corrupt("an event"))?;
                sqlx::query(
                    "insert into announcements \
                     (organization_id, conversation_id, number, event_id, command_id, occurred_at, event) \
                     values ($1, $2, $3, $4, $5, $6, $7)",
                )
                .bind(organization_id.as_str())
                .bind(conversation_id.0)
                .bind(note.number)
                .bind(note.event_id.0)
                .bind(note.accepts)
                .bind(note.occurred_at.as_millis())
                .bind(event)
                .execute(&mut *connection)
                .await?;
            }
            Ok(())
        }

        async fn write_lease(
            connection: &mut $connection,
            organization_id: &OrganizationId,
            conversation_id: ConversationId,
            lease: &Lease,
        ) -> Result<(), StoreError> {
            sqlx::query(
                "insert into leases \
                 (organization_id, conversation_id, lease_id, command_id, holder, key_id, taken_at, expires_at) \
                 values ($1, $2, $3, $4, $5, $6, $7, $8) \
                 on conflict (organization_id, conversation_id) do update set lease_id = excluded.lease_id, \
                 command_id = excluded.command_id, holder = excluded.holder, key_id = excluded.key_id, \
                 taken_at = excluded.taken_at, expires_at = excluded.expires_at",
            )
            .bind(organization_id.as_str())
            .bind(conversation_id.0)
            .bind(lease.lease_id)
            .bind(lease.command_id)
            .bind(&lease.holder)
            .bind(&lease.key_id)
            .bind(lease.taken_at.as_millis())
            .bind(lease.expires_at.as_millis())
            .execute(connection)
            .await?;
            Ok(())
        }

        async fn write_command(connection: &mut $connection, command: &Command) -> Result<(), StoreError> {
            let parts = Parts::of(&command.action);
            let (reason, detail) = refusal(command);
            sqlx::query(
                "insert into commands (organization_id, command_id, conversation_id, native, number, kind, content, \
                 destination, muted, holder, lease_id, idempotency_key, state, reason, detail, accepted_at, finished_at, \
                 position, claimed_until, attempts) \
                 values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, null, 0, 0)",
            )
            .bind(command.organization_id.as_str())
            .bind(command.command_id)
            .bind(command.conversation_id.0)
            .bind(command.native)
            .bind(command.number)
            .bind(command.action.kind().as_str())
            .bind(parts.text)
            .bind(parts.destination)
            .bind(parts.muted)
            .bind(&command.holder)
            .bind(command.lease_id)
            .bind(&command.idempotency_key)
            .bind(command.state.as_str())
            .bind(reason)
            .bind(detail)
            .bind(command.accepted_at.as_millis())
            .bind(command.finished_at.map(Timestamp::as_millis))
            .execute(connection)
            .await?;
            Ok(())
        }

        fn refusal(command: &Command) -> (Option<&str>, Option<&str>) {
            match &command.state {
                State::Rejected { reason, detail } => (Some(reason), detail.as_deref()),
                State::Accepted | State::Applied => (None, None),
            }
        }

        #[async_trait]
        impl ControlStore for $store {
            async fn position(&self) -> Result<Position, StoreError> {
                let position: Option<i64> = sqlx::query_scalar("select position from reader_positions where reader = $1")
                    .bind(READER)
                    .fetch_optional(&self.readers)
                    .await?;
                Ok(Position(position.unwrap_or_default() as u64))
            }

            async fn apply(&self, signs: &[Sign], through: Position) -> Result<(), StoreError> {
                let mut transaction = self.writer.begin_with($begin).await?;
                for round in rounds(signs) {
                    $apply(&mut transaction, &round).await?;
                }
                sqlx::query(
                    "insert into reader_positions (reader, position) values ($1, $2) \
                     on conflict (reader) do update set position = excluded.position \
                     where excluded.position > reader_positions.position",
                )
                .bind(READER)
                .bind(to_bigint(through.0))
                .execute(&mut *transaction)
                .await?;
                transaction.commit().await?;
                Ok(())
            }

            async fn set_aside(&self, record: &SetAside) -> Result<(), StoreError> {
                sqlx::query(
                    "insert into set_aside (organization_id, record_id, sequence, reason, set_aside_at) \
                     values ($1, $2, $3, $4, $5) on conflict (organization_id, record_id) do nothing",
                )
                .bind(record.organization_id.as_str())
                .bind(record.record_id.0)
                .bind(to_bigint(record.sequence))
                .bind(&record.reason)
                .bind(record.at.as_millis())
                .execute(&self.writer)
                .await?;
                Ok(())
            }

            async fn conversation(
                &self,
                organization_id: &OrganizationId,
                conversation_id: ConversationId,
            ) -> Result<Option<Conversation>, StoreError> {
                let row = sqlx::query(concat!(
                    "select ",
                    conversation_columns!(),
                    " from conversations c where c.organization_id = $1 and c.conversation_id = $2"
                ))
                .bind(organization_id.as_str())
                .bind(conversation_id.0)
                .fetch_optional(&self.readers)
                .await?;
                row.as_ref().map(|row| conversation_of(row, 0)).transpose()
            }

            async fn learn(&self, conversation: &Conversation, now: Timestamp) -> Result<(), StoreError> {
                sqlx::query(
                    "insert into conversations (organization_id, conversation_id, provider, external_id, source_id, agent_id, \
                     channel, control_url, ended, inferred_end, alive, numbered, updated_at) \
                     values ($1, $2, $3, $4, $5, $6, $7, $8, $9, 0, 0, 0, $10) \
                     on conflict (organization_id, conversation_id) do nothing",
                )
                .bind(conversation.organization_id.as_str())
                .bind(conversation.conversation_id.0)
                .bind(conversation.provider.as_str())
                .bind(&conversation.external_id)
                .bind(conversation.source_id.map(|source| source.0))
                .bind(&conversation.agent_id)
                .bind(&conversation.channel)
                .bind(&conversation.control_url)
                .bind(conversation.ended)
                .bind(now.as_millis())
                .execute(&self.writer)
                .await?;
                Ok(())
            }

            async fn change(
                &self,
                organization_id: &OrganizationId,
                conversation_id: ConversationId,
                find: Find<'_>,
                decide: Decide<'_>,
            ) -> Result<bool, StoreError> {
                let mut transaction = self.writer.begin_with($begin).await?;
                let Some(scene) = read_scene(&mut transaction, organization_id, conversation_id, find).await? else {
                    return Ok(false);
                };
                if let Some(change) = decide(&scene) {
                    write_change(&mut transaction, organization_id, conversation_id, &change).await?;
                    transaction.commit().await?;
                }
                Ok(true)
            }

            async fn lease(
                &self,
                organization_id: &OrganizationId,
                conversation_id: ConversationId,
            ) -> Result<Option<Lease>, StoreError> {
                let mut connection = self.readers.acquire().await?;
                read_lease(&mut connection, organization_id, conversation_id).await
            }

            async fn command(&self, organization_id: &OrganizationId, command_id: Uuid) -> Result<Option<Given>, StoreError> {
                let row = sqlx::query(concat!(
                    "select ",
                    command_columns!(),
                    ", ",
                    conversation_columns!(),
                    " from commands m join conversations c \
                     on c.organization_id = m.organization_id and c.conversation_id = m.conversation_id \
                     where m.organization_id = $1 and m.command_id = $2"
                ))
                .bind(organization_id.as_str())
                .bind(command_id)
                .fetch_optional(&self.readers)
                .await?;
                row.as_ref().map(given_of).transpose()
            }

            async fn commands(
                &self,
                organization_id: &OrganizationId,
                conversation_id: ConversationId,
                limit: u32,
            ) -> Result<Vec<Command>, StoreError> {
                let rows = sqlx::query(concat!(
                    "select ",
                    command_columns!(),
                    " from commands m where m.organization_id = $1 and m.conversation_id = $2 \
                     order by m.number desc limit $3"
                ))
                .bind(organization_id.as_str())
                .bind(conversation_id.0)
                .bind(i64::from(limit))
                .fetch_all(&self.readers)
                .await?;
                rows.iter().map(|row| command_of(row, 0)).collect()
            }

            async fn claim(
                &self,
                now: Timestamp,
                until: Timestamp,
                but: &[OrganizationId],
                limit: u32,
            ) -> Result<Vec<Given>, StoreError> {
                let but: Vec<&str> = but.iter().map(OrganizationId::as_str).collect();
                let but = serde_json::to_string(&but).map_err(|_| corrupt("an organization"))?;
                let mut transaction = self.writer.begin_with($begin).await?;
                let rows = sqlx::query(concat!(
                    "select ",
                    command_columns!(),
                    ", ",
                    conversation_columns!(),
                    " from commands m join conversations c \
                     on c.organization_id = m.organization_id and c.conversation_id = m.conversation_id \
                     where m.state = 'accepted' and m.position is not null and m.claimed_until <= $1 and not m.native \
                     and not exists (select 1 from commands e \
                     where e.organization_id = m.organization_id and e.conversation_id = m.conversation_id \
                     and e.state = 'accepted' and e.number < m.number) \
                     and m.organization_id not in (select value from ",
                    $elements,
                    ") order by m.accepted_at limit $2",
                    $skip
                ))
                .bind(now.as_millis())
                .bind(i64::from(limit))
                .bind(but)
                .fetch_all(&mut *transaction)
                .await?;
                let mut claimed: Vec<Given> = rows.iter().map(given_of).collect::<Result<_, _>>()?;
                for given in &mut claimed {
                    given.command.claimed_until = until;
                    sqlx::query("update commands set claimed_until = $3 where organization_id = $1 and command_id = $2")
                        .bind(given.command.organization_id.as_str())
                        .bind(given.command.command_id)
                        .bind(until.as_millis())
                        .execute(&mut *transaction)
                        .await?;
                }
                transaction.commit().await?;
                Ok(claimed)
            }

            async fn start(&self, command: &Command) -> Result<bool, StoreError> {
                let started = sqlx::query(
                    "update commands set attempts = attempts + 1 \
                     where organization_id = $1 and command_id = $2 and claimed_until = $3 and state = 'accepted'",
                )
                .bind(command.organization_id.as_str())
                .bind(command.command_id)
                .bind(command.claimed_until.as_millis())
                .execute(&self.writer)
                .await?;
                Ok(started.rows_affected() == 1)
            }

            async fn unclaim(&self, command: &Command) -> Result<(), StoreError> {
                sqlx::query(
                    "update commands set claimed_until = 0 \
                     where organization_id = $1 and command_id = $2 and claimed_until = $3 and state = 'accepted'",
                )
                .bind(command.organization_id.as_str())
                .bind(command.command_id)
                .bind(command.claimed_until.as_millis())
                .execute(&self.writer)
                .await?;
                Ok(())
            }

            async fn for_agents(
                &self,
                organization_id: &OrganizationId,
                agent_id: Option<&str>,
                limit: u32,
            ) -> Result<Vec<Given>, StoreError> {
                let rows = sqlx::query(concat!(
                    "select ",
                    command_columns!(),
                    ", ",
                    conversation_columns!(),
                    " from commands m join conversations c \
                     on c.organization_id = m.organization_id and c.conversation_id = m.conversation_id \
                     where m.organization_id = $1 and m.state = 'accepted' and m.position is not null and m.native \
                     and ($2 is null or c.agent_id = $2) \
                     order by m.accepted_at, m.conversation_id, m.number limit $3"
                ))
                .bind(organization_id.as_str())
                .bind(agent_id)
                .bind(i64::from(limit))
                .fetch_all(&self.readers)
                .await?;
                rows.iter().map(given_of).collect()
            }

            async fn handed_out(&self, organization_id: &OrganizationId, command_id: Uuid) -> Result<(), StoreError> {
                sqlx::query(
                    "update commands set attempts = attempts + 1 \
                     where organization_id = $1 and command_id = $2 and state = 'accepted' and native",
                )
                .bind(organization_id.as_str())
                .bind(command_id)
                .execute(&self.writer)
                .await?;
                Ok(())
            }

            async fn unanswered(&self, before: Timestamp, limit: u32) -> Result<Vec<Given>, StoreError> {
                let rows = sqlx::query(concat!(
                    "select ",
                    command_columns!(),
                    ", ",
                    conversation_columns!(),
                    " from commands m join conversations c \
                     on c.organization_id = m.organization_id and c.conversation_id = m.conversation_id \
                     where m.state = 'accepted' and m.native \
                     and (m.accepted_at <= $1 or c.ended or c.inferred_end > c.alive) \
                     order by m.accepted_at, m.number limit $2"
                ))
                .bind(before.as_millis())
                .bind(i64::from(limit))
                .fetch_all(&self.readers)
                .await?;
                rows.iter().map(given_of).collect()
            }

            async fn to_free(&self, now: Timestamp, limit: u32) -> Result<Vec<Key>, StoreError> {
                let rows = sqlx::query(
                    "select l.organization_id, l.conversation_id from leases l join conversations c \
                     on c.organization_id = l.organization_id and c.conversation_id = l.conversation_id \
                     where l.expires_at <= $1 or c.ended or c.inferred_end > c.alive \
                     order by l.expires_at limit $2",
                )
                .bind(now.as_millis())
                .bind(i64::from(limit))
                .fetch_all(&self.readers)
                .await?;
                rows.iter().map(key_of).collect()
            }

            async fn notes(
                &self,
                organization_id: &OrganizationId,
                conversation_id: ConversationId,
                limit: u32,
            ) -> Result<Option<(Conversation, Vec<Note>)>, StoreError> {
                let rows = sqlx::query(
                    "select number, event_id, command_id, occurred_at, event from announcements \
                     where organization_id = $1 and conversation_id = $2 order by number limit $3",
                )
                .bind(organization_id.as_str())
                .bind(conversation_id.0)
                .bind(i64::from(limit))
                .fetch_all(&self.readers)
                .await?;
                if rows.is_empty() {
                    return Ok(None);
                }
                let notes = rows.iter().map(note_of).collect::<Result<_, _>>()?;
                let conversation = self.conversation(organization_id, conversation_id).await?;
                Ok(Some((conversation.ok_or_else(|| corrupt("an announcement without its conversation"))?, notes)))
            }

            async fn announced(
                &self,
                organization_id: &OrganizationId,
                conversation_id: ConversationId,
                notes: &[(Note, Position)],
            ) -> Result<(), StoreError> {
                let mut transaction = self.writer.begin_with($begin).await?;
                for (note, position) in notes {
                    if let Some(command_id) = note.accepts {
                        sqlx::query(
                            "update commands set position = $3 \
                             where organization_id = $1 and command_id = $2 and (position is null or position > $3)",
                        )
                        .bind(organization_id.as_str())
                        .bind(command_id)
                        .bind(to_bigint(position.0))
                        .execute(&mut *transaction)
                        .await?;
                    }
                    sqlx::query("delete from announcements where organization_id = $1 and conversation_id = $2 and number = $3")
                        .bind(organization_id.as_str())
                        .bind(conversation_id.0)
                        .bind(note.number)
                        .execute(&mut *transaction)
                        .await?;
                }
                transaction.commit().await?;
                Ok(())
            }

            async fn unannounced(&self, before: Timestamp, limit: u32) -> Result<Vec<Key>, StoreError> {
                let rows = sqlx::query(
                    "select distinct organization_id, conversation_id from announcements where occurred_at <= $1 limit $2",
                )
                .bind(before.as_millis())
                .bind(i64::from(limit))
                .fetch_all(&self.readers)
                .await?;
                rows.iter().map(key_of).collect()
            }

            async fn prune(&self, before: Timestamp, limit: u32) -> Result<u64, StoreError> {
                let mut transaction = self.writer.begin_with($begin).await?;
                let rows = sqlx::query(concat!(
                    "select c.organization_id, c.conversation_id from conversations c \
                     where (c.ended or c.inferred_end > c.alive) and c.updated_at < $1 \
                     and not exists (select 1 from announcements a \
                     where a.organization_id = c.organization_id and a.conversation_id = c.conversation_id) \
                     and not exists (select 1 from leases l \
                     where l.organization_id = c.organization_id and l.conversation_id = c.conversation_id) \
                     and not exists (select 1 from commands m where m.organization_id = c.organization_id \
                     and m.conversation_id = c.conversation_id and m.state = 'accepted') \
                     order by c.organization_id, c.conversation_id limit $2",
                    $lock
                ))
                .bind(before.as_millis())
                .bind(i64::from(limit))
                .fetch_all(&mut *transaction)
                .await?;
                for row in &rows {
                    let (organization_id, conversation_id) = key_of(row)?;
                    for forget in [
                        "delete from commands where organization_id = $1 and conversation_id = $2",
                        "delete from conversations where organization_id = $1 and conversation_id = $2",
                    ] {
                        sqlx::query(forget)
                            .bind(organization_id.as_str())
                            .bind(conversation_id.0)
                            .execute(&mut *transaction)
                            .await?;
                    }
                }
                transaction.commit().await?;
                Ok(rows.len() as u64)
            }
        }
    };
}

/// What becomes of a conversation that is known when the log says more. What changes nothing is not written: most signs only say
/// again that a conversation runs. The first source is the conversation's, and it alone says where commands go.
macro_rules! merge_signs {
    () => {
        " on conflict (organization_id, conversation_id) do update set \
         source_id = coalesce(c.source_id, excluded.source_id), \
         agent_id = coalesce(excluded.agent_id, c.agent_id), \
         channel = coalesce(excluded.channel, c.channel), \
         control_url = case when c.ended or excluded.ended then null \
         when c.source_id is null or excluded.source_id = c.source_id then coalesce(excluded.control_url, c.control_url) \
         else c.control_url end, \
         ended = (c.ended or excluded.ended), \
         inferred_end = case when excluded.inferred_end > c.inferred_end then excluded.inferred_end else c.inferred_end end, \
         alive = case when excluded.alive > c.alive then excluded.alive else c.alive end, \
         updated_at = case when excluded.updated_at > c.updated_at then excluded.updated_at else c.updated_at end \
         where (excluded.ended and not c.ended) \
         or excluded.inferred_end > c.inferred_end \
         or (excluded.alive > c.alive and c.inferred_end > 0) \
         or (excluded.source_id is not null and c.source_id is null) \
         or (excluded.agent_id is not null and excluded.agent_id is distinct from c.agent_id) \
         or (excluded.channel is not null and excluded.channel is distinct from c.channel) \
         or (excluded.control_url is not null and not c.ended and (c.source_id is null or excluded.source_id = c.source_id) \
         and excluded.control_url is distinct from c.control_url)"
    };
}

pub(super) use {command_columns, conversation_columns, implement, lease_columns, merge_signs};
