"""The metrics: docs/monitoring.md is checked against this file by a test.

Each label has few values, all of them ours. Nothing that a client wrote becomes one, so nobody can make more of them,
and no secret can get in.
"""

from functools import cache

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, disable_created_metrics

from hanaper.metrics.meter import BudgetName, CallOutcome, Meter, Shortage, Way

UNSIGNED = "unsigned"
"""Instead of a code: /healthz and /readyz, and a failure that could not be signed."""

# A series of its own for the moment each counter began would double what is scraped.
disable_created_metrics()  # type: ignore[no-untyped-call]  # the library leaves it unannotated

_INTERNAL_ERROR = 500
_REQUEST_S = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 15)
_SIGNING_S = (0.0005, 0.001, 0.002, 0.004, 0.008, 0.016, 0.05, 0.2)
_DATABASE_S = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1, 5, 15)
_BATCH = (1, 10, 100, 1_000, 10_000, 100_000)
_GROUP = (1, 2, 4, 8, 16, 32, 64, 256)


class PrometheusMeter(Meter):
    """Keeps what it is told for Prometheus to read."""

    on = True

    def __init__(self, registry: CollectorRegistry) -> None:
        """Begin to count from zero.

        Args:
            registry: where the metrics can be read. With several processes it is that of the files, see `shared`.
        """
        self.answers = Counter(
            "hanaper_answers",
            "Answers by endpoint, response code and HTTP status.",
            ("endpoint", "code", "status"),
            registry=registry,
        )
        # Beside the answers, where the first of its kind would be a new series, and no increase of one.
        self.internal_errors = Counter(
            "hanaper_internal_errors",
            "Requests that ended as 500: a bug, or a fault to be mended.",
            registry=registry,
        )
        self.request_seconds = Histogram(
            "hanaper_request_seconds",
            "Time from the head of a request to the end of its answer.",
            ("endpoint",),
            buckets=_REQUEST_S,
            registry=registry,
        )
        self.rate_limited = Counter(
            "hanaper_rate_limited",
            "Requests refused since a budget was used up: requests or keys of an API key, failures of an address.",
            ("budget",),
            registry=registry,
        )
        self.batch_license_keys = Histogram(
            "hanaper_batch_license_keys",
            "License keys in a batch of generate.",
            buckets=_BATCH,
            registry=registry,
        )
        self.license_keys_generated = Counter(
            "hanaper_license_keys_generated",
            "License keys generated and committed, by any endpoint.",
            registry=registry,
        )
        self.signing_seconds = Histogram(
            "hanaper_signing_seconds",
            "Time to make and verify a signature.",
            buckets=_SIGNING_S,
            registry=registry,
        )
        self.signatures = Counter(
            "hanaper_signatures",
            "Signatures: fresh, remembered (made a moment ago over the same bytes), or failed to verify.",
            ("kind",),
            registry=registry,
        )
        self.writer_queue_jobs = Gauge(
            "hanaper_writer_queue_jobs",
            "Jobs that wait for the writer.",
            multiprocess_mode="livesum",
            registry=registry,
        )
        self.group_wait_seconds = Histogram(
            "hanaper_group_wait_seconds",
            "Time the first job of a group waited for its turn.",
            ("way",),
            buckets=_DATABASE_S,
            registry=registry,
        )
        self.group_jobs = Histogram(
            "hanaper_group_jobs",
            "Jobs that went to the database together.",
            ("way",),
            buckets=_GROUP,
            registry=registry,
        )
        self.commit_seconds = Histogram(
            "hanaper_commit_seconds",
            "Time of a transaction that writes, commit and sync of the disk included.",
            buckets=_DATABASE_S,
            registry=registry,
        )
        self.database_pool_connections = Gauge(
            "hanaper_database_pool_connections",
            "Connections that may be open to the database at most.",
            multiprocess_mode="livesum",
            registry=registry,
        )
        self.database_connections_in_use = Gauge(
            "hanaper_database_connections_in_use",
            "Connections that are at work at this moment.",
            multiprocess_mode="livesum",
            registry=registry,
        )
        self.database_unavailable = Counter(
            "hanaper_database_unavailable",
            "Work that failed since the database was not to be had, by reason.",
            ("reason",),
            registry=registry,
        )
        self.outgoing_calls = Counter(
            "hanaper_outgoing_calls",
            "Outgoing calls made, by outcome: done, again (failed, another attempt follows), failed (given up).",
            ("outcome",),
            registry=registry,
        )
        self.outgoing_calls_waiting = Gauge(
            "hanaper_outgoing_calls_waiting",
            "Outgoing calls that are stored and neither made nor given up.",
            multiprocess_mode="livemostrecent",
            registry=registry,
        )
        # Looking a label up costs as much as counting. What is known beforehand is also there before it happens.
        self._fresh, self._remembered, self._failed = map(self.signatures.labels, ("fresh", "remembered", "failed"))
        self._limited = {name: self.rate_limited.labels(name) for name in ("requests", "keys", "failures")}
        self._short = {reason: self.database_unavailable.labels(reason) for reason in ("pool", "queue", "database")}
        self._calls = {outcome: self.outgoing_calls.labels(outcome) for outcome in ("done", "again", "failed")}
        self._groups = {
            way: (self.group_jobs.labels(way), self.group_wait_seconds.labels(way)) for way in ("write", "read")
        }
        self._answers = cache(self.answers.labels)
        self._request_seconds = cache(self.request_seconds.labels)

    def answered(self, endpoint: str, code: int | None, status: int, seconds: float) -> None:
        self._answers(endpoint, code or UNSIGNED, status).inc()
        if status == _INTERNAL_ERROR:
            self.internal_errors.inc()
        self._request_seconds(endpoint).observe(seconds)

    def limited(self, budget: BudgetName) -> None:
        self._limited[budget].inc()

    def batch(self, license_keys: int) -> None:
        self.batch_license_keys.observe(license_keys)
        self.license_keys_generated.inc(license_keys)

    def generated(self, license_keys: int) -> None:
        self.license_keys_generated.inc(license_keys)

    def signed(self, seconds: float) -> None:
        self._fresh.inc()
        self.signing_seconds.observe(seconds)

    def remembered(self) -> None:
        self._remembered.inc()

    def not_signed(self) -> None:
        self._failed.inc()

    def queue(self, jobs: int) -> None:
        self.writer_queue_jobs.set(jobs)

    def group(self, way: Way, jobs: int, waited_s: float) -> None:
        group_jobs, wait_seconds = self._groups[way]
        group_jobs.observe(jobs)
        wait_seconds.observe(waited_s)

    def committed(self, seconds: float) -> None:
        self.commit_seconds.observe(seconds)

    def pool(self, size: int) -> None:
        self.database_pool_connections.set(size)

    def connection_taken(self) -> None:
        self.database_connections_in_use.inc()

    def connection_given_back(self) -> None:
        self.database_connections_in_use.dec()

    def unavailable(self, shortage: Shortage) -> None:
        self._short[shortage].inc()

    def call(self, outcome: CallOutcome) -> None:
        self._calls[outcome].inc()

    def calls_waiting(self, calls: int) -> None:
        self.outgoing_calls_waiting.set(calls)
