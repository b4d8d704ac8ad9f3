"""SAM's weights and a delta as one model: what is refused, what is warned of, what is kept."""

import errno
import os
import resource
import signal

import pytest
import torch
from safetensors import SafetensorError
from safetensors.torch import save_file
from test_models_cracksam import TINY, own_delta, published, tiny

from crackgeo.cli import run
from crackgeo.errors import Cancelled, ModelError, ResourceError, UsageError
from crackgeo.files import AtomicOutput
from crackgeo.models import checkpoint, importing, modelfile
from crackgeo.models.catalogue import PUBLISHED, digests
from crackgeo.models.deltas import DeltaSpec
from crackgeo.models.importing import import_model
from crackgeo.models.modelfile import DELTA_FORMAT, open_model_file, read_metadata, save_model
from crackgeo.models.registry import load_model, models_home
from crackgeo.models.weights import list_models, verify
from crackgeo.monitor import Monitor

NETWORK = tiny(DeltaSpec("qv", 2))


@pytest.fixture
def parts(tmp_path):
    """Files of SAM and of a delta, in a folder of their own."""
    (tmp_path / "in").mkdir()
    sam = {k: v for k, v in NETWORK.state_dict().items() if ".lora_" not in k}
    save_file(sam, tmp_path / "in" / "sam.safetensors")
    save_file(own_delta(NETWORK), tmp_path / "in" / "delta.safetensors")
    return tmp_path / "in" / "sam.safetensors", tmp_path / "in" / "delta.safetensors"


@pytest.fixture
def home(tmp_path, monkeypatch):
    monkeypatch.setenv("CRACKGEO_HOME", str(tmp_path / "home"))
    return tmp_path / "home"


def tell(path, **told):
    """Write the delta once more with metadata."""
    save_file(own_delta(NETWORK), path, {"format": DELTA_FORMAT, **told})


def change(path, name, value):
    tensors = modelfile.read_tensors(path)
    save_file(tensors | {name: value(tensors.get(name))}, path)


def names(folder):
    return sorted(path.name for path in folder.iterdir())


# ---- disk, signals, leftovers -----------------------------------------------------------------


def test_a_limit_of_the_disk_is_told_as_such(parts, tmp_path):
    """safetensors raises an error of its own for what the operating system said."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, before[1]))
    try:
        with pytest.raises(ResourceError, match="the file is larger than"):
            import_model(*parts, tmp_path / "m.safetensors")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert names(tmp_path) == ["in"]


@pytest.mark.parametrize(
    ("said", "words"),
    [
        ("Error while serializing: I/O error: No space (os error 28)", "disk is full"),
        ("Error while serializing: nobody knows", "could not be written .*nobody knows"),
        ("I/O error: Cannot allocate memory (os error 12)", "not enough memory"),
    ],
)
def test_safetensors_errors_while_writing(tmp_path, monkeypatch, said, words):
    def fail(*arguments):
        raise SafetensorError(said)

    monkeypatch.setattr("safetensors.torch.save_file", fail)
    with pytest.raises(ResourceError, match=words):
        save_model(tmp_path / "m.safetensors", {}, {"architecture": "compact", "name": "m"})
    assert names(tmp_path) == []


@pytest.mark.parametrize("allowed", range(5))
def test_an_import_stops_when_asked(parts, tmp_path, allowed):
    """Between two pieces of a checksum, after either file, and before the model is written."""
    asked = []
    stop = Monitor(is_cancelled=lambda: asked.append(1) or len(asked) > allowed)
    with pytest.raises(Cancelled):
        import_model(*parts, tmp_path / "m.safetensors", monitor=stop)
    assert names(tmp_path) == ["in"]


def test_sigterm_stops_an_import(parts, tmp_path, monkeypatch, capsys):
    def identify(*arguments):
        os.kill(os.getpid(), signal.SIGTERM)
        return digests(parts[0]), None

    monkeypatch.setattr(importing, "identify", identify)
    sam, delta = map(str, parts)
    output = str(tmp_path / "m.safetensors")
    assert run(["models", "import", "--sam", sam, "--delta", delta, "-o", output]) == 130
    assert names(tmp_path) == ["in"]


def test_what_a_killed_import_left_goes_and_is_no_model(parts, home):
    output = home / "models" / "vb.safetensors"
    output.parent.mkdir(parents=True)
    AtomicOutput(output).path.write_bytes(b"half of it")
    assert not [row for row in list_models() if "part" in row.name]
    import_model(*parts, output)
    assert names(output.parent) == ["vb.safetensors"]


def test_two_imports_do_not_write_one_file(parts, tmp_path):
    output = tmp_path / "m.safetensors"
    with importing.alone(output), pytest.raises(ResourceError, match="another run of crackgeo"):
        import_model(*parts, output)
    import_model(*parts, output)
    assert names(tmp_path) == ["in", "m.safetensors"]


# ---- names and places -------------------------------------------------------------------------


@pytest.mark.parametrize("which", [0, 1])
def test_an_input_is_not_written_over(parts, which):
    before = [path.read_bytes() for path in parts]
    with pytest.raises(UsageError, match="is an input of this run"):
        import_model(*parts, parts[which], overwrite=True)
    assert [path.read_bytes() for path in parts] == before


def test_a_model_file_is_named_like_one(parts, tmp_path):
    with pytest.raises(UsageError, match="name it m"):
        import_model(*parts, tmp_path / "m.pth")


def test_the_folder_of_named_models_is_made(parts, home):
    import_model(*parts, models_home() / "mine.safetensors")
    assert load_model("mine", "cpu", "fp32").info.name == "mine"
    with pytest.raises(ResourceError, match="no folder"):
        import_model(*parts, home / "other" / "mine.safetensors")


@pytest.mark.parametrize("name", ["compact", PUBLISHED[0].name])
def test_a_name_that_would_never_be_found_is_refused(parts, home, name):
    with pytest.raises(UsageError, match="would never find it"):
        import_model(*parts, models_home() / f"{name}.safetensors")
    assert not home.exists()


def test_endings_in_any_case_and_first_bytes_tell_the_format(parts, tmp_path):
    sam, delta = parts
    sam = sam.rename(sam.with_name("sam.SAFETENSORS"))
    tell(delta, finetuned_from="told")
    delta = delta.rename(delta.with_name("delta.pth"))
    warned = []
    made = import_model(
        sam, delta, tmp_path / "m.safetensors", monitor=Monitor(on_warning=warned.append)
    )
    assert made["finetuned_from"] == "told"
    assert warned == []


def test_a_name_of_bytes_that_are_no_text(parts, tmp_path):
    sam = tmp_path / os.fsdecode(b"s\xff.pth")
    torch.save(modelfile.read_tensors(parts[0]), sam)
    made = import_model(sam, parts[1], tmp_path / "m.safetensors")
    assert made["sam_file"] == "s?.pth"
    assert verify(sam).kind == "weights"
    unfit = tmp_path / os.fsdecode(b"m\xff.safetensors")
    with pytest.raises(UsageError, match="not UTF-8"):
        import_model(*parts, unfit)
    unfit.write_bytes(parts[1].read_bytes())
    with pytest.raises(UsageError, match="not UTF-8"):
        verify(unfit)


# ---- the right SAM ----------------------------------------------------------------------------


def test_a_delta_of_another_vit_is_refused_even_with_a_head_alone(parts, tmp_path):
    sam, delta = parts
    head = {k: v for k, v in own_delta(NETWORK).items() if ".lora_" not in k}
    save_file(head, delta, {"format": DELTA_FORMAT, "vit": "vit_l"})
    with pytest.raises(ModelError, match=r"was trained on vit_l, .*sam\.safetensors is vit 32 x 3"):
        import_model(sam, delta, tmp_path / "m.safetensors")
    assert names(tmp_path) == ["in"]


def test_another_sam_of_the_same_vit_is_warned_of(parts, tmp_path):
    sam, delta = parts
    vit = checkpoint.model_metadata(NETWORK)["vit"]
    for told, count in ((digests(sam).sha256, 0), ("0" * 64, 1)):
        warned = []
        tell(delta, vit=vit, sam_sha256=told, sam_file="road.pth")
        monitor = Monitor(on_warning=warned.append)
        import_model(sam, delta, tmp_path / "m.safetensors", overwrite=True, monitor=monitor)
        assert len(warned) == count
    assert "other weights of SAM than sam.safetensors: on road.pth" in warned[0]


def test_terms_and_origin_of_a_delta_go_on(parts, tmp_path):
    sam, delta = parts
    tell(delta, licence="for tests only", delta_file="first.pth", delta_sha256="1" * 64)
    made = import_model(sam, delta, tmp_path / "m.safetensors")
    assert made["licence"] == "for tests only"
    assert (made["base_delta_file"], made["base_delta_sha256"]) == ("first.pth", "1" * 64)
    assert (made["delta_file"], made["delta_sha256"]) == (delta.name, digests(delta).sha256)


# ---- what files say and hold ------------------------------------------------------------------

NONSENSE = [
    {"threshold": "nonsense"},
    {"threshold": "7"},
    {"threshold": "0"},
    {"threshold": "1"},
    {"threshold": "nan"},
    {"threshold_low": "0"},
    {"threshold": "0.4", "threshold_low": "0.6"},
    {"temperature": "0"},
    {"temperature": "nan"},
]


@pytest.mark.parametrize("told", NONSENSE)
def test_calibration_that_no_model_may_have_is_not_imported(parts, tmp_path, told):
    tell(parts[1], **told)
    with pytest.raises(ModelError, match=r"delta\.safetensors: te?[mh]") as caught:
        import_model(*parts, tmp_path / "m.safetensors")
    assert "finetune" in caught.value.remedy
    with pytest.raises(ModelError, match=r"delta\.safetensors"):
        verify(parts[1])
    assert names(tmp_path) == ["in"]


@pytest.mark.parametrize("told", [*NONSENSE, {"normalisation": "foo"}])
def test_a_model_that_cannot_be_used_is_not_verified_written_or_loaded(tmp_path, told):
    path = tmp_path / "m.safetensors"
    good = {"name": "m", **checkpoint.model_metadata(NETWORK)}
    with pytest.raises(ModelError):
        save_model(path, NETWORK.state_dict(), good | told)
    assert names(tmp_path) == []
    save_model(path, NETWORK.state_dict(), good)
    whole = read_metadata(path) | told
    save_file({k: v.contiguous() for k, v in NETWORK.state_dict().items()}, path, whole)
    for use in (verify, load_model):
        with pytest.raises(ModelError, match=next(iter(told))[:9]) as caught:
            use(path)
        assert caught.value.exit_code == 5


LORA = "image_encoder.blocks.0.attn.qkv.lora_a.q"


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
@pytest.mark.parametrize("which", [0, 1])
def test_weights_that_are_no_numbers(parts, tmp_path, value, which):
    name = ("image_encoder.pos_embed", LORA)[which]
    change(parts[which], name, lambda old: old.index_fill(-1, torch.tensor([0]), value))
    for use in (verify, lambda _: import_model(*parts, tmp_path / "m.safetensors")):
        with pytest.raises(ModelError, match=f"{parts[which].name}: {name} holds values"):
            use(parts[which])
    assert names(tmp_path) == ["in"]


def test_whole_numbers_are_no_weights(parts, tmp_path):
    change(parts[1], LORA, lambda old: old.to(torch.int32))
    with pytest.raises(ModelError, match=rf"delta\.safetensors: {LORA} holds int32"):
        import_model(*parts, tmp_path / "m.safetensors")


def test_a_model_with_a_weight_that_is_no_number_is_found(tmp_path):
    path = tmp_path / "m.safetensors"
    tensors = NETWORK.state_dict() | {LORA: torch.full((2, TINY.embed_dim), float("nan"))}
    save_model(path, tensors, {"name": "m", **checkpoint.model_metadata(NETWORK)})
    with pytest.raises(ModelError, match=f"{LORA} holds values"):
        verify(path)


def test_tensors_in_the_same_memory(parts, tmp_path):
    sam, delta = published(NETWORK)
    one = torch.randn(3, TINY.embed_dim)
    delta |= {"w_a_000": one[:2], "w_a_001": one[1:]}
    torch.save(sam, tmp_path / "sam.pth")
    torch.save(delta, tmp_path / "delta.pth")
    import_model(tmp_path / "sam.pth", tmp_path / "delta.pth", tmp_path / "m.safetensors")
    found = modelfile.read_tensors(tmp_path / "m.safetensors")
    for part, expected in zip("qv", (one[:2], one[1:]), strict=True):
        name = f"image_encoder.blocks.0.attn.qkv.lora_a.{part}"
        assert torch.equal(found[name], expected)


@pytest.mark.parametrize("told", [{"adapter_scale": "nan"}, {"adapter_scale": "inf"}])
def test_a_scale_that_is_no_number_is_the_deltas_fault_or_the_users(parts, tmp_path, told):
    tell(parts[1], **told)
    with pytest.raises(ModelError, match="adapter_scale is"):
        import_model(*parts, tmp_path / "m.safetensors")
    with pytest.raises(UsageError, match="--scale nan"):
        import_model(*parts, tmp_path / "m.safetensors", scale=float("nan"))


def test_lora_of_rank_0_is_the_deltas_fault(parts, tmp_path):
    def cut(name, tensor):
        if ".lora_" not in name:
            return tensor
        return tensor[:0] if ".lora_a" in name else tensor[:, :0].contiguous()

    save_file({k: cut(k, v) for k, v in own_delta(NETWORK).items()}, parts[1])
    with pytest.raises(ModelError, match=r"delta\.safetensors: LoRA on 'qv' with rank 0"):
        import_model(*parts, tmp_path / "m.safetensors")


# ---- messages ---------------------------------------------------------------------------------


@pytest.mark.parametrize("wrapper", ["module.", "model."])
@pytest.mark.parametrize("which", [0, 1])
def test_names_of_a_wrapped_network_are_recognised(parts, tmp_path, wrapper, which):
    tensors = modelfile.read_tensors(parts[which])
    save_file({wrapper + name: tensor for name, tensor in tensors.items()}, parts[which])
    with pytest.raises(ModelError, match=f"{parts[which].name}: the names .*{wrapper}") as caught:
        import_model(*parts, tmp_path / "m.safetensors")
    assert f"removeprefix('{wrapper}')" in caught.value.remedy


@pytest.mark.parametrize("which", [0, 1])
def test_the_file_that_is_not_what_it_should_be_is_named(parts, tmp_path, which):
    save_file({"a": torch.zeros(1)}, parts[which])
    with pytest.raises(ModelError, match=parts[which].name):
        import_model(*parts, tmp_path / "m.safetensors")


def test_a_finetuned_delta_is_verified_and_no_model_among_the_models(parts, home):
    told = {**checkpoint.model_metadata(NETWORK), "name": "d"}
    own = home / "models" / "d.safetensors"
    own.parent.mkdir(parents=True)
    tell(own, **told)
    assert verify(own).kind == "delta"
    [row] = [row for row in list_models() if row.path == own]
    assert row.kind == "delta"
    assert "models import" in row.about
    save_file({"a": torch.zeros(1)}, own, {"format": DELTA_FORMAT, **told})
    with pytest.raises(ModelError, match="no mask decoder"):
        verify(own)


def test_texts_of_files_are_shown_without_control_characters(home, capsys):
    own = home / "models" / "m.safetensors"
    own.parent.mkdir(parents=True)
    told = {"name": "a\x1b[31m\nb", "about": "x\x1b]0;y\x07" + "z" * 9999}
    save_model(own, NETWORK.state_dict(), {**checkpoint.model_metadata(NETWORK), **told})
    assert open_model_file(own).info.name == "a [31m b"
    assert run(["models", "list"]) == 0
    text = capsys.readouterr().out
    assert "\x1b" not in text
    assert max(map(len, text.splitlines())) < 400


# ---- memory -----------------------------------------------------------------------------------


def no_memory(*arguments, **options):
    raise RuntimeError("unable to mmap 2564550879 bytes from file: Cannot allocate memory (12)")


@pytest.mark.parametrize(
    "place",
    [
        "crackgeo.models.modelfile.safe_open",
        "crackgeo.models.checkpoint.build_cracksam",
        "crackgeo.models.runtime._prepare",
    ],
)
def test_want_of_memory_is_no_damaged_file(tmp_path, monkeypatch, place):
    path = tmp_path / "m.safetensors"
    save_model(path, NETWORK.state_dict(), {"name": "m", **checkpoint.model_metadata(NETWORK)})
    monkeypatch.setattr(place, no_memory)
    with pytest.raises(ResourceError, match="not enough memory"):
        load_model(path)


@pytest.mark.parametrize("error", [RuntimeError, MemoryError])
def test_want_of_memory_while_a_pickle_is_read(tmp_path, monkeypatch, error):
    torch.save({"a": torch.zeros(1)}, tmp_path / "a.pth")

    def fail(*arguments, **options):
        raise error("DefaultCPUAllocator: can't allocate memory")

    monkeypatch.setattr(torch, "load", fail)
    with pytest.raises(ResourceError, match=r"a\.pth: not enough memory"):
        verify(tmp_path / "a.pth")


def test_what_the_system_says_is_told(tmp_path, monkeypatch):
    """Errors of safetensors have no words of the system's apart."""
    path = tmp_path / "m.safetensors"
    save_file({"a": torch.zeros(1)}, path)

    def refuse(*arguments, **options):
        raise PermissionError("Permission denied (os error 13)")

    monkeypatch.setattr(modelfile, "safe_open", refuse)
    with pytest.raises(ModelError, match=r"cannot be read \(Permission denied"):
        open_model_file(path)
    assert errno.EACCES == 13
