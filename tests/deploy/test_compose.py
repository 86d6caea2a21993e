"""The compose file: the topology of the manifests, on one machine."""

import importlib.util
import json
import pathlib

import jsonschema
import pytest
import yaml
from binary import graph, services, services_with_a_database
from manifests import DEPLOY, connections_per_pool, image_environment, render
from test_binary import check_environment

COMPOSE = yaml.safe_load((DEPLOY / "compose.yaml").read_text())
OURS = {name: service for name, service in COMPOSE["services"].items() if service.get("image") == "colloquy:dev"}


def test_it_is_a_compose_file():
    folder = importlib.util.find_spec("compose").submodule_search_locations[0]
    schema = json.loads((pathlib.Path(folder) / "config/compose_spec.json").read_text())
    schema["properties"]["name"] = {"type": "string"}  # a project's name is newer than this copy of the schema
    schema = jsonschema.Draft201909Validator(schema)
    schema.validate(COMPOSE)
    with pytest.raises(jsonschema.ValidationError):
        schema.validate({"services": {"edge": {"comand": []}}})


def test_every_service_is_there_and_is_told_what_it_needs():
    commands = {name: service["command"] for name, service in OURS.items()}
    assert commands == {**{name: ["serve", name] for name in services()}, "migrate": ["migrate"]}
    for name, service in OURS.items():
        check_environment(name if name in services() else None, service["environment"])
        for callee in graph().get(name, ()):
            port = image_environment()["COLLOQUY_GRPC_ADDR"].split(":")[1]
            assert service["environment"][f"COLLOQUY_{callee.replace('-', '_').upper()}_URL"] == f"http://{callee}:{port}"


def test_the_same_is_doubled_that_production_doubles():
    doubled = {name for name, service in OURS.items() if service.get("deploy", {}).get("replicas") == 2}
    assert doubled == {"edge", "ingestion", "conversation-store", "transcript", "analytics", "notification"}


def test_whoever_has_a_database_waits_for_the_migration():
    for name in services_with_a_database():
        assert OURS[name]["depends_on"]["migrate"] == {"condition": "service_completed_successfully"}, name
    assert OURS["migrate"]["restart"] == "no"


def test_ours_are_hardened_and_have_time_to_stop():
    for name, service in OURS.items():
        assert service["read_only"] is True and service["cap_drop"] == ["ALL"], name
        assert service["security_opt"] == ["no-new-privileges:true"], name
        assert "privileged" not in service and "user" not in service, name
        assert int(service["stop_grace_period"].removesuffix("s")) >= 25, name


def test_one_image_is_built_once():
    assert [name for name, service in OURS.items() if "build" in service] == ["migrate"]
    build = OURS["migrate"]["build"]
    assert (DEPLOY / build["context"] / build["dockerfile"]).resolve() == DEPLOY / "Dockerfile"


def test_the_engines_are_those_of_the_dev_overlay():
    engines = {"postgres", "nats", "objects", "make-bucket"}
    images = {work.name: work.container["image"] for work in render("dev").workloads if work.name in engines}
    assert images == {name: COMPOSE["services"][name]["image"] for name in engines}


def test_the_balancer_is_the_only_way_in():
    assert [name for name, service in COMPOSE["services"].items() if "ports" in service] == ["balancer"]
    balancer = COMPOSE["services"]["balancer"]
    port = image_environment()["COLLOQUY_HTTP_ADDR"].split(":")[1]
    assert f"edge:{port}" in balancer["command"]
    assert all(address.startswith("127.0.0.1:") for address in balancer["ports"]), "the secrets are no secrets"


def test_postgres_has_a_connection_for_everybody():
    # Notification's processes have two pools, and the migration is a process too.
    pools = [*services_with_a_database(), "notification"]
    processes = sum(OURS[name].get("deploy", {}).get("replicas", 1) for name in pools) + 1
    given = COMPOSE["services"]["postgres"]["command"][1]
    assert int(given.removeprefix("max_connections=")) >= processes * connections_per_pool() + 3


def test_files_it_mounts_exist():
    for service in COMPOSE["services"].values():
        for volume in service.get("volumes", []):
            if volume.startswith("."):
                assert (DEPLOY / volume.split(":")[0]).is_file(), volume
