"""The manifests as they are rendered, and what can be asked of them."""

import base64
import functools
import pathlib
import subprocess

import yaml

ROOT = pathlib.Path(__file__).resolve().parents[2]
DEPLOY = ROOT / "deploy"
OVERLAYS = ["dev", "production"]
COMPONENT = "app.kubernetes.io/component"


def run(*command, **options):
    """Runs a command to its end and returns what it printed; what it complained about is in the error."""
    done = subprocess.run([str(part) for part in command], capture_output=True, text=True, timeout=120, **options)
    assert done.returncode == 0, f"{' '.join(map(str, command))}: {done.stdout}{done.stderr}"
    return done.stdout


class Overlay:
    """One overlay, rendered."""

    def __init__(self, objects):
        self.objects = objects

    def of(self, *kinds):
        return [thing for thing in self.objects if thing["kind"] in kinds]

    def get(self, kind, name):
        found = [thing for thing in self.of(kind) if thing["metadata"]["name"] == name]
        assert len(found) == 1, f"{len(found)} objects are {kind} {name}"
        return found[0]

    @property
    def workloads(self):
        return [Workload(self, thing) for thing in self.of("Deployment", "StatefulSet", "Job")]

    @property
    def deployments(self):
        return [Workload(self, thing) for thing in self.of("Deployment")]

    @property
    def colloquy(self):
        """Everything that runs our image: the servers and the migration."""
        return [work for work in self.workloads if work.labels.get("app.kubernetes.io/name") == "colloquy"]

    def values(self, kind, name, optional=False):
        """The data of a ConfigMap or Secret. A Secret that somebody else makes gives None for every key."""
        found = [thing for thing in self.of(kind) if thing["metadata"]["name"] == name]
        if not found and kind == "Secret":
            return None
        assert found or optional, f"{kind} {name} does not exist"
        data = found[0].get("data", {}) if found else {}
        return {key: base64.b64decode(value).decode() for key, value in data.items()} if kind == "Secret" else data


class Workload:
    """Something that makes pods."""

    def __init__(self, overlay, thing):
        self.overlay, self.thing = overlay, thing
        self.name, self.kind = thing["metadata"]["name"], thing["kind"]
        self.spec = thing["spec"]
        self.labels = self.spec["template"]["metadata"].get("labels", {})
        self.pod = self.spec["template"]["spec"]
        assert len(self.pod["containers"]) == 1
        self.container = self.pod["containers"][0]

    def __repr__(self):
        return f"{self.kind}/{self.name}"

    @property
    def ports(self):
        return {port["name"]: port["containerPort"] for port in self.container.get("ports", [])}

    def port(self, name_or_number):
        return self.ports[name_or_number] if isinstance(name_or_number, str) else name_or_number

    @property
    def service(self):
        """Which service it runs, None for the migration."""
        command, *services = self.container["args"]
        assert (command == "serve" and len(services) == 1) or self.container["args"] == ["migrate"], self.container["args"]
        return services[0] if services else None

    @functools.cached_property
    def environment(self):
        """What the process sees, with the image's own; None where only a secret of the installation says it."""
        seen = dict(image_environment())
        for source in self.container.get("envFrom", []):
            seen.update(self.overlay.values("ConfigMap", source["configMapRef"]["name"]))
        for variable in self.container.get("env", []):
            known, value = self._value(variable)
            if known:
                seen[variable["name"]] = value
        return seen

    def _value(self, variable):
        if "value" in variable:
            return True, variable["value"]
        (how, reference), = variable["valueFrom"].items()
        if how == "fieldRef":
            return True, reference["fieldPath"]
        kind = {"configMapKeyRef": "ConfigMap", "secretKeyRef": "Secret"}[how]
        optional = reference.get("optional", False)
        values = self.overlay.values(kind, reference["name"], optional)
        if values is None:
            return True, None
        assert optional or reference["key"] in values, f"{self}: {reference['name']} has no {reference['key']}"
        return reference["key"] in values, values.get(reference["key"])

    @property
    def secret_keys(self):
        references = [variable.get("valueFrom", {}).get("secretKeyRef") for variable in self.container.get("env", [])]
        return {(reference["name"], reference["key"]) for reference in references if reference}


@functools.cache
def render(overlay):
    text = run("kustomize", "build", DEPLOY / "kubernetes/overlays" / overlay)
    return Overlay([thing for thing in yaml.safe_load_all(text) if thing])


def dockerfile():
    """The instructions of the Dockerfile's last stage: (word, rest)."""
    text = (DEPLOY / "Dockerfile").read_text().replace("\\\n", " ")
    lines = [line.split(None, 1) for line in text.splitlines() if line and not line.startswith("#")]
    last = max(at for at, (word, _) in enumerate(lines) if word == "FROM")
    return [(word, rest) for word, rest in lines[last:]]


@functools.cache
def image_environment():
    pairs = [pair for word, rest in dockerfile() if word == "ENV" for pair in rest.split()]
    return dict(pair.split("=", 1) for pair in pairs)


def connections_per_pool():
    """How many connections a service of a process may open."""
    for line in (ROOT / "libs/storage/src/postgres.rs").read_text().splitlines():
        if line.startswith("const MAX_CONNECTIONS"):
            return int(line.split("=")[1].strip(" ;"))
    raise AssertionError("libs/storage does not say how many connections a pool has")


def self_signed(folder):
    """Writes the three files of a certificate as cert-manager names them."""
    run("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-subj", "/CN=colloquy",
        "-addext", "subjectAltName=DNS:localhost", "-keyout", folder / "tls.key", "-out", folder / "tls.crt")  # fmt: skip
    (folder / "ca.crt").write_text((folder / "tls.crt").read_text())
