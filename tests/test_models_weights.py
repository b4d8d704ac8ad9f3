"""Fetching, checking and importing weights: against a bad network, bad files and bad people."""

import json
import os
import pickle
import shutil
import threading
import time
import zipfile
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
import torch
from safetensors.torch import save_file

from crackgeo.cli import run
from crackgeo.errors import Cancelled, CrackgeoError, ModelError, ResourceError, UsageError
from crackgeo.models import catalogue, importing, pickles, weights
from crackgeo.models.download import Patience, _SameSecurity, download
from crackgeo.models.pickles import read_pickle
from crackgeo.models.registry import find_model, models_home
from crackgeo.monitor import Monitor

CONTENT = bytes(range(256)) * 4096  # 1 MiB
QUICK = Patience(stall_s=0.4, attempts=3, pause_s=0.01)


class Server(ThreadingHTTPServer):
    """Serves `content`, as badly as `manner` says; writes down what it was asked."""

    daemon_threads = True

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        self.content = CONTENT
        self.manner = "ranges"
        self.requests = []
        self.released = threading.Event()

    @property
    def url(self):
        return f"http://127.0.0.1:{self.server_port}/weights.bin"


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        server = self.server
        asked = self.headers.get("Range")
        server.requests.append(asked)
        first = len(server.requests) == 1
        if server.manner == "redirect" and not self.path.startswith("/moved"):
            return self.redirect("/moved/weights.bin")
        if server.manner == "loop":
            return self.redirect(self.path)
        if server.manner == "absent":
            return self.send_error(404)
        if server.manner in ("503", "429") and len(server.requests) < 3:
            return self.send_error(int(server.manner))
        body, start = server.content, 0
        if asked and server.manner != "no ranges":
            start = int(asked.removeprefix("bytes=").removesuffix("-"))
            if start >= len(body):
                return self.send_error(416)
        self.send_response(206 if start else 200)
        self.send_header("Content-Length", str(len(body) - start))
        self.end_headers()
        return self.send_body(body[start:], server, first)

    def send_body(self, body, server, first):
        half = len(body) // 2
        if server.manner == "cut" and first:
            self.wfile.write(body[:half])
            self.close_connection = True
        elif server.manner == "stall" and first:
            self.wfile.write(body[:half])
            self.wfile.flush()
            server.released.wait(5)
            self.close_connection = True
        else:
            self.wfile.write(body)

    def redirect(self, target):
        self.send_response(302)
        self.send_header("Location", target)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_):
        pass


@pytest.fixture
def server(monkeypatch):
    for name in ("http_proxy", "https_proxy", "all_proxy", "HTTP_PROXY", "HTTPS_PROXY"):
        monkeypatch.delenv(name, raising=False)
    with Server() as running:
        thread = threading.Thread(target=running.serve_forever, args=(0.02,))
        thread.start()
        yield running
        running.released.set()
        running.shutdown()
        thread.join()


@pytest.fixture
def home(tmp_path, monkeypatch):
    monkeypatch.setenv("CRACKGEO_HOME", str(tmp_path / "home"))
    return tmp_path / "home"


@pytest.fixture
def item(server, monkeypatch, tmp_path):
    """A published file on the server, under the name `tiny-sam`."""
    copy = tmp_path / "copy"
    copy.write_bytes(CONTENT)
    digest = catalogue.digests(copy).sha256
    one = catalogue.Published(
        "tiny-sam", "sam", server.url, digest, "Apache-2.0", "a test", len(CONTENT)
    )
    monkeypatch.setattr(catalogue, "PUBLISHED", (one,))
    monkeypatch.setattr(weights, "PUBLISHED", (one,))
    return one


def right(path):
    if path.read_bytes() != CONTENT:
        raise ModelError("wrong bytes")


# ---- checksums and places ------------------------------------------------------------------


def test_checksums_by_hand(tmp_path):
    path = tmp_path / "hello.txt"
    path.write_bytes(b"hello\n")
    sums = catalogue.digests(path)
    # sha256sum and git hash-object of the same six bytes
    assert sums.sha256 == "5891b5b522d5df086d0ff0b110fbd9d21bb4fc7163af34d08286a2e846f6be03"
    assert sums.git_sha1 == "ce013625030ba8dba906f756967f9e9ca394464a"


def test_the_catalogue_is_well_formed():
    names = [item.name for item in catalogue.PUBLISHED]
    assert len(set(names)) == len(names) == 6
    for item in catalogue.PUBLISHED:
        assert item.url.startswith("https://")
        assert len(item.digest) == (64 if item.kind == "sam" else 40)
        assert int(item.digest, 16)
        assert item.licence


def test_home(monkeypatch, tmp_path):
    monkeypatch.setenv("CRACKGEO_HOME", str(tmp_path))
    assert models_home() == tmp_path / "models"
    monkeypatch.delenv("CRACKGEO_HOME")
    monkeypatch.setattr("sys.platform", "linux")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "x"))
    assert models_home() == tmp_path / "x" / "crackgeo" / "models"
    monkeypatch.setattr("sys.platform", "darwin")
    assert models_home().parts[-4:] == ("Library", "Caches", "crackgeo", "models")


def test_own_models_are_found_by_name(home):
    own = home / "models" / "mine.safetensors"
    own.parent.mkdir(parents=True)
    own.write_bytes(b"")
    assert find_model("mine") == own
    with pytest.raises(ModelError):
        find_model("../models/mine")


# ---- downloading ----------------------------------------------------------------------------


def test_download(server, tmp_path):
    seen = []
    target = tmp_path / "new" / "w.bin"
    monitor = Monitor(on_progress=lambda *event: seen.append(event))
    download(server.url, target, right, len(CONTENT), monitor, QUICK)
    assert target.read_bytes() == CONTENT
    assert seen[-1] == ("download", len(CONTENT), len(CONTENT))
    assert os.listdir(target.parent) == ["w.bin"]


def test_resuming_asks_for_the_rest_only(server, tmp_path):
    (tmp_path / "w.bin.part").write_bytes(CONTENT[:1000])
    download(server.url, tmp_path / "w.bin", right, len(CONTENT), patience=QUICK)
    assert server.requests == ["bytes=1000-"]
    assert (tmp_path / "w.bin").read_bytes() == CONTENT


@pytest.mark.parametrize("manner", ["cut", "stall"])
def test_broken_connections_go_on_where_they_ended(server, tmp_path, manner):
    server.manner = manner
    warned = []
    monitor = Monitor(on_warning=warned.append)
    download(server.url, tmp_path / "w.bin", right, len(CONTENT), monitor, QUICK)
    assert server.requests == [None, f"bytes={len(CONTENT) // 2}-"]
    assert (tmp_path / "w.bin").read_bytes() == CONTENT
    assert len(warned) == 1


def test_a_server_without_ranges_sends_all_again(server, tmp_path):
    server.manner = "no ranges"
    (tmp_path / "w.bin.part").write_bytes(b"x" * 1000)
    download(server.url, tmp_path / "w.bin", right, patience=QUICK)
    assert (tmp_path / "w.bin").read_bytes() == CONTENT


def test_a_wrong_beginning_is_fetched_once_more(server, tmp_path):
    (tmp_path / "w.bin.part").write_bytes(b"x" * 1000)
    download(server.url, tmp_path / "w.bin", right, patience=QUICK)
    assert server.requests == ["bytes=1000-", None]
    assert (tmp_path / "w.bin").read_bytes() == CONTENT


def test_a_part_longer_than_the_file_is_thrown_away(server, tmp_path):
    (tmp_path / "w.bin.part").write_bytes(CONTENT + b"x")
    download(server.url, tmp_path / "w.bin", right, patience=QUICK)
    assert (tmp_path / "w.bin").read_bytes() == CONTENT


def test_redirects(server, tmp_path):
    server.manner = "redirect"
    download(server.url, tmp_path / "w.bin", right, len(CONTENT), patience=QUICK)
    assert (tmp_path / "w.bin").read_bytes() == CONTENT


def test_endless_redirects_end(server, tmp_path):
    server.manner = "loop"
    with pytest.raises(ModelError, match="cannot be fetched"):
        download(server.url, tmp_path / "w.bin", right, patience=QUICK)


def test_encryption_is_not_given_up():
    import urllib.request

    request = urllib.request.Request("https://example.org/a")
    for target in ("http://example.org/a", "ftp://example.org/a"):
        with pytest.raises(ModelError, match="not encrypted"):
            _SameSecurity().redirect_request(request, None, 302, "Found", {}, target)
    followed = _SameSecurity().redirect_request(
        request, None, 302, "Found", {}, "https://example.net/b"
    )
    assert followed.full_url == "https://example.net/b"


@pytest.mark.parametrize("url", ["file:///etc/hostname", "ftp://127.0.0.1/a", "weights.bin"])
def test_other_addresses_are_refused(url, tmp_path):
    with pytest.raises(ModelError, match="only https"):
        download(url, tmp_path / "w.bin", right, patience=QUICK)


@pytest.mark.parametrize("status", ["503", "429"])
def test_an_overloaded_server_is_asked_again(server, tmp_path, status):
    server.manner = status
    download(server.url, tmp_path / "w.bin", right, len(CONTENT), patience=QUICK)
    assert len(server.requests) == 3


def test_a_missing_file_is_not_asked_for_again(server, tmp_path):
    server.manner = "absent"
    with pytest.raises(ModelError, match="Not Found"):
        download(server.url, tmp_path / "w.bin", right, patience=QUICK)
    assert len(server.requests) == 1


def test_wrong_bytes_never_appear(server, tmp_path):
    server.content = CONTENT[:-1] + b"x"
    with pytest.raises(ModelError, match="wrong bytes"):
        download(server.url, tmp_path / "w.bin", right, len(CONTENT), patience=QUICK)
    assert os.listdir(tmp_path) == []


def test_a_file_of_another_size_is_not_even_received(server, tmp_path):
    with pytest.raises(ModelError, match="offers 1048576 bytes instead of 7"):
        download(server.url, tmp_path / "w.bin", right, 7, patience=QUICK)


def test_stopping_keeps_what_is_there(server, tmp_path):
    server.content = CONTENT * 3
    stop = Monitor(is_cancelled=lambda: (tmp_path / "w.bin.part").stat().st_size >= 1 << 20)
    with pytest.raises(Cancelled):
        download(server.url, tmp_path / "w.bin", right, len(CONTENT) * 3, stop, QUICK)
    assert not (tmp_path / "w.bin").exists()
    assert (tmp_path / "w.bin.part").stat().st_size >= 1 << 20


def test_a_full_disk(server, tmp_path, monkeypatch):
    usage = shutil.disk_usage(tmp_path)._replace(free=1000)
    monkeypatch.setattr("crackgeo.models.download.shutil.disk_usage", lambda path: usage)
    with pytest.raises(ResourceError, match="GB free"):
        download(server.url, tmp_path / "w.bin", right, patience=QUICK)


def test_the_proxy_is_used(server, tmp_path, monkeypatch):
    monkeypatch.setenv("http_proxy", server.url)
    monkeypatch.delenv("no_proxy", raising=False)
    monkeypatch.delenv("NO_PROXY", raising=False)
    download("http://weights.invalid/w.bin", tmp_path / "w.bin", right, patience=QUICK)
    assert (tmp_path / "w.bin").read_bytes() == CONTENT


# ---- fetch ----------------------------------------------------------------------------------


def test_fetch_and_fetch_again(item, server, home):
    path = weights.fetch("tiny-sam", patience=QUICK)
    assert path == home / "weights" / "weights.bin"
    assert path.read_bytes() == CONTENT
    assert weights.fetch("tiny-sam") == path
    assert len(server.requests) == 1
    assert weights.verify("tiny-sam").known


def test_a_damaged_file_in_the_cache_is_told(item, home):
    path = weights.cached(item)
    path.parent.mkdir(parents=True)
    path.write_bytes(CONTENT[:-1])
    with pytest.raises(ModelError, match="wrong checksum") as caught:
        weights.fetch("tiny-sam")
    assert "delete it" in caught.value.remedy


def test_wrong_bytes_from_the_server(item, server, home):
    server.content = b"x" + CONTENT[1:]
    with pytest.raises(ModelError, match="wrong checksum"):
        weights.fetch("tiny-sam", patience=QUICK)
    assert list(home.rglob("*.bin*")) == []


def test_two_fetches_do_not_write_one_file(item, server, home, monkeypatch):
    server.manner = "stall"
    first = threading.Thread(target=weights.fetch, args=("tiny-sam",), kwargs={"patience": QUICK})
    first.start()
    part = weights.cached(item).with_name("weights.bin.part")
    while not (part.exists() and part.stat().st_size):
        time.sleep(0.01)
    with pytest.raises(ResourceError, match="another run of crackgeo") as caught:
        weights.fetch("tiny-sam", patience=QUICK)
    assert "wait" in caught.value.remedy
    first.join()
    assert os.listdir(home / "weights") == ["weights.bin"]
    assert weights.verify("tiny-sam").known


def test_a_folder_in_the_place_of_a_published_file(item, home):
    weights.cached(item).mkdir(parents=True)
    for use in (weights.fetch, weights.verify):
        with pytest.raises(ModelError, match=r"cannot be read \(Is a directory"):
            use("tiny-sam")
    assert [row.there for row in weights.list_models() if row.name == "tiny-sam"] == [False]


def test_offline_says_what_to_put_where(item, server, home):
    server.shutdown()
    server.server_close()
    with pytest.raises(ModelError, match="cannot be fetched") as caught:
        weights.fetch("tiny-sam", patience=QUICK)
    assert server.url in caught.value.remedy
    assert str(home / "weights" / "weights.bin") in caught.value.remedy
    assert caught.value.exit_code == 5


def test_unknown_names(home):
    with pytest.raises(ModelError, match="nothing to fetch"):
        weights.fetch("sam-vit-g")
    with pytest.raises(ModelError, match="not fetched yet") as caught:
        weights.resolve("sam-vit-b")
    assert "models fetch sam-vit-b" in caught.value.remedy


# ---- pickles --------------------------------------------------------------------------------


class Evil:
    def __reduce__(self):
        return os.system, ("touch pwned",)


def weights_file(path, content, name="w/data.pkl", protocol=2):
    """A file like torch's, with any pickle in it."""
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(name, pickle.dumps(content, protocol=protocol))
        archive.writestr("w/version", "3\n")
    return path


@pytest.mark.parametrize("protocol", [0, 2, 4])
def test_a_malicious_pickle_is_refused_unread(tmp_path, monkeypatch, protocol):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(torch, "load", lambda *a, **k: pytest.fail("it was unpickled"))
    path = weights_file(tmp_path / "evil.pth", {"a": Evil()}, protocol=protocol)
    with pytest.raises(ModelError, match=r"refused, it asks for \w+.system") as caught:
        read_pickle(path)
    assert caught.value.exit_code == 5
    assert not (tmp_path / "pwned").exists()


def test_names_hidden_in_the_memo_are_refused(tmp_path):
    program = b"\x80\x04\x8c\x02os\x94\x8c\x06system\x940h\x00h\x01\x93."
    with zipfile.ZipFile(tmp_path / "evil.pth", "w") as archive:
        archive.writestr("w/data.pkl", program)
        archive.writestr("w/version", "3\n")
    with pytest.raises(ModelError, match="asks for hidden"):
        read_pickle(tmp_path / "evil.pth")


def test_the_pickle_that_is_checked_is_the_one_that_torch_reads(tmp_path, monkeypatch):
    """torch finds `data.pkl` in any spelling, and goes by a file's first bytes, not its last."""
    monkeypatch.setattr(torch, "load", lambda *a, **k: pytest.fail("it was unpickled"))
    evil, harmless = (pickle.dumps(content, protocol=2) for content in ({"a": Evil()}, {}))
    with zipfile.ZipFile(tmp_path / "two.pth", "w") as archive:
        archive.writestr("w/data.PKL", evil)
        archive.writestr("w/other.pkl", harmless)
        archive.writestr("w/version", "3\n")
    with pytest.raises(ModelError, match=r"not a \.pth file"):
        read_pickle(tmp_path / "two.pth")
    weights_file(tmp_path / "spelt.pth", {"a": Evil()}, name="w/Data.Pkl")
    with pytest.raises(ModelError, match="refused, it asks for"):
        read_pickle(tmp_path / "spelt.pth")
    torch.save({"a": torch.zeros(1)}, tmp_path / "good.pth")
    whole = evil + (tmp_path / "good.pth").read_bytes()
    (tmp_path / "before.pth").write_bytes(whole)
    assert zipfile.is_zipfile(tmp_path / "before.pth")
    with pytest.raises(ModelError, match="no zip archive"):
        read_pickle(tmp_path / "before.pth")


@pytest.mark.parametrize("error", [AttributeError, TypeError, IndexError, pickle.UnpicklingError])
def test_whatever_goes_wrong_in_torchs_reader_is_one_clear_error(tmp_path, monkeypatch, error):
    torch.save({"a": torch.zeros(1)}, tmp_path / "a.pth")

    def fail(*arguments, **options):
        raise error("at odds with itself\nand more")

    monkeypatch.setattr(torch, "load", fail)
    with pytest.raises(ModelError, match=r"damaged .at odds with itself."):
        read_pickle(tmp_path / "a.pth")


def test_the_second_guard_is_torchs_own(tmp_path, monkeypatch):
    """Even if the first one is fooled."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(pickles, "_globals", lambda path: iter(()))
    torch.save({"a": Evil()}, tmp_path / "evil.pth")
    with pytest.raises(ModelError):
        read_pickle(tmp_path / "evil.pth")
    assert not (tmp_path / "pwned").exists()


def test_only_the_safe_reader_is_used(tmp_path, monkeypatch):
    calls = []
    monkeypatch.setattr(torch, "load", lambda path, **options: calls.append(options) or {})
    torch.save({"a": torch.zeros(1)}, tmp_path / "a.pth")
    read_pickle(tmp_path / "a.pth")
    assert calls == [{"map_location": "cpu", "weights_only": True}]


def test_an_old_torch_reads_no_pickles(tmp_path, monkeypatch):
    torch.save({"a": torch.zeros(1)}, tmp_path / "a.pth")
    for version in ("2.9.1", "2.9.1+cu128", "1.13.0"):
        monkeypatch.setattr(torch, "__version__", version)
        with pytest.raises(ModelError, match="known hole"):
            read_pickle(tmp_path / "a.pth")
    monkeypatch.setattr(torch, "__version__", "2.10.0+cpu")
    assert read_pickle(tmp_path / "a.pth")["a"].tolist() == [0.0]


def test_good_files_of_several_kinds(tmp_path):
    tensors = {
        "a": torch.arange(4.0).half(),
        "b": torch.nn.Parameter(torch.ones(2)),
        "c": torch.arange(3),
    }
    torch.save(tensors, tmp_path / "a.pth")
    found = read_pickle(tmp_path / "a.pth")
    assert found["a"].tolist() == [0, 1, 2, 3]
    torch.save(torch.nn.Linear(2, 2).state_dict(), tmp_path / "b.pth")
    assert read_pickle(tmp_path / "b.pth")["weight"].shape == (2, 2)


@pytest.mark.parametrize("keep", [0.0, 0.3, 0.9, 0.999])
def test_truncated_pickles(tmp_path, keep):
    torch.save({"a": torch.zeros(5000)}, tmp_path / "a.pth")
    whole = (tmp_path / "a.pth").read_bytes()
    (tmp_path / "a.pth").write_bytes(whole[: int(len(whole) * keep)])
    with pytest.raises(ModelError, match="truncated") as caught:
        read_pickle(tmp_path / "a.pth")
    assert caught.value.remedy


@pytest.mark.parametrize(
    "tensor",
    [
        torch.zeros(2, dtype=torch.bool),
        torch.zeros(2, dtype=torch.int8),
        torch.zeros(2, dtype=torch.complex64),
        torch.zeros(2, 2).to_sparse(),
    ],
)
def test_tensors_that_are_no_weights_are_not_called_dangerous(tmp_path, tensor):
    torch.save({"a": tensor}, tmp_path / "a.pth")
    with pytest.raises(ModelError, match="of a kind that weights do not have") as caught:
        read_pickle(tmp_path / "a.pth")
    assert "code" not in caught.value.message


def test_safetensors_under_a_pickles_name_are_not_called_truncated(tmp_path):
    save_file({"a": torch.ones(2)}, tmp_path / "a.pth")
    assert weights.read_weights(tmp_path / "a.pth")["a"].tolist() == [1, 1]
    with pytest.raises(ModelError, match="is a safetensors file"):
        read_pickle(tmp_path / "a.pth")


@pytest.mark.parametrize("name", ["state_dict", "model"])
def test_a_checkpoint_of_training_is_told_where_its_weights_lie(tmp_path, name):
    torch.save({name: {"a": torch.zeros(1)}, "epoch": 3}, tmp_path / "a.pth")
    with pytest.raises(ModelError, match="something else than named tensors") as caught:
        read_pickle(tmp_path / "a.pth")
    assert f"under '{name}'" in caught.value.remedy


def test_other_contents(tmp_path):
    torch.save([torch.zeros(1)], tmp_path / "a.pth")
    with pytest.raises(ModelError, match="something else than named tensors"):
        read_pickle(tmp_path / "a.pth")
    weights_file(tmp_path / "b.pth", {}, name="w/code.py")
    with pytest.raises(ModelError, match=r"not a \.pth file"):
        read_pickle(tmp_path / "b.pth")
    with pytest.raises(ModelError, match="no such file"):
        read_pickle(tmp_path / "c.pth")
    torch.save({"a": torch.zeros(1)}, tmp_path / "d.pth", _use_new_zipfile_serialization=False)
    with pytest.raises(ModelError, match="no zip archive"):
        read_pickle(tmp_path / "d.pth")


def test_a_false_name_is_found_out_before_reading(tmp_path, monkeypatch):
    """A file called as SAM's is SAM's or an error."""
    for module in (weights, importing):
        monkeypatch.setattr(module, "read_weights", lambda path: pytest.fail("it was read"))
    path = weights_file(tmp_path / "sam_vit_b_01ec64.pth", {"a": Evil()})
    for use in (weights.verify, lambda p: importing.import_model(p, p, tmp_path / "m.safetensors")):
        with pytest.raises(ModelError, match="wrong checksum"):
            use(path)
    assert not (tmp_path / "m.safetensors").exists()


# ---- the command line -----------------------------------------------------------------------


def test_list(item, home, capsys):
    assert run(["models", "list", "--json"]) == 0
    rows = {row["name"]: row for row in json.loads(capsys.readouterr().out)["models"]}
    assert rows["compact"]["kind"] == "model"
    assert rows["tiny-sam"]["there"] is False
    assert rows["tiny-sam"]["source"] == item.url
    assert rows["tiny-sam"]["licence"] == "Apache-2.0"
    weights.cached(item).parent.mkdir(parents=True)
    weights.cached(item).write_bytes(CONTENT)
    (home / "models").mkdir()
    (home / "models" / "broken.safetensors").write_bytes(b"x")
    assert run(["models", "list"]) == 0
    text = capsys.readouterr().out
    assert "tiny-sam" in text
    assert "not a safetensors file" in text


def test_fetch_and_verify_from_the_command_line(item, home, capsys):
    assert run(["models", "fetch", "tiny-sam", "--json"]) == 0
    path = json.loads(capsys.readouterr().out)["files"]["tiny-sam"]
    assert run(["models", "verify", path, "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["known"], found["kind"], found["sha256"]) == (True, "sam", item.digest)


def test_failures_have_an_exit_code_and_no_traceback(tmp_path, capsys):
    evil = weights_file(tmp_path / "evil.pth", {"a": Evil()})
    out = str(tmp_path / "m.safetensors")
    cases = [
        (["fetch", "nothing"], 5),
        (["verify", "nothing"], 5),
        (["verify", str(evil)], 5),
        (["import", "--sam", str(evil), "--delta", str(evil), "-o", out], 5),
        (["import", "--sam", str(evil), "--delta", str(evil), "-o", str(tmp_path)], 2),
        (["import", "-o", out], 2),
    ]
    for arguments, code in cases:
        assert run(["models", *arguments]) == code, arguments
        said = capsys.readouterr().err
        assert "Traceback" not in said
        assert "internal error" not in said
    assert os.listdir(tmp_path) == ["evil.pth"]


def test_an_existing_output_is_kept(tmp_path):
    (tmp_path / "m.safetensors").write_bytes(b"mine")
    with pytest.raises(UsageError, match="exists"):
        importing.import_model("a.pth", "b.pth", tmp_path / "m.safetensors")
    assert (tmp_path / "m.safetensors").read_bytes() == b"mine"


def test_listing_starts_quickly_and_offline(home, monkeypatch):
    monkeypatch.setattr("socket.socket", lambda *a, **k: pytest.fail("it went to the network"))
    started = time.monotonic()
    assert {row.name for row in weights.list_models()} >= {"compact", "sam-vit-h"}
    assert time.monotonic() - started < 5


def test_every_error_names_a_remedy():
    for item in catalogue.PUBLISHED:
        with pytest.raises(CrackgeoError) as caught:
            item.check_digests(item, catalogue.Digests("0", "0"))
        assert item.name in caught.value.remedy
