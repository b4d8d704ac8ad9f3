import errno
import fcntl
import os
import resource
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from crackgeo import files
from crackgeo.errors import Cancelled, ResourceError, UsageError
from crackgeo.files import AtomicOutput, all_or_none, atomic_output, check_output, output_errors


def names(folder):
    return sorted(p.name for p in folder.iterdir())


def test_an_output_appears_complete(tmp_path):
    target = tmp_path / "a.b.txt"
    with atomic_output(target) as part:
        assert part.parent == tmp_path
        assert part.name.startswith(".a.b.part-")
        assert part.suffix == ".txt"
        part.write_text("done")
        assert names(tmp_path) == [part.name]
    assert names(tmp_path) == ["a.b.txt"]
    assert target.read_text() == "done"


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt, Cancelled, SystemExit])
def test_nothing_is_left_after_any_error(tmp_path, error):
    def work():
        with atomic_output(tmp_path / "a.gpkg") as part:
            part.write_text("half")
            part.with_name(f"{part.name}-wal").write_text("a library's own")
            raise error

    with pytest.raises(error):
        work()
    assert names(tmp_path) == []


def test_leaving_without_commit_removes_all(tmp_path):
    with AtomicOutput(tmp_path / "a.tif") as output:
        output.path.touch()
        (tmp_path / f"{output.path.name}-journal").touch()  # as libraries put beside it
    assert names(tmp_path) == []


def write_together(folder, *, fail=False):
    a, b, other = (folder / name for name in ("a.txt", "b.txt", "other.txt"))
    with all_or_none([a, None, b]):
        for path in (a, b, other):
            with atomic_output(path, overwrite=True) as part:
                part.write_text("new")
        assert other.read_text() == "new"
        assert not b.exists()
        if fail:
            raise Cancelled


def test_outputs_appear_together_or_not_at_all(tmp_path):
    (tmp_path / "a.txt").write_text("old")
    with pytest.raises(Cancelled):
        write_together(tmp_path, fail=True)
    assert (tmp_path / "a.txt").read_text() == "old"
    assert names(tmp_path) == ["a.txt", "other.txt"]
    write_together(tmp_path)
    assert {path.read_text() for path in tmp_path.iterdir()} == {"new"}
    assert names(tmp_path) == ["a.txt", "b.txt", "other.txt"]


def test_a_rename_that_fails_leaves_nothing_new(tmp_path, monkeypatch):
    real = os.replace

    def refuse_b(source, target):
        if target.name == "b.txt":
            raise PermissionError(errno.EACCES, "open elsewhere")
        real(source, target)

    monkeypatch.setattr("crackgeo.files.os.replace", refuse_b)
    with pytest.raises(ResourceError, match=r"b\.txt"):
        write_together(tmp_path)
    assert names(tmp_path) == ["other.txt"]


def test_only_its_own_temporary_files_are_removed(tmp_path):
    (tmp_path / ".out").touch()
    (tmp_path / ".out.part-00000000").touch()
    with atomic_output(tmp_path / "out") as part:  # no suffix
        part.touch()
    assert names(tmp_path) == [".out", ".out.part-00000000", "out"]


def test_names_that_are_patterns(tmp_path):
    (tmp_path / ".x.part-1.tif").touch()
    with AtomicOutput(tmp_path / "[x]*.tif") as output:
        output.path.touch()
    assert names(tmp_path) == [".x.part-1.tif"]


def test_an_existing_output_is_refused(tmp_path):
    target = tmp_path / "a.txt"
    target.write_text("old")
    with pytest.raises(UsageError, match=r"a\.txt") as caught:
        check_output(target)
    assert "--overwrite" in caught.value.remedy
    with atomic_output(target, overwrite=True) as part:
        part.write_text("new")
        assert target.read_text() == "old"
    assert target.read_text() == "new"


def test_an_output_that_appears_meanwhile_is_kept(tmp_path):
    target = tmp_path / "a.txt"
    with AtomicOutput(target) as output:
        output.path.write_text("ours")
        target.write_text("theirs")
        with pytest.raises(UsageError, match="meanwhile"):
            output.commit()
    assert names(tmp_path) == ["a.txt"]
    assert target.read_text() == "theirs"


def test_folders(tmp_path):
    with pytest.raises(UsageError, match="is a folder"):
        check_output(tmp_path, overwrite=True)
    with pytest.raises(ResourceError, match="no folder"):
        check_output(tmp_path / "missing" / "a.txt")
    check_output(tmp_path / "a.txt")
    assert names(tmp_path) == []


def test_what_is_synced_may_be_written_to(tmp_path, monkeypatch):
    """As Windows wants it, which flushes no file that was opened to be read."""
    synced = []

    def sync(handle):
        if stat.S_ISREG(os.fstat(handle).st_mode):
            if fcntl.fcntl(handle, fcntl.F_GETFL) & os.O_ACCMODE == os.O_RDONLY:
                raise OSError(errno.EBADF, "Bad file descriptor")
            synced.append(handle)

    monkeypatch.setattr(os, "fsync", sync)
    with atomic_output(tmp_path / "a.txt") as part:
        part.write_text("done")
    files.write_safely(tmp_path / "b.txt", b"done")
    assert names(tmp_path) == ["a.txt", "b.txt"]
    assert len(synced) == 2


@pytest.mark.parametrize("log", ["a.gpkg-wal", "a.gpkg-journal"])
def test_a_geopackage_that_is_being_edited_is_refused_early(tmp_path, log):
    target = tmp_path / "a.gpkg"
    (tmp_path / log).touch()
    target.touch()
    with pytest.raises(ResourceError, match=f"open in another program .*{log}") as caught:
        check_output(target, overwrite=True)
    assert "QGIS" in caught.value.remedy
    assert names(tmp_path) == sorted(["a.gpkg", log])


def in_use(part, target):
    """What Windows says when a file that a program has open shall be replaced."""
    raise PermissionError(errno.EACCES, "sharing violation", part, 32, target)


def test_a_file_that_windows_keeps_open_is_refused_early(tmp_path, monkeypatch):
    target = tmp_path / "a.tif"
    check_output(target)
    target.write_text("old")
    monkeypatch.setattr(files.os, "replace", in_use)
    with pytest.raises(ResourceError, match=r"a\.tif: open in another program") as caught:
        check_output(target, overwrite=True)
    assert "close it" in caught.value.remedy


def test_a_file_that_is_opened_meanwhile_stays_as_it_is(tmp_path, monkeypatch):
    target = tmp_path / "a.tif"
    target.write_text("old")
    with AtomicOutput(target, overwrite=True) as output:
        output.path.write_text("new")
        monkeypatch.setattr(files.os, "replace", in_use)
        with pytest.raises(ResourceError, match="open in another program"):
            output.commit()
    assert names(tmp_path) == ["a.tif"]
    assert target.read_text() == "old"


@pytest.mark.skipif(sys.platform != "linux", reason="needs /proc, where nobody can write")
def test_a_folder_that_takes_no_files():
    with pytest.raises(ResourceError, match=r"/proc/a\.txt"):
        check_output(Path("/proc/a.txt"))


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_folder_without_permission(tmp_path):
    tmp_path.chmod(0o500)
    with pytest.raises(ResourceError, match="no permission"):
        check_output(tmp_path / "a.txt")


@pytest.mark.parametrize(
    ("code", "message"),
    [
        (errno.ENOSPC, "disk is full .* MB free"),
        (errno.EDQUOT, "quota"),
        (errno.EACCES, "no permission"),
        (errno.EROFS, "read-only"),
        (errno.EFBIG, "larger"),
        (errno.EIO, os.strerror(errno.EIO)),
    ],
)
def test_errors_of_the_system_are_explained(tmp_path, code, message):
    with pytest.raises(ResourceError, match=message) as caught, output_errors(tmp_path / "a.tif"):
        raise OSError(code, "")
    assert "a.tif" in caught.value.message
    assert caught.value.remedy


def test_errors_of_a_library_count_when_named(tmp_path):
    with pytest.raises(ResourceError, match="MB free"), output_errors(tmp_path / "a", KeyError):
        raise KeyError("lost")
    with pytest.raises(KeyError), output_errors(tmp_path / "a"):
        raise KeyError("lost")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_a_full_disk(tmp_path):
    with pytest.raises(ResourceError, match="full"), output_errors(tmp_path / "a"):
        Path("/dev/full").write_text("x")


def test_a_limit_on_file_size_leaves_nothing(tmp_path):
    code = """
import signal, sys
from pathlib import Path
from crackgeo.errors import ResourceError
from crackgeo.files import atomic_output
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
try:
    with atomic_output(Path(sys.argv[1])) as part:
        part.write_bytes(bytes(100_000))
except ResourceError as error:
    sys.exit(error.exit_code)
"""
    limit = lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, 50_000))  # noqa: E731
    command = [sys.executable, "-c", code, str(tmp_path / "a.bin")]
    done = subprocess.run(command, preexec_fn=limit, check=False, capture_output=True)
    assert (done.returncode, done.stderr) == (4, b"")
    assert names(tmp_path) == []
