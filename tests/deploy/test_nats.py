"""The configuration of NATS, asked of nats-server."""

import os
import re

import pytest
from manifests import DEPLOY, run, self_signed

CONFIGURATIONS = ["nats/nats.conf", "overlays/production/nats.conf"]


@pytest.mark.parametrize("name", CONFIGURATIONS)
def test_nats_takes_its_configuration(name, tmp_path):
    text = (DEPLOY / "kubernetes" / name).read_text()
    version = run("nats-server", "--version")
    if tuple(map(int, re.search(r"v(\d+)\.(\d+)", version).groups())) < (2, 10):
        text = re.sub(r"^\s*sync_interval: always$", "", text, flags=re.M)  # servers know it since 2.10
    self_signed(tmp_path)
    text = re.sub(r'"/(tls|tmp|data)\b/?', f'"{tmp_path}/', text)
    (tmp_path / "nats.conf").write_text(text)
    environment = {**os.environ, "POD_NAME": "nats-0", "NATS_PASSWORD": "n0123"}
    run("nats-server", "-t", "--config", tmp_path / "nats.conf", env=environment)


def test_both_acknowledge_what_is_on_the_disk():
    for name in CONFIGURATIONS:
        assert re.search(r"^\s*sync_interval: always$", (DEPLOY / "kubernetes" / name).read_text(), re.M), name


def test_both_take_records_of_the_same_size():
    sizes = {re.search(r"^max_payload: (\S+)$", (DEPLOY / "kubernetes" / name).read_text(), re.M)[1] for name in CONFIGURATIONS}
    assert len(sizes) == 1
