"""The environment of a task: clean, so that a run does not depend on the shell that started the server.

What is passed on are ways (PATH, proxies, certificates, caches), threads and devices, and credentials of the
hubs and buckets a task reads. It goes to the child directly and is never written to a file.
"""

from collections.abc import Mapping

from tuneline.settings import SERVER_ONLY, Settings

NAMES = frozenset(
    (
        *("PATH", "HOME", "USER", "LOGNAME", "SHELL", "LANG", "LANGUAGE", "TZ", "TMPDIR", "TEMP", "TMP"),
        *("PYTHONPATH", "VIRTUAL_ENV", "LD_LIBRARY_PATH", "CUDA_VISIBLE_DEVICES"),
        *("SSL_CERT_FILE", "SSL_CERT_DIR", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"),
        *("HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "ALL_PROXY"),
        *("GITHUB_TOKEN", "GH_TOKEN", "GITHUB_API_URL"),
        *("http_proxy", "https_proxy", "no_proxy", "all_proxy"),
    )
)
PREFIXES = (
    *("LC_", "XDG_", "PIP_", "HF_", "KAGGLE_", "TUNELINE_", "NVIDIA_", "VLLM_"),
    *("OMP_", "GOMP_", "KMP_", "MKL_", "OPENBLAS_"),
    *("AWS_", "GOOGLE_", "CLOUDSDK_", "STORAGE_EMULATOR_", "AZURE_", "FSSPEC_"),
)
THREADS = {"OMP_WAIT_POLICY": "PASSIVE"}
"""How the threads of torch and llama.cpp wait for each other, unless the server's environment says otherwise.

OpenMP's own way is to wait busily. Where several processes share the cores (revisions side by side, a
training beside them) those that wait then keep those they wait for from working (docs/serving.md)."""
OURS = ("TUNELINE_ATTEMPT", "TUNELINE_TASK_STATE", "TUNELINE_RUN_ID", "TUNELINE_TASK")
"""Set for every attempt anew, whatever the server's own environment says."""


def of_tasks(env: Mapping[str, str], settings: Settings, server_url: str) -> dict[str, str]:
    """What every task gets: what is kept of the server's environment, and where server and home are."""
    kept = {
        name: value
        for name, value in env.items()
        if (name in NAMES or name.startswith(PREFIXES)) and name not in OURS and name not in SERVER_ONLY
    }
    kept = {**THREADS, **kept, "TUNELINE_HOME": str(settings.home)}
    if server_url:
        kept["TUNELINE_URL"] = server_url
    if settings.offline:
        kept["TUNELINE_OFFLINE"] = "1"
    # Hashes of texts decide the order of sets, on which no output may depend. Logs are read while they grow.
    return {**kept, "PYTHONHASHSEED": "0", "PYTHONUNBUFFERED": "1"}
