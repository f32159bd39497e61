"""What docs/monitoring.md says of the metrics is so."""

import re
from pathlib import Path

import yaml
from prometheus_client import CollectorRegistry
from prometheus_client.metrics import MetricWrapperBase

from hanaper import api
from hanaper.metrics.expose import Server
from hanaper.metrics.prometheus import PrometheusMeter

TEXT = (Path(__file__).parents[2] / "docs" / "monitoring.md").read_text()


def metrics() -> dict[str, tuple[str, str, str]]:
    """Type, labels and meaning of every metric, by the name under which it is scraped."""
    found = {}
    for metric in vars(PrometheusMeter(CollectorRegistry())).values():
        if isinstance(metric, MetricWrapperBase):
            [described] = metric.describe()
            name = described.name + ("_total" if described.type == "counter" else "")
            labels = ", ".join(f"`{label}`" for label in metric._labelnames)  # noqa: SLF001 -- the library hides them
            found[name] = (described.type, labels, described.documentation)
    for told in Server(lambda: 1).collect():
        labels = ", ".join(f"`{label}`" for label in told.samples[0].labels)
        found[told.name] = (told.type, labels, told.documentation)
    return found


def test_the_table_of_metrics_is_what_is_measured() -> None:
    rows = re.findall(r"(?m)^\| `(hanaper_\w+)` \| (\w+) \| (.*?) ?\| (.+) \|$", TEXT)
    assert {name: tuple(rest) for name, *rest in rows} == metrics()


def test_the_alerts_and_queries_name_metrics_that_there_are() -> None:
    known = set(metrics())
    for name, (kind, _, _) in metrics().items():
        if kind == "histogram":
            known |= {f"{name}_bucket", f"{name}_count", f"{name}_sum"}
    named = set(re.findall(r"\bhanaper_[a-z_]+\b", TEXT))
    assert named <= known, named - known


def test_the_yaml_is_yaml_and_each_alert_says_what_to_do() -> None:
    blocks = [yaml.safe_load(block) for block in re.findall(r"```yaml\n(.*?)```", TEXT, re.DOTALL)]
    rules = [rule for block in blocks for group in block.get("groups", []) for rule in group["rules"]]
    assert len(rules) >= 8
    for rule in rules:
        assert {"alert", "expr", "labels", "annotations"} <= set(rule), rule
        assert rule["labels"]["severity"] in {"page", "ticket"}
        assert rule["annotations"]["summary"]


def test_names_of_endpoints_are_few_and_ours() -> None:
    names = api.endpoint_names()
    assert {names["/api/v1/generate"], names["/v1/generate"]} == {"generate"}
    assert {names["/healthz"], names["/readyz"]} == {"healthz", "readyz"}
    assert len(set(names.values())) < 40
