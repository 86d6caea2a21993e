"""The binary: what it says of itself, and processes of it."""

import contextlib
import functools
import json
import os
import pathlib
import re
import signal
import socket
import subprocess
import tempfile
import time
import urllib.error
import urllib.request

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc
from manifests import image_environment, run

BINARY = pathlib.Path(os.environ.get("COLLOQUY_BIN", "target/debug/colloquy")).absolute()
LISTENERS = ["COLLOQUY_HTTP_ADDR", "COLLOQUY_GRPC_ADDR", "COLLOQUY_METRICS_ADDR"]
PATIENCE = 30


def port_of(listener):
    """The port on which the image has a listener."""
    return int(image_environment()[listener].rsplit(":", 1)[1])


@functools.cache
def help_text():
    return run(BINARY, "serve", "--help", env={})


@functools.cache
def settings():
    """The environment variable of every setting, and its default."""
    named = re.findall(r"\[env:\s+(COLLOQUY_\w+)=?\](?:\s+\[default:\s+([^\]]*)\])?", help_text())
    assert len(named) > 20, "the help does not name the settings"
    return dict(named)


@functools.cache
def services():
    """Every service there is, from what the binary says to one there is not."""
    done = subprocess.run([BINARY, "serve", "no-such-service"], capture_output=True, text=True, timeout=30)
    assert done.returncode != 0
    return set(done.stderr.split("there are:")[1].replace(",", " ").split())


def services_with_a_database():
    return {name for name in services() if f"COLLOQUY_{name.replace('-', '_').upper()}_DATABASE_URL" in settings()}


@functools.cache
def graph():
    """Who calls whom: what each service asks for until it starts."""
    return {service: calls(service) for service in services()}


def calls(service):
    asked = {}
    with tempfile.TemporaryDirectory(prefix="colloquy-deploy-") as folder:
        for _ in range(len(services()) + 1):
            environment = {name: f"http://127.0.0.1:{free_port()}" for name in asked.values()}
            with started(service, pathlib.Path(folder), environment) as process:
                if process.runs():
                    return frozenset(asked)
            missing = re.search(r"(\S+) does not run in this process: .* (COLLOQUY_\w+_URL)", process.complaint())
            assert missing, f"{service} does not start: {process.complaint()}"
            asked[missing[1]] = missing[2]
    raise AssertionError(f"{service} asks for more services than there are")


def free_port():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


class Process:
    """A running server, on ports of its own."""

    def __init__(self, service, folder, environment):
        self.service, self.folder = service, folder
        self.listens = {name: f"127.0.0.1:{free_port()}" for name in LISTENERS} | {
            name: environment[name] for name in LISTENERS if name in environment
        }
        given = {"COLLOQUY_DATA_DIR": str(folder), "COLLOQUY_MASTER_KEY": "11" * 32, **environment, **self.listens}
        self.errors = open(folder / "stderr", "w+")
        self.child = subprocess.Popen([BINARY, "serve", service], env=given, stdout=subprocess.DEVNULL, stderr=self.errors)

    def runs(self):
        """Waits until it has all it was told, whether what it talks to is there or not; false when it ended instead."""
        until = time.monotonic() + PATIENCE
        while time.monotonic() < until:
            if self.child.poll() is not None:
                return False
            with contextlib.suppress(OSError):
                _, text = self.get(port_of("COLLOQUY_METRICS_ADDR"), "/readyz")
                if all(missing["check"] != "start" for missing in json.loads(text)["missing"]):
                    return True
            time.sleep(0.05)
        raise AssertionError(f"{self.service} neither starts nor ends: {self.complaint()}")

    def complaint(self):
        return (self.folder / "stderr").read_text()[-2000:]

    def address(self, port):
        """Where the process listens instead of on the image's `port`."""
        (name,) = [name for name in LISTENERS if port_of(name) == port]
        return self.listens[name]

    def get(self, port, path):
        """The status and body of an answer."""
        try:
            with urllib.request.urlopen(f"http://{self.address(port)}{path}", timeout=5) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            return error.code, error.read().decode()

    def passes(self, workload, probe):
        """Whether the kubelet would be content."""
        if "grpc" in probe:
            with grpc.insecure_channel(self.address(probe["grpc"]["port"])) as channel:
                request = health_pb2.HealthCheckRequest(service=probe["grpc"].get("service", ""))
                try:
                    answer = health_pb2_grpc.HealthStub(channel).Check(request, timeout=5)
                except grpc.RpcError:
                    return False
                return answer.status == health_pb2.HealthCheckResponse.SERVING
        check = probe["httpGet"]
        return 200 <= self.get(workload.port(check["port"]), check["path"])[0] < 400

    def stop(self):
        """Asks it to end and returns how it did, and after how many seconds."""
        began = time.monotonic()
        self.child.send_signal(signal.SIGTERM)
        return self.child.wait(PATIENCE), time.monotonic() - began


@contextlib.contextmanager
def started(service, folder, environment):
    process = Process(service, folder, environment)
    try:
        yield process
    finally:
        if process.child.poll() is None:
            process.child.kill()
        process.child.wait()
        process.errors.close()
