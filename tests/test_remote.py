"""Rasters on a server, a bad one too: slow, rude or failing, and what it asks of the user."""

import re
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest
import rasterio.shutil
from fakes import IdentityModel
from rasters import picture, write

import crackgeo
from crackgeo import dataset, source
from crackgeo.cli import run
from crackgeo.dataset import gdal_name, is_local
from crackgeo.errors import InputError
from crackgeo.grid import Window
from crackgeo.probability import open_probability
from crackgeo.raster import open_image

SIZE = 700


class Server(ThreadingHTTPServer):
    """Serves one file by ranges; the first `bad` requests for pixels go wrong as `manner` says."""

    daemon_threads = True

    def __init__(self, content):
        super().__init__(("127.0.0.1", 0), Handler)
        self.content = content
        self.manner, self.bad = "good", 0
        self.asked = []
        self.released = threading.Event()

    def handle_error(self, request, client_address):
        """A client that left early is no error."""

    def url(self, name):
        return f"http://127.0.0.1:{self.server_port}/{name}.tif"


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_HEAD(self):
        self.answer(200, len(self.server.content))

    def do_GET(self):
        server, content = self.server, self.server.content
        asked = re.fullmatch(r"bytes=(\d+)-(\d+)", self.headers.get("Range", ""))
        first, last = (int(asked[1]), int(asked[2])) if asked else (0, len(content) - 1)
        server.asked.append((first, last))
        body = content[first : last + 1]
        if not self.path.endswith(".tif"):
            return self.answer(404, 0)
        if server.bad and first > 0:  # the header, at 0, has been read by then
            server.bad -= 1
            return self.misbehave(body, first)
        self.answer(206, len(body), first)
        return self.wfile.write(body)

    def misbehave(self, body, first):
        if self.server.manner == "error":
            return self.answer(500, 0)
        self.answer(206, len(body), first)
        self.wfile.write(body[: len(body) // 2])
        self.wfile.flush()
        if self.server.manner == "stall":
            self.server.released.wait(20)
        self.close_connection = True
        return None

    def answer(self, status, length, first=0):
        self.send_response(status)
        self.send_header("Accept-Ranges", "bytes")
        self.send_header("Content-Length", str(length))
        if status == 206:
            total = len(self.server.content)
            self.send_header("Content-Range", f"bytes {first}-{first + length - 1}/{total}")
        self.end_headers()

    def log_message(self, *_):
        pass


@pytest.fixture(scope="module")
def cog(tmp_path_factory):
    """A cloud-optimised raster of noise, which no compression makes small.

    It says which value is no data, so its border is not looked at for marks.
    """
    folder = tmp_path_factory.mktemp("cog")
    plain = write(folder / "plain.tif", picture(SIZE, SIZE), nodata=0)
    rasterio.shutil.copy(plain, folder / "cog.tif", driver="COG", blocksize=256, overviews="none")
    return folder / "cog.tif"


@pytest.fixture
def server(cog, monkeypatch):
    for name in ("http_proxy", "https_proxy", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)
    quick = {"GDAL_HTTP_RETRY_DELAY": "0.05", "GDAL_HTTP_LOW_SPEED_TIME": 1}
    monkeypatch.setattr(dataset, "HTTP_OPTIONS", dataset.HTTP_OPTIONS | quick)
    monkeypatch.setattr(source, "REREAD_PAUSES_S", (0.01, 0.02))
    with Server(cog.read_bytes()) as running:
        thread = threading.Thread(target=running.serve_forever, args=(0.02,))
        thread.start()
        yield running
        running.released.set()
        running.shutdown()
        thread.join()


def everything(path):
    with open_image(path) as image:
        return image.read(Window(0, 0, SIZE, SIZE))[0]


@pytest.mark.parametrize(
    ("given", "name"),
    [
        ("https://host/a.tif", "/vsicurl/https://host/a.tif"),
        (Path("https://host/a.tif"), "/vsicurl/https://host/a.tif"),
        ("http://host/a.tif?x=1", "/vsicurl/http://host/a.tif?x=1"),
        ("s3://bucket/a.tif", "/vsis3/bucket/a.tif"),
        (Path("gs://bucket/a/b.tif"), "/vsigs/bucket/a/b.tif"),
        ("az://container/a.tif", "/vsiaz/container/a.tif"),
        ("/vsizip/a.zip/a.tif", "/vsizip/a.zip/a.tif"),
    ],
)
def test_addresses(given, name):
    assert gdal_name(given) == name
    assert not is_local(given)


@pytest.mark.parametrize("path", ["a.tif", "/data/https.tif", Path("s3/a.tif"), "C:/data/a.tif"])
def test_files_of_this_machine(path):
    assert gdal_name(path) == str(path)
    assert is_local(path)


def test_a_remote_raster_gives_what_the_file_gives(server, cog, tmp_path):
    url, bbox = server.url("good"), "500000,5399999.5,500000.6,5400000"
    crackgeo.predict_raster(url, tmp_path / "url.tif", model=IdentityModel())
    crackgeo.predict_raster(cog, tmp_path / "file.tif", model=IdentityModel())
    with open_probability(tmp_path / "url.tif") as a, open_probability(tmp_path / "file.tif") as b:
        np.testing.assert_array_equal(a.read(a.grid.window), b.read(b.grid.window))
    assert run(["info", url, "--bbox", bbox, "--no-timing", "-q"]) == 0


def test_only_the_blocks_needed_are_fetched(server):
    with open_image(server.url("part")) as image:
        image.read(Window(0, 0, 64, 64))
    assert sum(last - first + 1 for first, last in server.asked) < 0.6 * len(server.content)


@pytest.mark.parametrize(("manner", "bad"), [("error", 3), ("drop", 2), ("stall", 1)])
def test_a_server_that_recovers(server, cog, manner, bad):
    server.manner, server.bad = manner, bad
    np.testing.assert_array_equal(everything(server.url(manner)), everything(cog))
    assert server.bad == 0


@pytest.mark.parametrize("manner", ["error", "drop"])
def test_a_server_that_does_not(server, monkeypatch, manner):
    monkeypatch.setitem(dataset.HTTP_OPTIONS, "GDAL_HTTP_MAX_RETRY", 1)
    server.manner, server.bad = manner, 10**6
    with pytest.raises(InputError, match="could not be read after") as caught:
        everything(server.url(f"never-{manner}"))
    assert "--resume" in caught.value.remedy


def test_a_file_that_is_not_there(server, tmp_path, capsys):
    missing = server.url("x").replace(".tif", ".png")
    assert run(["map", missing, "-o", str(tmp_path / "o.gpkg"), "-q"]) == 3
    assert "remedy:" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []
