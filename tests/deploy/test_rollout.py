"""deploy/rollout, with a kubectl that only takes notes."""

import os
import subprocess

import pytest
from manifests import COMPONENT, DEPLOY, render

KUBECTL = r"""#!/usr/bin/env bash
echo "$*" >>"$NOTES"
case "$*" in
*"get job migrate"*) echo "$MIGRATION" ;;
*"get deployment access"*) echo "$ACCESS" ;;
*"get deployments"*) printf 'deployment.apps/%s\n' $(sed 's/.*(\(.*\)).*/\1/; s/,/ /g' <<<"$*") ;;
esac
"""
SERVERS = {"edge", "access", "ingestion", "conversation-store", "transcript", "analytics", "notification"}


@pytest.fixture
def rollout(tmp_path):
    """Runs it, and returns how it ended and what it asked of kubectl."""
    (tmp_path / "kubectl").write_text(KUBECTL)
    (tmp_path / "kubectl").chmod(0o755)
    notes = tmp_path / "notes"

    def rolled(*arguments, access="deployment.apps/access", migration="SuccessCriteriaMet Complete"):
        environment = {**os.environ, "PATH": f"{tmp_path}:{os.environ['PATH']}", "NOTES": str(notes)}
        environment |= {"ACCESS": access, "MIGRATION": migration}
        done = subprocess.run([DEPLOY / "rollout", *arguments], env=environment, capture_output=True, text=True, timeout=60)
        return done, notes.read_text().splitlines() if notes.exists() else []

    return rolled


def place(calls, *words):
    """Where the only call with all the words is."""
    (found,) = [at for at, call in enumerate(calls) if all(word in call for word in words)]
    return found


def test_an_upgrade_migrates_and_then_replaces_ingestion_before_the_others(rollout):
    done, calls = rollout("production", "--context", "kind-kind")
    assert done.returncode == 0, done.stderr
    others = ",".join(sorted(SERVERS - {"ingestion"}))
    applied = [call for call in calls if " apply " in call]
    sets = [call.split("(")[1].rstrip(")") for call in applied]
    assert f"{COMPONENT} notin" in applied[0]
    assert [",".join(sorted(names.split(","))) for names in sets] == [",".join(sorted(SERVERS)), "ingestion", others]
    assert calls[0].startswith("kustomize ")
    order = [
        place(calls, "delete job migrate"),
        calls.index(applied[0]),
        place(calls, "get job migrate"),
        calls.index(applied[1]),
        place(calls, "rollout status deployment.apps/ingestion"),
        calls.index(applied[2]),
        place(calls, "rollout status deployment.apps/transcript"),
    ]
    assert order == sorted(order)
    assert all("--context kind-kind --namespace colloquy" in call for call in calls[1:])


def test_every_server_is_named():
    assert SERVERS == {work.labels[COMPONENT] for work in render("production").deployments}


def test_the_first_installation_waits_for_nobody_who_is_not_there_yet(rollout):
    done, calls = rollout("dev", access="")
    assert done.returncode == 0, done.stderr
    applied = [call for call in calls if " apply " in call]
    assert len(applied) == 2 and all(server in applied[1] for server in SERVERS)
    assert sum("rollout status" in call for call in calls) == len(SERVERS)


def test_no_server_is_touched_when_the_migration_fails(rollout):
    done, calls = rollout("dev", migration="Failed")
    assert done.returncode == 1 and "no server was changed" in done.stderr
    assert sum(" apply " in call for call in calls) == 1


def test_it_says_how_it_is_used(rollout):
    for arguments, code in [((), 2), (("--help",), 0), (("nowhere",), 2)]:
        done, calls = rollout(*arguments)
        assert done.returncode == code and calls == [], arguments
    assert "usage: deploy/rollout dev|production|FOLDER" in rollout("--help")[0].stdout
