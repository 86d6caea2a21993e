"""The official ElevenLabs SDK for Python reads conversations with only its base URL changed.

The SDK builds its objects without validating them, so every shape is also validated from the raw body by the SDK's own models.
"""

import asyncio
import base64
import hashlib
import json

import httpx
import pytest
from elevenlabs.client import AsyncElevenLabs, ElevenLabs
from elevenlabs.core.api_error import ApiError
from elevenlabs.types import GetConversationResponseModel, GetConversationsPageResponseModel

from conftest import payload

STATUSES = {"initiated", "in-progress", "processing", "done", "failed"}
RESULTS = {"success", "failure", "unknown"}


def pages(conversations, **filters):
    """Walks a list as a program written for the SDK does: by `next_cursor`, while `has_more`."""
    cursor = None
    for _ in range(1000):
        page = conversations.list(cursor=cursor, **filters)
        yield page
        if not page.has_more:
            return
        assert page.next_cursor, "a page that has more names the next one"
        cursor = page.next_cursor
    pytest.fail("the list does not end")


def ids(conversations, **filters):
    """Returns the ids of a whole list, in order."""
    return [entry.conversation_id for page in pages(conversations, **filters) for entry in page.conversations]


def refused(call) -> ApiError:
    """Returns the error that `call` raises."""
    with pytest.raises(ApiError) as caught:
        call()
    return caught.value


def test_the_list_holds_every_sample_under_the_providers_own_id(conversations, sample_ids):
    assert sample_ids <= set(ids(conversations, page_size=100))


def test_every_page_satisfies_the_sdks_own_model(base_url, api_key):
    answer = httpx.get(
        f"{base_url}/v1/convai/conversations",
        params={"page_size": 100, "summary_mode": "include"},
        headers={"xi-api-key": api_key},
    )
    assert answer.status_code == 200, answer.text
    page = GetConversationsPageResponseModel.model_validate(answer.json())
    assert page.conversations
    for entry in page.conversations:
        assert entry.status in STATUSES
        assert entry.call_successful in RESULTS
        assert entry.direction in {"inbound", "outbound", None}


def test_every_listed_conversation_satisfies_the_sdks_own_model(conversations, base_url, api_key):
    listed = ids(conversations, page_size=100)
    assert listed
    for conversation_id in listed:
        answer = httpx.get(f"{base_url}/v1/convai/conversations/{conversation_id}", headers={"xi-api-key": api_key})
        assert answer.status_code == 200, f"{conversation_id}: {answer.text}"
        conversation = GetConversationResponseModel.model_validate(answer.json())
        assert conversation.conversation_id == conversation_id
        assert conversation.status in STATUSES
        assert {turn.role for turn in conversation.transcript} <= {"user", "agent"}
        assert conversation.analysis is None or conversation.analysis.call_successful in RESULTS


def test_an_entry_says_what_the_webhook_said(conversations, sample):
    entries = [entry for page in pages(conversations, agent_id=sample["agent_id"]) for entry in page.conversations]
    [entry] = [entry for entry in entries if entry.conversation_id == sample["conversation_id"]]
    assert entry.agent_id == sample["agent_id"]
    assert entry.agent_name == sample["agent_name"]
    assert entry.start_time_unix_secs == sample["metadata"]["start_time_unix_secs"]
    assert entry.call_duration_secs == sample["metadata"]["call_duration_secs"]
    assert entry.status == "done"
    assert entry.call_successful == "success"
    assert entry.message_count > 0


@pytest.mark.parametrize("page_size", [1, 2, 3])
def test_small_pages_make_up_the_one_big_list(conversations, page_size):
    small = list(pages(conversations, page_size=page_size))
    assert all(len(page.conversations) <= page_size for page in small)
    assert len(small) > 1
    walked = [entry.conversation_id for page in small for entry in page.conversations]
    assert walked == ids(conversations, page_size=100)
    assert len(walked) == len(set(walked))


def test_start_times_are_inclusive_after_and_exclusive_before(conversations, sample):
    started, wanted = sample["metadata"]["start_time_unix_secs"], sample["conversation_id"]
    assert wanted in ids(conversations, call_start_after_unix=started)
    assert wanted not in ids(conversations, call_start_after_unix=started + 1)
    assert wanted in ids(conversations, call_start_before_unix=started + 1)
    assert wanted not in ids(conversations, call_start_before_unix=started)


def test_the_list_is_filtered_by_agent_user_and_outcome(conversations, sample):
    wanted = sample["conversation_id"]
    assert wanted in ids(conversations, agent_id=sample["agent_id"])
    assert ids(conversations, agent_id="agent_of_nobody") == []
    assert wanted in ids(conversations, user_id=sample["user_id"])
    assert ids(conversations, user_id="user-nobody-knows") == []
    assert wanted in ids(conversations, call_successful="success")
    assert wanted not in ids(conversations, call_successful="failure")


def test_durations_filter_the_list(conversations, sample):
    lasted, wanted = sample["metadata"]["call_duration_secs"], sample["conversation_id"]
    assert wanted in ids(conversations, call_duration_min_secs=lasted, call_duration_max_secs=lasted)
    assert wanted not in ids(conversations, call_duration_min_secs=lasted + 1)
    assert wanted not in ids(conversations, call_duration_max_secs=lasted - 1)


def test_summaries_are_listed_only_when_asked_for(conversations, sample):
    def summary(**mode):
        entries = [entry for page in pages(conversations, **mode) for entry in page.conversations]
        [entry] = [entry for entry in entries if entry.conversation_id == sample["conversation_id"]]
        return entry.transcript_summary

    assert summary() is None
    assert summary(summary_mode="exclude") is None
    assert summary(summary_mode="include") == sample["analysis"]["transcript_summary"]


def test_one_conversation_says_what_the_webhook_said(conversations, sample):
    conversation = conversations.get(sample["conversation_id"])
    assert isinstance(conversation, GetConversationResponseModel)
    assert conversation.conversation_id == sample["conversation_id"]
    assert conversation.agent_id == sample["agent_id"]
    assert conversation.user_id == sample["user_id"]
    assert conversation.status == "done"
    assert conversation.has_audio is True
    assert conversation.metadata.start_time_unix_secs == sample["metadata"]["start_time_unix_secs"]
    assert conversation.metadata.call_duration_secs == sample["metadata"]["call_duration_secs"]
    assert conversation.analysis.call_successful == "success"
    assert conversation.analysis.transcript_summary == sample["analysis"]["transcript_summary"]


def test_the_transcript_is_the_one_the_webhook_brought(conversations, sample):
    transcript = conversations.get(sample["conversation_id"]).transcript
    spoken = [(turn.role, turn.message, turn.time_in_call_secs) for turn in transcript if turn.message]
    assert spoken == [
        (turn["role"], turn["message"], turn["time_in_call_secs"]) for turn in sample["transcript"] if turn["message"]
    ]

    [interrupted] = [turn for turn in transcript if turn.interrupted]
    [original] = [turn["original_message"] for turn in sample["transcript"] if turn["interrupted"]]
    assert interrupted.original_message == original


def test_tool_calls_and_results_come_back(conversations, sample):
    transcript = conversations.get(sample["conversation_id"]).transcript
    calls = [call for turn in transcript for call in turn.tool_calls or []]
    assert [(call.request_id, call.tool_name, json.loads(call.params_as_json)) for call in calls] == [
        (call["request_id"], call["tool_name"], json.loads(call["params_as_json"]))
        for turn in sample["transcript"]
        for call in turn["tool_calls"]
    ]
    results = [result for turn in transcript for result in turn.tool_results or []]
    assert [(result.request_id, result.is_error) for result in results] == [
        (result["request_id"], result["is_error"]) for turn in sample["transcript"] for result in turn["tool_results"]
    ]


def test_the_audio_is_the_providers_bytes(conversations, sample):
    audio = b"".join(conversations.audio.get(sample["conversation_id"]))
    sent = base64.b64decode(payload("post_call_audio")["full_audio"])
    assert hashlib.sha256(audio).hexdigest() == "fa56019d2b85b9cb5b80b45a20f8f61605800f96644fda453076c054ab37ac60"
    assert audio == sent


def test_a_conversation_without_a_recording_has_no_audio(conversations):
    unrecorded = payload("post_call_transcription_failed")["conversation_id"]
    assert conversations.get(unrecorded).has_audio is False
    assert refused(lambda: b"".join(conversations.audio.get(unrecorded))).status_code == 404


def test_an_unknown_conversation_is_not_found(conversations):
    error = refused(lambda: conversations.get("conv_of_nobody"))
    assert error.status_code == 404
    assert error.body["status"] == 404


def test_a_wrong_key_is_refused(base_url, sample):
    stranger = ElevenLabs(base_url=base_url, api_key="a-key-nobody-was-given").conversational_ai.conversations
    assert refused(lambda: stranger.list()).status_code == 401
    assert refused(lambda: stranger.get(sample["conversation_id"])).status_code == 401
    assert refused(lambda: b"".join(stranger.audio.get(sample["conversation_id"]))).status_code == 401


def test_bad_parameters_are_named(conversations):
    for field, filters in [("page_size", {"page_size": 101}), ("page_size", {"page_size": 0}), ("cursor", {"cursor": "forged"})]:
        error = refused(lambda filters=filters: conversations.list(**filters))
        assert error.status_code == 400
        assert field in [bad["field"] for bad in error.body["errors"]]


def test_the_asynchronous_client_reads_the_same(base_url, api_key, conversations, sample):
    async def read():
        client = AsyncElevenLabs(base_url=base_url, api_key=api_key).conversational_ai.conversations
        page = await client.list(page_size=100)
        conversation = await client.get(sample["conversation_id"])
        audio = b"".join([chunk async for chunk in client.audio.get(sample["conversation_id"])])
        return [entry.conversation_id for entry in page.conversations], conversation, audio

    listed, conversation, audio = asyncio.run(read())
    assert listed == ids(conversations, page_size=100)
    assert conversation == conversations.get(sample["conversation_id"])
    assert len(audio) > 0
