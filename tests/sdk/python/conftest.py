"""What the tests of the official SDK share: the client, and what the samples say the answers must be."""

import json
import os
from pathlib import Path

import pytest
from elevenlabs.client import ElevenLabs

PAYLOADS = Path(__file__).parents[2] / "payloads" / "elevenlabs"


def required(name: str) -> str:
    """Returns the environment variable `name`, or stops the run: a missing server must not look like success."""
    value = os.environ.get(name)
    if not value:
        pytest.exit(f"{name} is not set; tests/run sdk starts a server and sets it", returncode=2)
    return value


def payload(name: str) -> dict:
    """Returns `data` of the sample webhook `name`."""
    return json.loads((PAYLOADS / f"{name}.json").read_bytes())["data"]


@pytest.fixture(scope="session")
def base_url() -> str:
    return required("COLLOQUY_BASE_URL").rstrip("/")


@pytest.fixture(scope="session")
def api_key() -> str:
    return required("COLLOQUY_API_KEY")


@pytest.fixture(scope="session")
def conversations(base_url, api_key):
    """The SDK's conversations client, made as its own users make it, with only the base URL changed."""
    return ElevenLabs(base_url=base_url, api_key=api_key).conversational_ai.conversations


@pytest.fixture(scope="session")
def sample() -> dict:
    """The sample conversation that has a transcript, tools, an analysis and a recording."""
    return payload("post_call_transcription")


@pytest.fixture(scope="session")
def sample_ids() -> set:
    """The ids of every ElevenLabs conversation among the samples."""
    files = [path for path in PAYLOADS.glob("*.json") if not path.name.endswith(".headers.json")]
    return {payload(path.stem)["conversation_id"] for path in files}
