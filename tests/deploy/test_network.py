"""NetworkPolicy allows the edges of the graph and no others."""

import itertools
import urllib.parse

from binary import graph, services_with_a_database
from manifests import COMPONENT, render


def selects(selector, labels):
    for rule in selector.get("matchExpressions", []):
        assert rule["operator"] == "In", "only this one is needed so far"
        if labels.get(rule["key"]) not in rule["values"]:
            return False
    return selector.get("matchLabels", {}).items() <= labels.items()


class Network:
    """What a set of policies lets through."""

    def __init__(self, overlay):
        self.policies = [thing["spec"] for thing in overlay.of("NetworkPolicy")]
        self.pods = {work.name: work for work in overlay.workloads}

    def rules(self, pod, direction):
        """The rules that apply to a pod; None when none restricts it."""
        policies = [policy for policy in self.policies if selects(policy["podSelector"], pod.labels)]
        policies = [policy for policy in policies if direction.capitalize() in policy["policyTypes"]]
        if not policies:
            return None
        return [rule for policy in policies for rule in policy.get(direction, [])]

    def lets(self, pod, direction, peer, target, port):
        """Whether a pod may talk to, or be talked to by, a pod of the namespace; `target` is the one with the port."""
        rules = self.rules(pod, direction)
        if rules is None:
            return True
        for rule in rules:
            assert rule.get("to" if direction == "egress" else "from"), "a rule without peers allows the world"
            assert rule["ports"], "a rule without ports allows all of them"
            peers = rule["to" if direction == "egress" else "from"]
            inside = [one["podSelector"] for one in peers if one.keys() == {"podSelector"}]
            open_ports = [target.port(one["port"]) for one in rule["ports"] if knows(target, one["port"])]
            if port in open_ports and any(selects(one, peer.labels) for one in inside):
                return True
        return False

    def inside(self, direction):
        """Every (from, to, port) between pods of the namespace that one direction's rules allow by themselves."""
        edges = set()
        for source, target in itertools.product(self.pods.values(), repeat=2):
            pod, peer = (source, target) if direction == "egress" else (target, source)
            for port in target.ports.values():
                if self.lets(pod, direction, peer, target, port):
                    edges.add((source.name, target.name, port))
        return edges

    def outside(self, direction):
        """Every (pod, peer, port) with a peer that is not a pod of the namespace."""
        edges = set()
        for pod in self.pods.values():
            for rule in self.rules(pod, direction) or []:
                for peer in rule["to" if direction == "egress" else "from"]:
                    for port in rule["ports"]:
                        if name := stranger(peer):
                            number = port["port"] if direction == "egress" else pod.port(port["port"])
                            edges.add((pod.name, name, number))
        return edges


def knows(pod, port):
    return not isinstance(port, str) or port in pod.ports


def stranger(peer):
    if "namespaceSelector" in peer:
        return peer["namespaceSelector"]["matchLabels"]["kubernetes.io/metadata.name"]
    return peer["ipBlock"]["cidr"] if "ipBlock" in peer else None


def test_nobody_may_do_anything_unless_it_is_allowed():
    network = Network(render("production"))
    for pod, direction in itertools.product(network.pods.values(), ("ingress", "egress")):
        assert network.rules(pod, direction) is not None, f"{pod}: {direction}"


def test_between_pods_exactly_the_edges_of_the_graph_are_open():
    production = render("production")
    ports = {work.name: work.ports for work in production.workloads}
    expected = {(caller, callee, ports[callee]["grpc"]) for caller, callees in graph().items() for callee in callees}
    expected |= {("ingestion", "nats", ports["nats"]["client"]), ("nats", "nats", ports["nats"]["cluster"])}
    assert Network(production).inside("egress") == expected
    assert Network(production).inside("ingress") == expected


def test_what_leaves_the_namespace_is_names_traces_databases_recordings_and_webhooks():
    production = render("production")
    everybody = {work.name for work in production.workloads}
    ours = {work.name: work for work in production.colloquy}
    expected = {(name, "kube-system", 53) for name in everybody}
    for name, work in ours.items():
        collector = urllib.parse.urlsplit(work.environment["OTEL_EXPORTER_OTLP_ENDPOINT"])
        expected.add((name, collector.hostname.split(".")[1], collector.port))
        if "COLLOQUY_DATABASE_URL" in work.environment:
            expected.add((name, "192.0.2.10/32", 5432))
        if "COLLOQUY_OBJECTS_URL" in work.environment:
            expected |= {(name, world, port) for world in ("0.0.0.0/0", "::/0") for port in (80, 443)}
    # A language model.
    expected |= {("analytics", world, 443) for world in ("0.0.0.0/0", "::/0")}
    # Web servers, and mail servers.
    expected |= {("notification", world, port) for world in ("0.0.0.0/0", "::/0") for port in (80, 443, 465, 587)}
    assert Network(production).outside("egress") == expected
    assert {name for name, _, port in expected if port == 5432} == services_with_a_database() | {"migrate"}


def test_only_the_edge_is_reached_from_outside_and_metrics_are_read():
    production = render("production")
    expected = {("edge", "ingress", 8080)}
    # The migration listens nowhere; it is only covered by the labels it shares.
    expected |= {(work.name, "monitoring", work.ports["metrics"]) for work in production.deployments}
    network = Network(production)
    network.pods = {name: work for name, work in network.pods.items() if work.ports}
    assert network.outside("ingress") == expected


def test_the_solvers_of_http_01_are_reached_by_the_ingress():
    solver = {"acme.cert-manager.io/http01-solver": "true"}
    (policy,) = [
        thing["spec"]
        for thing in render("production").of("NetworkPolicy")
        if thing["spec"]["podSelector"] and selects(thing["spec"]["podSelector"], solver) and "Ingress" in thing["spec"]["policyTypes"]
    ]
    (rule,) = policy["ingress"]
    assert [stranger(peer) for peer in rule["from"]] == ["ingress"] and rule["ports"] == [{"port": 8089}]


def test_nothing_is_fetched_from_private_networks_or_sent_there():
    rules = [
        peer["ipBlock"]
        for thing in render("production").of("NetworkPolicy")
        for rule in thing["spec"].get("egress", [])
        for peer in rule["to"]
        if peer.get("ipBlock", {}).get("cidr") == "0.0.0.0/0"
    ]
    assert len(rules) == 3, "of conversation-store, analytics and notification"
    for rule in rules:
        assert {"10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "169.254.0.0/16", "127.0.0.0/8"} <= set(rule["except"])


def test_the_way_in_leads_to_the_edge():
    (ingress,) = render("production").of("Ingress")
    (rule,) = ingress["spec"]["rules"]
    (path,) = rule["http"]["paths"]
    service = render("production").get("Service", path["backend"]["service"]["name"])
    assert service["spec"]["selector"][COMPONENT] == "edge"
    assert path["backend"]["service"]["port"]["name"] in [port["name"] for port in service["spec"]["ports"]]
    (edge,) = [work for work in render("production").deployments if work.service == "edge"]
    assert edge.environment["COLLOQUY_PUBLIC_URL"] == f"https://{rule['host']}"
    assert rule["host"] in ingress["spec"]["tls"][0]["hosts"]
