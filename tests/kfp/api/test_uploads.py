"""What is uploaded, and what comes by an address: refusals in the uploads' own shape, every bound kept."""

import gzip
import http.server
import io
import tarfile
import threading
import zipfile

import pytest
import yaml
from tests.execute.doubles import pipeline

from tuneline.actions.kfp import fetching
from tuneline.spec import documents

pytestmark = pytest.mark.slow

SPEC = yaml.safe_dump(pipeline({"a": {}}, "uploaded")).encode()


def upload(http, data=SPEC, file="p.yaml", path="/pipelines/upload", **query):
    return http.post(path, params=query, files={"uploadfile": (file, data, "application/octet-stream")})


def refused(answer, words, status=400):
    body = answer.json()
    assert answer.status_code == status, answer.text
    assert set(body) == {"error_message", "error_details"}
    assert words in body["error_details"], body


def packed(kind="w:gz", **files):
    plain = io.BytesIO()
    with tarfile.open(fileobj=plain, mode=kind) as archive:
        for name, data in files.items():
            info = tarfile.TarInfo(name.replace("__", "."))
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    return plain.getvalue()


def zipped(**files):
    plain = io.BytesIO()
    with zipfile.ZipFile(plain, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in files.items():
            archive.writestr(name.replace("__", "."), data)
    return plain.getvalue()


def test_names_come_from_the_query_else_the_file(http):
    assert upload(http, name="n", display_name="d").json()["display_name"] == "d"
    assert upload(http, display_name="only display").json()["name"] == "only display"
    assert upload(http, file="of file.yaml").json()["name"] == "of file.yaml"
    tagged = upload(http, name="tagged", tags='{"team":"ops"}', description="words").json()
    assert (tagged["tags"], tagged["description"]) == ({"team": "ops"}, "words")
    found = http.get("/pipelines/names/tagged").json()
    assert found == tagged
    filter = '{"predicates":[{"operation":"EQUALS","key":"tags.team","stringValue":"ops"}]}'
    listed = http.get("/pipelines", params={"filter": filter}).json()
    assert ([each["name"] for each in listed["pipelines"]], listed["total_size"]) == (["tagged"], 1)


BOMB = "a: &a [1,1,1,1,1,1,1,1,1,1]\n" + "".join(
    f"{name}: &{name} [{', '.join(['*' + before] * 10)}]\n"
    for before, name in zip("abcdefg", "bcdefgh", strict=True)
)
MERGES = "a: &a {x: 1, y: 2}\n" + "".join(
    f"{name}: &{name} {{<<: [{', '.join(['*' + before] * 10)}]}}\n"
    for before, name in zip("abcdefgh", "bcdefghi", strict=True)
)
V1 = b"apiVersion: argoproj.io/v1alpha1\nkind: Workflow\nspec: {entrypoint: x}\n"


NO_PIPELINES = [
    ("p.yaml", b"", "no pipeline spec is provided"),
    ("p.yaml", b"a: [", "unable to decode yaml document"),
    ("p.yaml", b"- 1\n", "no mapping"),
    ("p.yaml", b"\xff\xfe", "unable to decode yaml document"),
    ("p.yaml", b"a: !!python/object/apply:os.system [id]", "unable to decode yaml document"),
    ("p.yaml", b"a: 2026-99-99", "unable to decode yaml document"),
    ("p.yaml", b"[" * 5000, "unable to decode yaml document"),
    ("p.yaml", SPEC + b"\n---\n" + SPEC, "multiple pipeline specs"),
    ("p.yaml", SPEC + b"\nextra: .inf\n", "invalid v2 pipeline spec"),
    ("p.yaml", SPEC + b"\nextra: 2026-01-01\n", "invalid v2 pipeline spec"),
    ("p.yaml", b"pipelineInfo: {name: x}\n", "only supports schema version 2.1.0"),
    ("p.yaml", MERGES.encode(), "only supports schema version 2.1.0"),
    ("p.yaml", V1, "v1 pipeline (an Argo Workflow)"),
    ("p.zip", zipped(pipeline__yaml=V1), "v1 pipeline (an Argo Workflow)"),
    ("p.tar.gz", packed(pipeline__yaml=V1), "v1 pipeline (an Argo Workflow)"),
    ("p.zip", b"PK\x03\x04 nothing", "cannot be read"),
    ("p.tar.gz", b"\x1f\x8b nothing", "cannot be read"),
    ("p.tar.gz", gzip.compress(b"no tar"), "cannot be read"),
    ("p.tar.gz", packed(a__txt=b"x"), "Expecting a pipeline.yaml file"),
    ("p.zip", zipped(a__yaml=SPEC, b__yaml=SPEC), "Expecting a pipeline.yaml file"),
    ("p.zip", zipped(), "Expecting a pipeline.yaml file"),
    ("p.zip", zipped(**{"é__yaml": SPEC}).replace("é".encode(), b"\xff\xfe"), "cannot be read"),
    ("p.tar.gz", packed(**{"a\udcff": b"x"}), "Expecting a pipeline.yaml file"),
    ("p.exe", b"MZ", "Unexpected pipeline file format"),
]


def test_a_file_that_is_no_pipeline_is_refused_with_its_reason(http):
    for file, data, words in NO_PIPELINES:
        refused(upload(http, data, file, name="x"), words)
        assert http.get("/pipelines").json() == {}


def test_keys_that_only_yaml_has_become_texts(http):
    odd = SPEC + b"\nsdkVersion: x\ndefaultPipelineRoot: ''\n"
    keys = odd.replace(b"components:\n", b"components:\n  2: {}\n  true: {}\n")
    id = upload(http, keys, name="odd").json()["pipeline_id"]
    (version,) = http.get(f"/pipelines/{id}/versions").json()["pipeline_versions"]
    assert {"2", "true", "comp-a"} == set(version["pipeline_spec"]["components"])


def test_what_grows_when_it_is_unpacked_is_refused(http, monkeypatch):
    refused(upload(http, bytes(33 << 20), name="x"), "too large", 413)
    monkeypatch.setattr(documents, "MAX_BYTES", 1 << 20)
    monkeypatch.setattr(documents, "MAX_NODES", 100_000)
    zeros = bytes(3 << 19)
    refused(upload(http, BOMB.encode(), name="x"), "more than", 413)
    refused(upload(http, zipped(pipeline__yaml=zeros), "p.zip", name="x"), "too large", 413)
    refused(upload(http, packed(pipeline__yaml=zeros), "p.tgz", name="x"), "too large", 413)
    refused(upload(http, packed(a=zeros, b=zeros), "p.tgz", name="x"), "holds more than", 413)
    refused(upload(http, zeros, name="x"), "too large", 413)


def test_a_request_that_is_no_upload_is_refused(http):
    refused(http.post("/pipelines/upload", json={}), "no multipart/form-data")
    refused(http.post("/pipelines/upload", files={"other": b"x"}), "no part `uploadfile`")
    refused(
        http.post("/pipelines/upload", data={"uploadfile": "x"}, files={"o": b""}), "no part `uploadfile`"
    )
    broken = {"content-type": "multipart/form-data; boundary=x"}
    refused(http.post("/pipelines/upload", content=b"--y\r\n", headers=broken), "Failed to read pipeline")
    refused(
        http.post("/pipelines/upload", content=b"", headers={"content-type": "multipart/form-data"}), "Failed"
    )


def test_a_name_is_taken_once_and_has_its_bounds(http):
    assert upload(http, name="Twice").status_code == 200
    refused(upload(http, name="tWice"), "already exists", 409)
    refused(upload(http, name="x" * 129), "cannot exceed 128")
    refused(upload(http, name="x", tags='{"a": 1}'), "string keys and values")
    refused(upload(http, name="x", tags='{"a": "%s"}' % ("v" * 64)), "Tag 'a'")
    refused(upload(http, name="x", tags='{"team.name": "a"}'), "has a dot in its key")
    refused(upload(http, path="/pipelines/upload_version", name="v"), "`pipelineid` is missing")
    refused(upload(http, path="/pipelines/upload_version", name="v", pipelineid="p"), "not found", 404)


def test_a_version_has_its_own_name_and_is_renamed(http):
    id = upload(http, name="line").json()["pipeline_id"]
    version = upload(http, path="/pipelines/upload_version", name="v1", pipelineid=id).json()
    assert version["pipeline_spec"] == yaml.safe_load(SPEC)
    refused(upload(http, path="/pipelines/upload_version", name="V1", pipelineid=id), "already exists", 409)
    path = f"/pipelines/{id}/versions/{version['pipeline_version_id']}"
    changed = http.patch(path, json={"display_name": "1.0", "tags": {"a": "b"}}).json()
    assert (changed["name"], changed["display_name"], changed["tags"]) == ("v1", "1.0", {"a": "b"})
    assert http.get(path).json() == changed
    assert http.patch(f"/pipelines/{id}", json={"description": "new"}).json()["description"] == "new"
    assert http.get(f"/pipelines/{id}").json()["display_name"] == "line"
    other = upload(http, name="other").json()["pipeline_id"]
    mixed = path.replace(id, other)  # KFP looks at a version's own id alone
    assert (http.get(mixed).json(), http.delete(mixed).json()) == (changed, {})
    assert http.delete(path).status_code == 404


def test_a_pipeline_is_deleted_with_its_versions_when_asked_so(http):
    id = upload(http, name="line").json()["pipeline_id"]
    answer = http.delete(f"/pipelines/{id}")
    assert (answer.status_code, answer.json()["code"]) == (400, 3)
    assert http.delete(f"/pipelines/{id}?cascade=true").json() == {}
    assert http.get(f"/pipelines/{id}").status_code == 404
    assert upload(http, name="line").status_code == 200


class Files(http.server.BaseHTTPRequestHandler):
    """A server of packages that misbehaves as asked."""

    def do_GET(self):
        path = self.path.partition("?")[0]
        answers = {"/p.yaml": SPEC, "/p.zip": zipped(pipeline__yaml=SPEC), "/v1.yaml": V1}
        if path in ("/moved", "/to-file", "/round"):
            self.send_response(302)
            target = {"/moved": "/p.yaml", "/to-file": "file:///etc/passwd", "/round": "/round"}[path]
            self.send_header("Location", target)
            self.end_headers()
        elif path == "/large":
            self.send_response(200)
            self.end_headers()
            try:
                for _ in range(40):
                    self.wfile.write(bytes(1 << 20))
            except OSError:
                return
        elif path == "/slow":
            self.send_response(200)
            self.end_headers()
            try:
                for _ in range(100):
                    self.wfile.write(b"#")
                    self.wfile.flush()
                    if self.server.stopping.wait(0.02):
                        return
            except OSError:
                return
        elif path in answers:
            self.send_response(200)
            self.end_headers()
            self.wfile.write(answers[path])
        else:
            self.send_error(404)

    def log_message(self, *args):
        return


@pytest.fixture
def files():
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Files)
    server.stopping = threading.Event()
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    yield f"http://127.0.0.1:{server.server_address[1]}"
    server.stopping.set()
    server.shutdown()
    thread.join()
    server.server_close()


def by_url(http, url, name="fetched"):
    version = {"display_name": "v", "package_url": {"pipeline_url": url}}
    return http.post(
        "/pipelines/create", json={"pipeline": {"display_name": name}, "pipeline_version": version}
    )


ADDRESSES = ["/p.yaml", "/p.zip", "/moved", "/p.yaml?page=1&signature=x"]


def test_a_pipeline_is_fetched_from_its_address(http, files):
    for path in ADDRESSES:
        made = by_url(http, files + path, f"of {path}").json()
        assert made["display_name"] == f"of {path}"
        (version,) = http.get(f"/pipelines/{made['pipeline_id']}/versions").json()["pipeline_versions"]
        shown = path.replace("signature=x", "signature=***")
        assert version["package_url"] == {"pipeline_url": files + shown}
        assert version["pipeline_spec"] == yaml.safe_load(SPEC)
        more = {"display_name": "second", "package_url": {"pipeline_url": files + path}}
        second = http.post(f"/pipelines/{made['pipeline_id']}/versions", json=more).json()
        assert (second["display_name"], second["pipeline_spec"]) == ("second", version["pipeline_spec"])


NO_ADDRESSES = [
    ("{files}/none", 400, "404"),
    ("{files}/to-file", 400, "must begin with http"),
    ("{files}/round", 400, "redirects"),
    ("{files}/large", 413, "larger than"),
    ("{files}/v1.yaml", 400, "v1 pipeline"),
    ("file:///etc/passwd", 400, "must begin with http"),
    ("ftp://example.com/p.yaml", 400, "must begin with http"),
    ("http://", 400, "must begin with http"),
    ("http://user:word@127.0.0.1/p.yaml", 400, "user or password"),
    ("http://127.0.0.1:1/p.yaml", 503, "Failed to fetch"),
    ("http://[::1/p.yaml", 400, "no address"),
    ("", 400, "needs a package_url"),
]


def test_an_address_that_will_not_do_is_refused_with_its_reason(http, files):
    for url, status, words in NO_ADDRESSES:
        answer = by_url(http, url.format(files=files))
        assert answer.status_code == status, answer.text
        assert words in answer.json()["message"]
        assert http.get("/pipelines").json() == {}


def test_a_slow_address_is_given_up(http, files, monkeypatch):
    monkeypatch.setattr(fetching, "TIMEOUT_S", 0.2)
    answer = by_url(http, f"{files}/slow")
    assert answer.status_code == 503
    assert "in time" in answer.json()["message"]


def test_a_version_may_bring_its_spec(http):
    made = http.post("/pipelines", json={"display_name": "empty"}).json()
    assert http.get(f"/pipelines/{made['pipeline_id']}/versions").json() == {}
    body = {"display_name": "v", "pipeline_spec": yaml.safe_load(SPEC)}
    assert http.post(f"/pipelines/{made['pipeline_id']}/versions", json=body).json()["name"] == "v"
    run = {"display_name": "r", "pipeline_version_reference": {"pipeline_id": made["pipeline_id"]}}
    assert http.post("/runs", json=run).status_code == 200
