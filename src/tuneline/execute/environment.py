"""The environment of a task: clean, so that a run does not depend on the shell that started the server.

What is passed on are ways (PATH, proxies, certificates, caches), threads and devices, and to our own steps
the logins of the hubs and buckets they read. It goes to the child directly and is never written to a file.

Limits: a task is a process of the server's user, which may read what that user may read. What is kept from it
here is not printed, logged or put out by a program that shows its environment; no more.
"""

from collections.abc import Mapping

from tuneline.execute.images.contract import Program
from tuneline.plan.secrets import is_secret
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
_LOGINS = ("KAGGLE_", "AWS_", "GOOGLE_", "CLOUDSDK_", "AZURE_", "FSSPEC_", "TUNELINE_SECRET_")
"""Who the server's user is elsewhere, beside what a variable's name says is a secret (`HF_TOKEN`)."""
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


def of_program(
    tasks: Mapping[str, str], call: Mapping[str, str], program: Program, *, fetching: bool = False
) -> tuple[dict[str, str], list[str]]:
    """The environment of one program's process, and the names in it that it must drop before the task starts.

    Args:
        tasks: what `of_tasks` gave.
        call: what the pipeline and its platform document set.
        fetching: whether the process brings inputs from buckets first, for which it needs the logins.
    """
    hidden = [] if program.logins else [name for name in tasks if _is_login(name)]
    hidden = [name for name in hidden if name not in call and name not in program.env]
    kept = {name: value for name, value in tasks.items() if fetching or name not in hidden}
    given = {name: value for name, value in call.items() if name not in program.inside}
    return {**kept, **given, **program.env}, hidden if fetching else []


def _is_login(name: str) -> bool:
    return name.startswith(_LOGINS) or is_secret(name)
