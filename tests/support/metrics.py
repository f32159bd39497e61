"""Reading /metrics as Prometheus does."""

import time
from collections.abc import Mapping

import httpx
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.parser import text_string_to_metric_families
from tests.support.processes import Server

LONGEST_S = 30.0
ADDRESS = {"HANAPER_METRICS_ADDRESS": "127.0.0.1:0"}


class Figures:
    """What a scrape showed."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.families = {family.name: family for family in text_string_to_metric_families(text)}
        self.samples = {
            (sample.name, frozenset(sample.labels.items())): sample.value
            for family in self.families.values()
            for sample in family.samples
        }

    def __getitem__(self, name: str) -> float:
        """The value of a series without labels."""
        return self.samples[(name, frozenset())]

    def of(self, name: str, **labels: str) -> float:
        """The value of one series; 0 where there is none."""
        return self.samples.get((name, frozenset(labels.items())), 0.0)

    def by(self, name: str, *labels: str) -> dict[tuple[str, ...], float]:
        """The values of all series of a name that are not 0, by their labels in this order."""
        found = {}
        for (of, pairs), value in self.samples.items():
            if of == name and value:
                known: Mapping[str, str] = dict(pairs)
                found[tuple(known[label] for label in labels)] = value
        return found

    @property
    def answers(self) -> dict[tuple[str, str, str], float]:
        """How many answers by endpoint, code and status."""
        found = self.by("hanaper_answers_total", "endpoint", "code", "status")
        return {(endpoint, code, status): value for (endpoint, code, status), value in found.items()}


def figures_of(registry: CollectorRegistry) -> Figures:
    """What a registry of this process has."""
    return Figures(generate_latest(registry).decode())


def metrics_url(server: Server) -> str:
    """Where a server tells its metrics, as its log says."""
    url: str = server.wait_for("serving metrics")["url"]
    return url


def scrape(server: Server) -> Figures:
    """The metrics of a server as they stand."""
    answer = httpx.get(metrics_url(server), timeout=60, trust_env=False)
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"].startswith("text/plain")
    return Figures(answer.text)


def scrape_when(server: Server, answers: int) -> Figures:
    """The metrics once so many requests have been counted: an answer is counted when it has been sent."""
    deadline = time.monotonic() + LONGEST_S
    while True:
        figures = scrape(server)
        counted = sum(figures.answers.values())
        assert counted <= answers, figures.answers
        if counted == answers:
            return figures
        assert time.monotonic() < deadline, figures.answers
        time.sleep(0.02)
