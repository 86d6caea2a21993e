"""The manifests say of the binary what is true."""

import contextlib
import re
import subprocess
import time

import pytest
from binary import BINARY, free_port, graph, services, services_with_a_database, settings, started
from manifests import OVERLAYS, dockerfile, image_environment, render, run, self_signed

each_overlay = pytest.mark.parametrize("overlay", OVERLAYS)
# Variables that are not Colloquy's own but of the libraries it speaks S3 and OTLP with.
OTHERS = {
    "AWS_ACCESS_KEY_ID",
    "AWS_ALLOW_HTTP",
    "AWS_ENDPOINT_URL",
    "AWS_REGION",
    "AWS_SECRET_ACCESS_KEY",
    "OTEL_EXPORTER_OTLP_ENDPOINT",
}


def url_of(service):
    return f"COLLOQUY_{service.replace('-', '_').upper()}_URL"


def check_environment(service, environment):
    """Whether a process is told what it needs, nothing that does not exist, and no secret that is not its own."""
    assert {name for name in environment if not name.startswith("COLLOQUY_")} <= OTHERS
    unknown = {name for name in environment if name.startswith("COLLOQUY_")} - settings().keys()
    assert not unknown, f"{service}: the binary knows no {unknown}"
    calls = {other for other in services() if url_of(other) in environment}
    assert calls == (graph()[service] if service else set()), service
    has_database = service is None or service in services_with_a_database()
    assert ("COLLOQUY_DATABASE_URL" in environment) == has_database, service
    assert ("COLLOQUY_LOG_URL" in environment) == (service in (None, "ingestion")), service
    assert ("COLLOQUY_OBJECTS_URL" in environment) == (service == "conversation-store"), service
    assert ("COLLOQUY_BOOTSTRAP_API_KEY" in environment) <= (service == "access"), service
    assert ("COLLOQUY_PUBLIC_URL" in environment) == (service == "edge"), service
    assert "COLLOQUY_MASTER_KEY" in environment, service


@each_overlay
def test_every_service_has_its_deployment_and_its_variables(overlay):
    deployments = render(overlay).deployments
    assert {work.service for work in deployments} == services()
    assert all(work.name == work.service for work in deployments)
    for work in render(overlay).colloquy:
        check_environment(work.service, work.environment)


@each_overlay
def test_an_address_is_that_of_a_service_and_says_whether_it_is_encrypted(overlay):
    scheme = "https" if overlay == "production" else "http"
    for work in render(overlay).colloquy:
        for callee in graph().get(work.service, ()):
            service = render(overlay).get("Service", callee)["spec"]
            assert service["clusterIP"] == "None", "one address would pin every call of a connection to one pod"
            assert work.environment[url_of(callee)] == f"{scheme}://{callee}:{service['ports'][0]['port']}"


@each_overlay
def test_ports_are_those_the_image_listens_on(overlay):
    environment = image_environment()
    listens = {name: int(environment[f"COLLOQUY_{name.upper()}_ADDR"].split(":")[1]) for name in ("http", "grpc", "metrics")}
    exposed = {int(port) for word, rest in dockerfile() if word == "EXPOSE" for port in rest.split()}
    assert exposed == set(listens.values())
    for work in render(overlay).deployments:
        assert work.ports == {name: port for name, port in listens.items() if name != "http" or work.service == "edge"}, work


@each_overlay
def test_whoever_is_stopped_has_the_time_that_it_was_promised(overlay):
    for work in render(overlay).deployments:
        before = work.container["lifecycle"]["preStop"]["sleep"]["seconds"]
        grace = int(work.environment.get("COLLOQUY_SHUTDOWN_GRACE_SECONDS", settings()["COLLOQUY_SHUTDOWN_GRACE_SECONDS"]))
        assert work.pod["terminationGracePeriodSeconds"] >= before + grace + 5, work


def test_readiness_is_asked_over_grpc_where_that_is_possible():
    for overlay in OVERLAYS:
        for work in render(overlay).deployments:
            probe, encrypted = work.container["readinessProbe"], "COLLOQUY_TLS_CA" in work.environment
            if work.service == "edge":
                assert probe["httpGet"] == {"port": "http", "path": "/healthz"}
            elif encrypted:
                assert probe["httpGet"] == {"port": "metrics", "path": "/readyz"} and "grpc" not in probe
            else:
                assert "grpc" in probe


@each_overlay
def test_whoever_is_not_ready_is_neither_restarted_nor_hidden_from_callers(overlay):
    for work in render(overlay).deployments:
        for kind in ("startupProbe", "livenessProbe"):
            assert work.container[kind]["httpGet"] == {"port": "metrics", "path": "/livez"}, work
        service = render(overlay).get("Service", work.name)["spec"]
        assert service.get("publishNotReadyAddresses", False) == (work.service != "edge"), work


@pytest.fixture(scope="module")
def running(tmp_path_factory):
    """Every service in a process of its own, told what the dev overlay tells it, with SQLite and files instead of servers."""
    folder = tmp_path_factory.mktemp("running")
    ports = {name: free_port() for name in services()}
    with contextlib.ExitStack() as stack:
        processes = {}
        for work in render("dev").deployments:
            environment = {name: value for name, value in own(work).items() if not SERVERS.search(name)}
            environment["COLLOQUY_GRPC_ADDR"] = f"127.0.0.1:{ports[work.service]}"
            for callee in graph()[work.service]:
                environment[url_of(callee)] = f"http://127.0.0.1:{ports[callee]}"
            data = folder / work.name
            data.mkdir()
            processes[work.service] = stack.enter_context(started(work.service, data, environment))
        for process in processes.values():
            assert process.runs(), f"{process.service}: {process.complaint()}"
        yield processes


@each_overlay
def test_every_probe_passes_once_everything_runs(overlay, running):
    for work in render(overlay).deployments:
        process = running[work.service]
        for kind in ("startupProbe", "livenessProbe", "readinessProbe"):
            wait_until(lambda: process.passes(work, work.container[kind]), f"{work}: {kind} {work.container[kind]}")


def wait_until(holds, what, patience=30):
    until = time.monotonic() + patience
    while not holds():
        assert time.monotonic() < until, what
        time.sleep(0.1)


def test_a_probe_of_what_is_not_there_fails(running):
    work = next(work for work in render("dev").deployments if work.service == "access")
    assert not running["access"].passes(work, {"httpGet": {"port": "metrics", "path": "/no-such-path"}})
    assert not running["access"].passes(work, {"grpc": {"port": work.ports["grpc"], "service": "no.such.Service"}})


@each_overlay
def test_prometheus_finds_the_metrics(overlay, running):
    for work in render(overlay).deployments:
        notes = work.spec["template"]["metadata"]["annotations"]
        port = int(notes["prometheus.io/port"])
        assert port == work.ports["metrics"] and notes["prometheus.io/scrape"] == "true"
        status, text = running[work.service].get(port, notes["prometheus.io/path"])
        assert status == 200 and "# TYPE " in text, work


def test_the_image_checks_its_own_health(running):
    (check,) = [rest for word, rest in dockerfile() if word == "HEALTHCHECK"]
    command = [word.strip(' ",') for word in check.split("CMD", 1)[1].strip(" []").split(",")]
    assert command[0] == "/colloquy"
    for process in running.values():
        environment = {"COLLOQUY_GRPC_ADDR": process.listens["COLLOQUY_GRPC_ADDR"], "COLLOQUY_DATA_DIR": str(process.folder)}

        def is_well():
            return subprocess.run([BINARY, *command[1:]], env=environment, capture_output=True, timeout=30).returncode == 0

        wait_until(is_well, process.service)


@pytest.mark.parametrize("service", sorted(services()))
def test_the_settings_of_production_are_taken(service, tmp_path):
    """With files for servers, since there are none; with TLS, and metrics and readiness in plain text beside it."""
    self_signed(tmp_path)
    (work,) = [work for work in render("production").deployments if work.service == service]
    environment = {name: value.replace("/tls/", f"{tmp_path}/") for name, value in own(work).items() if not SERVERS.search(name)}
    with started(service, tmp_path, environment) as process:
        assert process.runs(), process.complaint()
        assert not process.passes(work, {"grpc": {"port": work.ports["grpc"]}}), "it answers without a certificate"


def own(work):
    """Colloquy's settings, as far as no secret says them."""
    return {name: value for name, value in work.environment.items() if name.startswith("COLLOQUY_") and value is not None}


SERVERS = re.compile("_(DATABASE_URL|LOG_URL|OBJECTS_URL|DATA_DIR|ADDR)$|^COLLOQUY_NATS_")


@each_overlay
def test_the_migration_ends_well_and_talks_to_nobody_but_the_database(overlay, tmp_path):
    (work,) = [work for work in render(overlay).colloquy if work.kind == "Job"]
    environment = {name: value for name, value in own(work).items() if not SERVERS.search(name)}
    environment |= {"COLLOQUY_DATA_DIR": str(tmp_path), "COLLOQUY_MASTER_KEY": "11" * 32}
    environment["COLLOQUY_LOG_URL"] = f"nats://127.0.0.1:{free_port()}"
    run(BINARY, *work.container["args"], env=environment)
    # Live control runs with notification, and has a database of its own.
    made = {path.stem.replace("_", "-") for path in tmp_path.glob("*.sqlite")}
    assert made == services_with_a_database() | {"control"}


# The last one: it ends what the others use.
def test_every_server_ends_well_within_its_grace_period(running):
    for service in sorted(running, key=lambda service: len(graph()[service]), reverse=True):
        work = next(work for work in render("dev").deployments if work.service == service)
        grace = work.pod["terminationGracePeriodSeconds"] - work.container["lifecycle"]["preStop"]["sleep"]["seconds"]
        code, seconds = running[service].stop()
        assert code == 0 and seconds < grace, f"{service}: {code} after {seconds:.1f} s"
        assert not (running[service].folder / "addresses.json").exists()
