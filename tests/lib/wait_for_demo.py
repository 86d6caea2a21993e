"""Waits until a `colloquy demo` that is starting serves every ElevenLabs sample, then prints its HTTP base URL.

usage: wait_for_demo.py DATA_DIR API_KEY PID [SECONDS]
"""

import json
import os
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

PAYLOADS = Path(__file__).parents[1] / "payloads" / "elevenlabs"
NO_PROXY = urllib.request.build_opener(urllib.request.ProxyHandler({}))


def read(url, key):
    request = urllib.request.Request(url, headers={"xi-api-key": key})
    with NO_PROXY.open(request, timeout=10) as answer:
        return json.load(answer)


def samples():
    """Returns the ids of the sample conversations, and the one that has a recording."""
    ids, recorded = set(), None
    for path in PAYLOADS.glob("*.json"):
        if not path.name.endswith(".headers.json"):
            webhook = json.loads(path.read_bytes())
            ids.add(webhook["data"]["conversation_id"])
            if webhook["type"] == "post_call_audio":
                recorded = webhook["data"]["conversation_id"]
    return ids, recorded


def missing(base, key, wanted, recorded):
    """Returns what is not readable yet, or None."""
    listed = read(f"{base}/v1/convai/conversations?page_size=100", key)
    absent = wanted - {entry["conversation_id"] for entry in listed["conversations"]}
    if absent:
        return f"not listed: {', '.join(sorted(absent))}"
    conversation = read(f"{base}/v1/convai/conversations/{recorded}", key)
    if conversation["status"] != "done" or not conversation["has_audio"] or not conversation["transcript"]:
        return f"{recorded} is not complete"
    return None


def main():
    folder, key, pid = Path(sys.argv[1]), sys.argv[2], int(sys.argv[3])
    limit = float(sys.argv[4]) if len(sys.argv) > 4 else 120.0
    wanted, recorded = samples()
    started, reason = time.monotonic(), "addresses.json is not there"
    while time.monotonic() - started < limit:
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            sys.exit("the server ended before it was ready")
        try:
            base = "http://" + json.loads((folder / "addresses.json").read_text())["http"]
            reason = missing(base, key, wanted, recorded)
            if reason is None:
                print(base)
                return
        except urllib.error.HTTPError as error:
            reason = f"{error.url}: {error.code} {error.read(300).decode(errors='replace')}"
        except (OSError, ValueError, KeyError) as error:
            reason = f"{type(error).__name__}: {error}"
        time.sleep(0.1)
    sys.exit(f"not ready after {limit:.0f} s: {reason}")


main()
