"""Prometheus metrics under vLLM's names, so that stock dashboards and autoscalers read them unchanged.

Names, labels and buckets are those of `vllm/v1/metrics/loggers.py`; one figure is ours,
`tuneline_release_info`.
"""

from collections.abc import Callable
from dataclasses import dataclass, field

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    disable_created_metrics,
    generate_latest,
)

_TTFT = (
    0.001,
    0.005,
    0.01,
    0.02,
    0.04,
    0.06,
    0.08,
    0.1,
    0.25,
    0.5,
    0.75,
    1,
    2.5,
    5,
    7.5,
    10,
    20,
    40,
    80,
    160,
    640,
    2560,
)
_BETWEEN = (0.01, 0.025, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.75, 1, 2.5, 5, 7.5, 10, 20, 40, 80)
_REQUEST = (0.3, 0.5, 0.8, 1, 1.5, 2, 2.5, 5, 10, 15, 20, 30, 40, 50, 60, 120, 240, 480, 960, 1920, 7680)
_TOKENS = (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000, 10_000, 20_000, 50_000, 100_000)
_LABELS = ("model_name", "engine")


@dataclass
class Sequence:
    """The times of one answer, Unix seconds or any one clock."""

    arrived: float
    prompt_tokens: int
    started: float = 0.0
    first: float = 0.0
    last: float = 0.0
    tokens: int = 0


@dataclass
class Metrics:
    """All figures of one runtime. `clock` gives seconds that never go back."""

    model: str
    slots: int
    capacity: int
    """Tokens all slots hold together."""
    clock: Callable[[], float]
    registry: CollectorRegistry = field(default_factory=CollectorRegistry)

    def __post_init__(self) -> None:
        disable_created_metrics()  # type: ignore[no-untyped-call]
        self._held = 0
        self.running = self._gauge("vllm:num_requests_running", "Requests computed now.")
        self.waiting = self._gauge("vllm:num_requests_waiting", "Requests waiting for a slot.")
        self.cache = self._gauge(
            "vllm:kv_cache_usage_perc", "Share of the key-value cache in use; 1 is all of it."
        )
        self.prompt_tokens = self._counter("vllm:prompt_tokens", "Prompt tokens computed.")
        self.generation_tokens = self._counter("vllm:generation_tokens", "Tokens generated.")
        self._counter("vllm:num_preemptions", "Requests put back; never here.")
        self._success = Counter(
            "vllm:request_success",
            "Requests answered.",
            (*_LABELS, "finished_reason"),
            registry=self.registry,
        )
        for reason in ("stop", "length", "abort", "error"):
            self._success.labels(self.model, "0", reason)
        self._first = self._histogram(
            "vllm:time_to_first_token_seconds", "From arrival to the first token.", _TTFT
        )
        self._between = self._histogram("vllm:inter_token_latency_seconds", "Between two tokens.", _BETWEEN)
        self._per_token = self._histogram(
            "vllm:request_time_per_output_token_seconds",
            "Mean time of a request's tokens after the first.",
            _BETWEEN,
        )
        self._whole = self._histogram(
            "vllm:e2e_request_latency_seconds", "From arrival to the last token.", _REQUEST
        )
        self._queue = self._histogram("vllm:request_queue_time_seconds", "Waiting for a slot.", _REQUEST)
        self._inference = self._histogram("vllm:request_inference_time_seconds", "In a slot.", _REQUEST)
        self._prefill = self._histogram(
            "vllm:request_prefill_time_seconds", "From the slot to the first token.", _REQUEST
        )
        self._decode = self._histogram(
            "vllm:request_decode_time_seconds", "From the first to the last token.", _REQUEST
        )
        self._prompt = self._histogram("vllm:request_prompt_tokens", "Prompt tokens a request.", _TOKENS)
        self._generated = self._histogram(
            "vllm:request_generation_tokens", "Generated tokens a request.", _TOKENS
        )

    def name_release(self, release: str, runtime: str, version: str, quantization: str) -> None:
        """State once which release this is, and by what it is served."""
        Gauge(
            "tuneline_release_info",
            "Which release answers here, and by what.",
            ("model", "release", "runtime", "runtime_version", "quantization"),
            registry=self.registry,
        ).labels(self.model, release, runtime, version, quantization).set(1)

    def arrived(self, prompt_tokens: int) -> Sequence:
        """An answer is asked for; it waits."""
        self.waiting.inc()
        return Sequence(self.clock(), prompt_tokens)

    def left(self) -> None:
        """One that waited went away."""
        self.waiting.dec()

    def started(self, sequence: Sequence) -> None:
        """It has a slot now."""
        self.waiting.dec()
        self.running.inc()
        sequence.started = self.clock()
        self._hold(sequence.prompt_tokens)

    def produced(self, sequence: Sequence, tokens: int) -> None:
        """It has so many tokens more."""
        if not tokens:
            return
        now = self.clock()
        if sequence.tokens == 0:
            sequence.first = now
            self._first.observe(now - sequence.arrived)
            self.prompt_tokens.inc(sequence.prompt_tokens)
        else:
            self._between.observe((now - sequence.last) / tokens)
        sequence.last = now
        sequence.tokens += tokens
        self.generation_tokens.inc(tokens)
        self._hold(tokens)

    def ended(self, sequence: Sequence, reason: str) -> None:
        """It left its slot: `stop`, `length`, or `abort` if nobody wanted the rest, `error`."""
        now = self.clock()
        self.running.dec()
        self._hold(-sequence.prompt_tokens - sequence.tokens)
        self._success.labels(self.model, "0", reason).inc()
        self._whole.observe(now - sequence.arrived)
        self._queue.observe(sequence.started - sequence.arrived)
        self._inference.observe(now - sequence.started)
        self._prompt.observe(sequence.prompt_tokens)
        self._generated.observe(sequence.tokens)
        if sequence.tokens:
            self._prefill.observe(sequence.first - sequence.started)
            self._decode.observe(sequence.last - sequence.first)
        if sequence.tokens > 1:
            self._per_token.observe((sequence.last - sequence.first) / (sequence.tokens - 1))

    def text(self) -> bytes:
        """The exposition text."""
        return generate_latest(self.registry)

    def _hold(self, tokens: int) -> None:
        self._held += tokens
        self.cache.set(self._held / self.capacity)

    def _gauge(self, name: str, says: str) -> Gauge:
        return Gauge(name, says, _LABELS, registry=self.registry).labels(self.model, "0")

    def _counter(self, name: str, says: str) -> Counter:
        return Counter(name, says, _LABELS, registry=self.registry).labels(self.model, "0")

    def _histogram(self, name: str, says: str, buckets: tuple[float, ...]) -> Histogram:
        return Histogram(name, says, _LABELS, buckets=buckets, registry=self.registry).labels(self.model, "0")
