"""Alerts, dashboards and the runbook: only what there is, and all of it explained."""

import json
import re

import pytest
import yaml
from manifests import COMPONENT, DEPLOY, ROOT, render, run

MONITORING = DEPLOY / "monitoring"
ALERTS = [rule for group in yaml.safe_load((MONITORING / "alerts.yaml").read_text())["groups"] for rule in group["rules"]]
DASHBOARDS = sorted((MONITORING / "dashboards").glob("*.json"))
# Labels that come from Prometheus: deploy/monitoring/prometheus.yaml.
TARGET = {"job", "namespace", "component", "pod"}
# Metrics of others: https://cert-manager.io/docs/devops-tips/prometheus-metrics/
FOREIGN = {"certmanager_certificate_expiration_timestamp_seconds": {"name"}}


def documented():
    """The metrics of the binary, and their labels, from the table where they are documented."""
    table = (ROOT / "libs/service/src/metrics.rs").read_text()
    known = {"up": set()}
    for name, kind, labels in re.findall(r"^//! \| `(colloquy_\w+)` \| (\w+) \|([^|]*)\|", table, re.M):
        labels = set(re.findall(r"`(\w+)`", labels))
        if kind == "histogram":
            known |= {f"{name}_bucket": labels | {"le"}, f"{name}_sum": labels, f"{name}_count": labels}
        else:
            known[name] = labels
    assert len(known) > 15
    return known


def check_expression(expression, where):
    known = documented() | FOREIGN
    used = re.findall(r"\b(colloquy_\w+|certmanager_\w+|up)\b(?:\{([^}]*)\})?", re.sub(r'"Colloquy[^"]*"', '""', expression))
    for name, selector in used:
        assert name in known, f"{where}: there is no metric {name}"
        labels = set(re.findall(r"(\w+)\s*(?:=~|!~|!=|=)", selector))
        assert labels <= known[name] | TARGET, f"{where}: {name} has no label {labels - known[name] - TARGET}"
    grouped = {label.strip() for group in re.findall(r"\bby\s*\(([^)]*)\)", expression) for label in group.split(",")}
    everything = set().union(TARGET, *(known[name] for name, _ in used))
    assert grouped <= everything, f"{where}: {grouped - everything}"
    return {name for name, _ in used}


def panels(dashboard):
    return [panel for panel in json.loads(dashboard.read_text())["panels"] if panel["type"] != "row"]


def expressions(dashboard):
    return [(panel["title"], target["expr"]) for panel in panels(dashboard) for target in panel["targets"]]


def test_prometheus_takes_the_rules_and_they_do_what_they_say():
    run("promtool", "check", "rules", MONITORING / "alerts.yaml")
    run("promtool", "test", "rules", *sorted(MONITORING.glob("*_test.yaml")))


def test_the_rules_are_tested_where_it_matters():
    tested = (MONITORING / "alerts_test.yaml").read_text()
    critical = {rule["alert"] for rule in ALERTS if rule["labels"]["severity"] == "critical"}
    assert {name for name in critical if name not in tested} == set()


def test_prometheus_takes_the_configuration(tmp_path):
    configuration = yaml.safe_load((MONITORING / "prometheus.yaml").read_text())
    job, certificates = configuration["scrape_configs"]
    assert (job["job_name"], certificates["job_name"]) == ("colloquy", "cert-manager")
    assert certificates["honor_labels"] is True, "the namespace is that of the certificate"
    sources = {label for rule in job["relabel_configs"] for label in rule["source_labels"]}
    assert f"__meta_kubernetes_pod_label_{re.sub('[./]', '_', COMPONENT)}" in sources
    for work in render("production").deployments:
        assert work.labels["app.kubernetes.io/name"] == "colloquy" and "metrics" in work.ports, work
    assert {rule["target_label"] for rule in job["relabel_configs"] if "target_label" in rule} | {"job"} == TARGET
    # Debian's build leaves out the discovery of pods; everything else of the file is asked of it.
    for each in (job, certificates):
        each["static_configs"] = [{"targets": ["127.0.0.1:9464"]}]
        assert each.pop("kubernetes_sd_configs") == [{"role": "pod"}]
    configuration["rule_files"] = [str(MONITORING / name) for name in configuration["rule_files"]]
    (tmp_path / "prometheus.yaml").write_text(yaml.safe_dump(configuration))
    run("promtool", "check", "config", tmp_path / "prometheus.yaml")


@pytest.mark.parametrize("rule", ALERTS, ids=lambda rule: rule["alert"])
def test_an_alert_asks_for_metrics_there_are_and_says_what_to_do(rule):
    check_expression(rule["expr"], rule["alert"])
    assert rule["labels"]["severity"] in ("critical", "warning")
    file, anchor = rule["annotations"]["runbook"].split("#")
    headings = re.findall(r"^## (.*)$", (ROOT / file).read_text(), re.M)
    assert anchor == rule["alert"].lower() and rule["alert"] in headings
    paragraph = (ROOT / file).read_text().split(f"## {rule['alert']}\n")[1].split("\n## ")[0].strip()
    assert len(paragraph.split()) >= 40, "a runbook says what it means, how to look and what to do"


def test_the_runbook_is_about_alerts_there_are():
    headings = re.findall(r"^## (Colloquy.*)$", (DEPLOY / "runbook.md").read_text(), re.M)
    assert headings == [rule["alert"] for rule in ALERTS]


@pytest.mark.parametrize("dashboard", DASHBOARDS, ids=lambda dashboard: dashboard.stem)
def test_a_dashboard_asks_for_metrics_there_are(dashboard, tmp_path):
    whole = json.loads(dashboard.read_text())
    assert whole["uid"] == dashboard.stem
    ids = [panel["id"] for panel in whole["panels"]]
    assert len(ids) == len(set(ids))
    rules = []
    for title, expression in expressions(dashboard):
        assert check_expression(expression, title), f"{title} shows no metric"
        assert 'namespace=~"$namespace"' in expression, f"{title} mixes installations"
        plain = expression.replace("$__rate_interval", "5m").replace("$namespace", ".*")
        assert "$" not in plain, f"{title}: a variable that there is not"
        rules.append({"record": "check:expression", "expr": plain, "labels": {"panel": title, "at": str(len(rules))}})
    (tmp_path / "rules.yaml").write_text(yaml.safe_dump({"groups": [{"name": "panels", "rules": rules}]}))
    run("promtool", "check", "rules", tmp_path / "rules.yaml")


def test_every_documented_metric_is_on_a_dashboard():
    shown = " ".join(expression for dashboard in DASHBOARDS for _, expression in expressions(dashboard))
    names = {re.sub(r"_(bucket|sum|count)$", "", name) for name in documented()}
    assert {name for name in names if name not in shown} == set()
