"""What holds of the rendered manifests by themselves."""

import re
import shutil

import kubernetes_validate
import pytest
import yaml
from manifests import COMPONENT, DEPLOY, OVERLAYS, ROOT, Overlay, connections_per_pool, render, run

# The oldest Kubernetes that knows everything we use, and the newest that schemas are at hand for.
KUBERNETES = ["1.30", "1.37"]

each_overlay = pytest.mark.parametrize("overlay", OVERLAYS)


@each_overlay
@pytest.mark.parametrize("version", KUBERNETES)
def test_every_object_is_what_kubernetes_takes(overlay, version):
    for thing in render(overlay).objects:
        if thing["apiVersion"].startswith("cert-manager.io/"):
            continue  # see test_certificates…; its schemas are not part of Kubernetes
        kubernetes_validate.validate(thing, version, strict=True)


def test_the_schemas_refuse_a_misspelt_field():
    thing = yaml.safe_load(yaml.safe_dump(render("dev").get("Deployment", "edge")))
    thing["spec"]["template"]["spec"]["containers"][0]["readinesProbe"] = {}
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(thing, KUBERNETES[0], strict=True)


@each_overlay
def test_kubectl_renders_the_same(overlay):
    version = run("kubectl", "version", "--client") if shutil.which("kubectl") else ""
    if not re.search(r"Kustomize Version: v[5-9]", version):
        pytest.skip("no kubectl with kustomize 5 or newer here; kustomize itself has rendered it")
    text = run("kubectl", "kustomize", DEPLOY / "kubernetes/overlays" / overlay)

    def by_name(thing):
        return thing["kind"], thing["metadata"]["name"]

    assert sorted(Overlay(list(yaml.safe_load_all(text))).objects, key=by_name) == sorted(render(overlay).objects, key=by_name)


@each_overlay
def test_every_pod_is_restricted(overlay):
    rendered = render(overlay)
    labels = rendered.get("Namespace", "colloquy")["metadata"]["labels"]
    assert labels["pod-security.kubernetes.io/enforce"] == "restricted"
    for work in rendered.workloads:
        pod, container = work.pod, work.container
        assert work.thing["metadata"]["namespace"] == "colloquy"
        assert pod["securityContext"]["runAsNonRoot"] is True and pod["securityContext"]["runAsUser"] > 0, work
        assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}, work
        assert pod["automountServiceAccountToken"] is False, work
        assert not {"hostNetwork", "hostPID", "hostIPC"} & pod.keys(), work
        assert container["securityContext"] == {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        }, work
        assert {"cpu", "memory"} <= container["resources"]["requests"].keys(), work
        assert "memory" in container["resources"]["limits"], work
        allowed = {"configMap", "emptyDir", "secret"}
        assert all(set(volume) - {"name"} <= allowed for volume in pod.get("volumes", [])), work


@each_overlay
def test_one_image_for_everything_of_ours(overlay):
    images = {work.container["image"] for work in render(overlay).colloquy}
    assert len(images) == 1
    version = re.search(r'^version = "(.*)"$', (ROOT / "Cargo.toml").read_text(), re.M)[1]
    assert images.pop().split(":")[1] == {"dev": "dev", "production": version}[overlay], "the tag of this release"
    for work in render(overlay).workloads:
        assert ":" in work.container["image"] and not work.container["image"].endswith(":latest"), work


@each_overlay
def test_a_service_finds_the_pods_of_its_deployment_and_its_ports(overlay):
    rendered = render(overlay)
    for service in rendered.of("Service"):
        selector = service["spec"]["selector"].items()
        found = [work for work in rendered.workloads if selector <= work.labels.items()]
        assert [work.name for work in found] == [service["metadata"]["name"]]
        for port in service["spec"]["ports"]:
            assert found[0].port(port["targetPort"]) == port["port"]


@each_overlay
def test_an_upgrade_takes_nothing_away_before_its_successor_is_ready(overlay):
    for work in render(overlay).deployments:
        assert work.spec["strategy"]["rollingUpdate"]["maxUnavailable"] == 0, work
        assert work.spec["strategy"]["rollingUpdate"]["maxSurge"] == 1, work


@each_overlay
def test_the_migration_is_asked_for_once_and_may_be_tried_again(overlay):
    job = render(overlay).get("Job", "migrate")
    assert job["spec"]["template"]["spec"]["restartPolicy"] == "Never" and job["spec"]["backoffLimit"] > 0
    assert job["spec"]["activeDeadlineSeconds"] > 0


# ---- production


def test_every_server_scales_spreads_and_survives_a_drain():
    production = render("production")
    for work in production.deployments:
        assert "replicas" not in work.spec, "an apply would undo the autoscaler"
        scaler = production.get("HorizontalPodAutoscaler", work.name)["spec"]
        assert scaler["scaleTargetRef"] == {"apiVersion": "apps/v1", "kind": "Deployment", "name": work.name}
        assert 2 <= scaler["minReplicas"] < scaler["maxReplicas"]
        assert scaler["metrics"][0]["resource"]["name"] == "cpu"
        budget = production.get("PodDisruptionBudget", work.name)["spec"]
        assert budget["selector"]["matchLabels"].items() <= work.labels.items()
        assert budget["maxUnavailable"] < scaler["minReplicas"]
        spread = work.pod["topologySpreadConstraints"]
        assert [rule["topologyKey"] for rule in spread] == ["kubernetes.io/hostname", "topology.kubernetes.io/zone"]
        for rule in spread:
            assert rule["labelSelector"]["matchLabels"].items() <= work.labels.items()
            assert COMPONENT in rule["matchLabelKeys"]
    named = {work.name for work in production.deployments}
    assert {thing["metadata"]["name"] for thing in production.of("HorizontalPodAutoscaler")} == named
    assert {thing["metadata"]["name"] for thing in production.of("PodDisruptionBudget")} == named | {"nats"}


def test_every_record_is_on_three_machines():
    production = render("production")
    nats = production.get("StatefulSet", "nats")
    replicas = production.get("Deployment", "ingestion")
    assert nats["spec"]["replicas"] == 3
    ingestion = next(work for work in production.deployments if work.thing is replicas)
    assert ingestion.environment["COLLOQUY_LOG_REPLICAS"] == "3"
    host = nats["spec"]["template"]["spec"]["topologySpreadConstraints"][0]
    assert (host["topologyKey"], host["whenUnsatisfiable"]) == ("kubernetes.io/hostname", "DoNotSchedule")
    configuration = next(thing for thing in production.of("ConfigMap") if "nats.conf" in thing["data"])["data"]["nats.conf"]
    assert all(f"nats-{number}.nats:6222" in configuration for number in range(3))


def test_certificates_are_made_for_every_server_and_mounted_by_nobody_else():
    production = render("production")
    made = {thing["spec"]["secretName"]: thing["spec"] for thing in production.of("Certificate")}
    issuers = {thing["metadata"]["name"] for thing in production.of("Issuer")}
    assert all(spec["issuerRef"]["name"] in issuers for spec in made.values())
    for work in [work for work in production.workloads if work.kind != "Job"]:
        assert mounted(work) == f"{work.name}-tls"
        spec = made[mounted(work)]
        assert work.name in spec["dnsNames"] and {"server auth", "client auth"} <= set(spec["usages"])
    for work in [work for work in production.workloads if work.kind == "Job"]:
        assert "/tls" not in [mount["mountPath"] for mount in work.container["volumeMounts"]], "it talks to no service"


def test_the_certificate_of_nats_outlives_the_wait_for_a_restart():
    made = {thing["metadata"]["name"]: thing["spec"] for thing in render("production").of("Certificate")}
    hours = {name: int(spec["duration"].removesuffix("h")) for name, spec in made.items()}
    year = 8760
    assert hours["nats"] >= 5 * year and int(made["nats"]["renewBefore"].removesuffix("h")) >= year // 2
    # It must not outlive the authority, which cert-manager renews when a third of its time is left, with the same key.
    assert hours["nats"] <= hours["authority"] and made["authority"]["privateKey"]["rotationPolicy"] == "Never"
    assert all(hours[name] <= year for name in hours if name not in ("nats", "authority"))


def mounted(work):
    """The Secret at /tls; every TLS setting points there."""
    mount = next(mount for mount in work.container["volumeMounts"] if mount["mountPath"] == "/tls")
    assert mount["readOnly"] is True
    files = [value for name, value in work.environment.items() if re.search(r"_(TLS|NATS)_(CA|CERT|KEY)$", name)]
    assert set(files) <= {"/tls/ca.crt", "/tls/tls.crt", "/tls/tls.key"}
    return next(volume for volume in work.pod["volumes"] if volume["name"] == mount["name"])["secret"]["secretName"]


def test_production_encrypts_between_services_and_makes_no_secrets():
    production = render("production")
    assert production.of("Secret") == []
    for work in production.deployments:
        names = ("COLLOQUY_TLS_CERT", "COLLOQUY_TLS_KEY", "COLLOQUY_TLS_CA")
        assert all(work.environment[name].startswith("/tls/") for name in names), work
        assert "AWS_ALLOW_HTTP" not in work.environment
        if "COLLOQUY_LOG_URL" in work.environment:
            assert all(work.environment[name.replace("TLS", "NATS")].startswith("/tls/") for name in names), work


def test_every_secret_of_production_is_in_the_readme():
    readme = (DEPLOY / "README.md").read_text()
    keys = {key for work in render("production").workloads for name, key in work.secret_keys if name == "colloquy"}
    assert {"master-key", "database-url", "log-url", "nats-password"} <= keys
    for key in keys:
        assert f"--from-literal={key}=" in readme or f"`{key}`" in readme, key


def pools(work):
    """How many pools of connections its process has: live control, which runs with notification, has one of its own."""
    return 2 if work.service == "notification" else 1


def test_postgres_has_a_connection_for_everybody():
    with_a_database = [work for work in render("production").colloquy if "COLLOQUY_DATABASE_URL" in work.environment]
    scalers = render("production")
    pods = 0
    for work in with_a_database:
        # While a Deployment is replaced, there is one pod more; the migration is one at a time.
        most = scalers.get("HorizontalPodAutoscaler", work.name)["spec"]["maxReplicas"] + 1 if work.service else 1
        pods += most * pools(work)
    needed = pods * connections_per_pool()
    assert f"**{needed}**" in (DEPLOY / "README.md").read_text(), f"the README should say {needed}"

    dev = render("dev")
    given = next(work for work in dev.workloads if work.name == "postgres").container["args"]
    with_a_database = [work for work in dev.colloquy if "COLLOQUY_DATABASE_URL" in work.environment]
    pods = sum((2 if work.service else 1) * pools(work) for work in with_a_database)
    assert int(given[1].removeprefix("max_connections=")) >= pods * connections_per_pool() + 3
