"""A whole server whose record is on PostgreSQL: real processes and a real database, a few seconds."""

from dataclasses import replace

import psutil
import pytest
from tests.client.conftest import free_port, kill
from tests.client.test_server import end_of

from tuneline.client import ensure_server
from tuneline.errors import ConflictError

pytestmark = pytest.mark.slow


@pytest.fixture
def on_postgres(settings, postgres):
    """Settings whose database asks for no password, but whose URL has one."""
    with postgres.migrated() as url:
        made = replace(settings, database_url=url.replace("//tuneline@", "//tuneline:s3cret@"))
        yield made
        kill(made)


def test_a_run_goes_on_although_the_database_ends_in_the_middle_and_no_file_has_its_password(
    on_postgres, postgres, live_only
):
    client, _ = ensure_server(on_postgres)
    pid = client.healthz()["pid"]
    elsewhere = replace(on_postgres, home=on_postgres.home.with_name("elsewhere"), port=free_port())
    with pytest.raises(ConflictError, match=f"already has a server: process {pid} on"):
        ensure_server(elsewhere)
    run = client.submit(live_only, {}, {"name": "reviews", "digest": "sha256:1"})["id"]
    postgres.server.stop("immediate")
    postgres.server.start()
    assert end_of(run, client)["state"] == "SUCCEEDED"
    assert client.verify_ledger()["ok"]
    client.shutdown()
    psutil.wait_procs([psutil.Process(pid)] if psutil.pid_exists(pid) else [], 20)
    client.close()
    written = [path for path in on_postgres.home.parent.rglob("*") if path.is_file()]
    assert any(path.name == "server.log" for path in written)
    assert [path for path in written if b"s3cret" in path.read_bytes()] == []
