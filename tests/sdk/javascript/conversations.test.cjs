// The official ElevenLabs SDK for JavaScript reads conversations with only its base URL changed.
//
// The SDK parses every answer strictly: a required key that is missing, null or of another type throws. So reading is itself
// the test of the shape.
"use strict";

const assert = require("node:assert/strict");
const { createHash } = require("node:crypto");
const { readFileSync, readdirSync } = require("node:fs");
const { join } = require("node:path");
const test = require("node:test");
const { ElevenLabsClient, ElevenLabsError } = require("@elevenlabs/elevenlabs-js");

const PAYLOADS = join(__dirname, "..", "..", "payloads", "elevenlabs");
const STATUSES = ["initiated", "in-progress", "processing", "done", "failed"];
const RESULTS = ["success", "failure", "unknown"];

const baseUrl = required("COLLOQUY_BASE_URL");
const apiKey = required("COLLOQUY_API_KEY");
const conversations = clientWith(apiKey);
const sample = payload("post_call_transcription");

/** Returns an environment variable, or stops the run: a missing server must not look like success. */
function required(name) {
  const value = process.env[name];
  if (!value) throw new Error(`${name} is not set; tests/run sdk starts a server and sets it`);
  return value;
}

/** Returns the SDK's conversations client, made as its own users make it. */
function clientWith(key) {
  return new ElevenLabsClient({ baseUrl, apiKey: key }).conversationalAi.conversations;
}

/** Returns `data` of the sample webhook `name`. */
function payload(name) {
  return JSON.parse(readFileSync(join(PAYLOADS, `${name}.json`), "utf8")).data;
}

/** Walks a list as a program written for the SDK does: by `nextCursor`, while `hasMore`. */
async function pages(filters) {
  const walked = [];
  let cursor;
  do {
    const page = await conversations.list({ ...filters, cursor });
    walked.push(page);
    assert.ok(!page.hasMore || page.nextCursor, "a page that has more names the next one");
    assert.ok(walked.length < 1000, "the list does not end");
    cursor = page.hasMore ? page.nextCursor : undefined;
  } while (cursor);
  return walked;
}

/** Returns the entries of a whole list, in order. */
async function entries(filters) {
  return (await pages(filters)).flatMap((page) => page.conversations);
}

/** Returns the ids of a whole list, in order. */
async function ids(filters) {
  return (await entries(filters)).map((entry) => entry.conversationId);
}

/** Returns all bytes of a recording. */
async function audioOf(client, conversationId) {
  const chunks = [];
  for await (const chunk of await client.audio.get(conversationId)) chunks.push(chunk);
  return Buffer.concat(chunks);
}

/** Checks that a call is refused with `statusCode`, and returns the error. */
async function refused(call, statusCode) {
  const error = await call().then(
    () => assert.fail(`expected a ${statusCode}`),
    (error) => error,
  );
  assert.ok(error instanceof ElevenLabsError, String(error));
  assert.equal(error.statusCode, statusCode);
  return error;
}

test("the list holds every sample under the provider's own id", async () => {
  const names = readdirSync(PAYLOADS).filter((name) => name.endsWith(".json") && !name.endsWith(".headers.json"));
  const listed = new Set(await ids({ pageSize: 100 }));
  for (const name of names) {
    const { conversation_id: wanted } = payload(name.slice(0, -".json".length));
    assert.ok(listed.has(wanted), `${name}: ${wanted} is not listed`);
  }
});

test("every entry and every conversation has the vocabulary the SDK documents", async () => {
  const listed = await entries({ pageSize: 100, summaryMode: "include" });
  assert.ok(listed.length > 0);
  for (const entry of listed) {
    assert.ok(STATUSES.includes(entry.status), entry.status);
    assert.ok(RESULTS.includes(entry.callSuccessful), entry.callSuccessful);
    const conversation = await conversations.get(entry.conversationId);
    assert.equal(conversation.conversationId, entry.conversationId);
    assert.equal(conversation.status, entry.status);
    for (const turn of conversation.transcript) assert.ok(["user", "agent"].includes(turn.role), turn.role);
  }
});

test("an entry says what the webhook said", async () => {
  const listed = await entries({ agentId: sample.agent_id });
  const entry = listed.find((entry) => entry.conversationId === sample.conversation_id);
  assert.equal(entry.agentId, sample.agent_id);
  assert.equal(entry.agentName, sample.agent_name);
  assert.equal(entry.startTimeUnixSecs, sample.metadata.start_time_unix_secs);
  assert.equal(entry.callDurationSecs, sample.metadata.call_duration_secs);
  assert.equal(entry.status, "done");
  assert.equal(entry.callSuccessful, "success");
  assert.ok(entry.messageCount > 0);
});

test("small pages make up the one big list", async () => {
  const whole = await ids({ pageSize: 100 });
  for (const pageSize of [1, 2, 3]) {
    const small = await pages({ pageSize });
    assert.ok(small.length > 1);
    assert.ok(small.every((page) => page.conversations.length <= pageSize));
    assert.deepEqual(small.flatMap((page) => page.conversations.map((entry) => entry.conversationId)), whole);
  }
  assert.equal(new Set(whole).size, whole.length);
});

test("start times are inclusive after and exclusive before", async () => {
  const started = sample.metadata.start_time_unix_secs;
  const listedWith = async (filters) => (await ids(filters)).includes(sample.conversation_id);
  assert.equal(await listedWith({ callStartAfterUnix: started }), true);
  assert.equal(await listedWith({ callStartAfterUnix: started + 1 }), false);
  assert.equal(await listedWith({ callStartBeforeUnix: started + 1 }), true);
  assert.equal(await listedWith({ callStartBeforeUnix: started }), false);
});

test("the list is filtered by agent, user and outcome", async () => {
  assert.ok((await ids({ agentId: sample.agent_id })).includes(sample.conversation_id));
  assert.deepEqual(await ids({ agentId: "agent_of_nobody" }), []);
  assert.ok((await ids({ userId: sample.user_id })).includes(sample.conversation_id));
  assert.deepEqual(await ids({ userId: "user-nobody-knows" }), []);
  assert.ok((await ids({ callSuccessful: "success" })).includes(sample.conversation_id));
  assert.ok(!(await ids({ callSuccessful: "failure" })).includes(sample.conversation_id));
});

test("summaries are listed only when asked for", async () => {
  const summary = async (filters) => {
    const listed = await entries(filters);
    return listed.find((entry) => entry.conversationId === sample.conversation_id).transcriptSummary;
  };
  assert.equal(await summary({}), undefined);
  assert.equal(await summary({ summaryMode: "include" }), sample.analysis.transcript_summary);
});

test("one conversation says what the webhook said", async () => {
  const conversation = await conversations.get(sample.conversation_id);
  assert.equal(conversation.agentId, sample.agent_id);
  assert.equal(conversation.userId, sample.user_id);
  assert.equal(conversation.status, "done");
  assert.equal(conversation.hasAudio, true);
  assert.equal(conversation.metadata.startTimeUnixSecs, sample.metadata.start_time_unix_secs);
  assert.equal(conversation.metadata.callDurationSecs, sample.metadata.call_duration_secs);
  assert.equal(conversation.analysis.callSuccessful, "success");
  assert.equal(conversation.analysis.transcriptSummary, sample.analysis.transcript_summary);
});

test("the transcript is the one the webhook brought", async () => {
  const { transcript } = await conversations.get(sample.conversation_id);
  assert.deepEqual(
    transcript.filter((turn) => turn.message).map((turn) => [turn.role, turn.message, turn.timeInCallSecs]),
    sample.transcript.filter((turn) => turn.message).map((turn) => [turn.role, turn.message, turn.time_in_call_secs]),
  );
});

test("tool calls and results come back", async () => {
  const { transcript } = await conversations.get(sample.conversation_id);
  const calls = transcript.flatMap((turn) => turn.toolCalls ?? []);
  const sentCalls = sample.transcript.flatMap((turn) => turn.tool_calls);
  assert.deepEqual(
    calls.map((call) => [call.requestId, call.toolName, JSON.parse(call.paramsAsJson)]),
    sentCalls.map((call) => [call.request_id, call.tool_name, JSON.parse(call.params_as_json)]),
  );
  const results = transcript.flatMap((turn) => turn.toolResults ?? []);
  const sentResults = sample.transcript.flatMap((turn) => turn.tool_results);
  assert.deepEqual(
    results.map((result) => [result.requestId, result.isError]),
    sentResults.map((result) => [result.request_id, result.is_error]),
  );
});

test("the audio is the provider's bytes", async () => {
  const audio = await audioOf(conversations, sample.conversation_id);
  const sha256 = createHash("sha256").update(audio).digest("hex");
  assert.equal(sha256, "fa56019d2b85b9cb5b80b45a20f8f61605800f96644fda453076c054ab37ac60");
  assert.deepEqual(audio, Buffer.from(payload("post_call_audio").full_audio, "base64"));
});

test("a conversation without a recording has no audio", async () => {
  const { conversation_id: unrecorded } = payload("post_call_transcription_failed");
  assert.equal((await conversations.get(unrecorded)).hasAudio, false);
  await refused(() => audioOf(conversations, unrecorded), 404);
});

test("an unknown conversation is not found", async () => {
  await refused(() => conversations.get("conv_of_nobody"), 404);
});

test("a wrong key is refused", async () => {
  const stranger = clientWith("a-key-nobody-was-given");
  await refused(() => stranger.list({}), 401);
  await refused(() => stranger.get(sample.conversation_id), 401);
  await refused(() => audioOf(stranger, sample.conversation_id), 401);
});

test("bad parameters are named", async () => {
  const bad = [
    ["page_size", { pageSize: 101 }],
    ["page_size", { pageSize: 0 }],
    ["cursor", { cursor: "forged" }],
  ];
  for (const [field, filters] of bad) {
    const { body } = await refused(() => conversations.list(filters), 400);
    assert.ok(body.errors.some((error) => error.field === field), JSON.stringify(body));
  }
});
