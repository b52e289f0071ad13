"""Files are not trusted: what would run code is refused, damage is seen, and messages quote little."""

import json
import os
import shutil

import numpy as np
import openmm
import pytest
import torch
from commands import complaint, tps
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from tps.arrays import load_arrays, save_arrays
from tps.config import RunConfig
from tps.conformations.frames import check_dcd_length, read_dcd, read_finite_dcd, write_dcd
from tps.diffusion import check_device, load_model
from tps.errors import (
    MOST_QUOTED,
    ConfigError,
    ModelError,
    ParameterError,
    RunFolderError,
    SystemDefinitionError,
    TrajectoryError,
    quoted,
    reason_of,
    shortened,
)
from tps.said import SaidNumbers
from tps.sections import read_toml
from tps.stored import read_json
from tps.systems import data_directory, load_system

LEFT = "<ForceField><Script>open('{mark}', 'w')</Script></ForceField>"


@pytest.fixture
def folder(tmp_path):
    """A copy of alanine dipeptide whose force field is joined by a file `mine.xml` of the user's own."""
    found = shutil.copytree(data_directory("systems") / "alanine-dipeptide", tmp_path / "molecule")
    text = (found / "system.toml").read_text()
    (found / "system.toml").write_text(
        text.replace('["amber99sbildn.xml"]', '["amber99sbildn.xml", "mine.xml"]')
    )
    return found


def test_scripts_of_force_fields_run_only_where_the_system_file_allows_it(folder, tmp_path):
    mark = tmp_path / "it-ran"
    (folder / "mine.xml").write_text(LEFT.format(mark=mark))
    with pytest.raises(SystemDefinitionError, match=r"mine.xml has <Script>, .* set allow_code = true"):
        load_system(folder)
    assert not mark.exists()
    text = (folder / "system.toml").read_text()
    (folder / "system.toml").write_text(text.replace("[force_field]", "[force_field]\nallow_code = true"))
    load_system(folder)
    assert mark.exists()


@pytest.mark.parametrize(
    ("content", "named"),
    [
        ("<InitializationScript>mark</InitializationScript>", "<InitializationScript>"),
        (
            '<LennardJonesForce lj14scale="1" useDispersionCorrection="mark()"/>',
            "useDispersionCorrection = 'mark()'",
        ),
        ('<Include file="hidden/more.xml"/>', "more.xml has <Script>"),
    ],
)
def test_every_way_to_python_is_closed(folder, tmp_path, content, named):
    (folder / "hidden").mkdir()
    (folder / "hidden" / "more.xml").write_text(LEFT.format(mark=tmp_path / "it-ran"))
    (folder / "mine.xml").write_text(f"<ForceField>{content}</ForceField>")
    with pytest.raises(SystemDefinitionError, match=named.replace("(", r"\(").replace(")", r"\)")):
        load_system(folder)
    assert not (tmp_path / "it-ran").exists()


@pytest.mark.parametrize("value", ["inf", "nan", "-1e400"])
def test_numbers_without_end_are_refused_where_nothing_uses_them(folder, value):
    """Names may read as numbers."""
    types = '<AtomTypes><Type name="inf" class="nan" element="C" mass="12.0"/></AtomTypes>'
    bond = '<HarmonicBondForce><Bond type1="inf" type2="inf" length="0.1" k="{k}"/></HarmonicBondForce>'
    (folder / "mine.xml").write_text(f"<ForceField>{types}{bond.format(k=1.0)}</ForceField>")
    assert load_system(folder).n_atoms == 22
    (folder / "mine.xml").write_text(f"<ForceField>{types}{bond.format(k=value)}</ForceField>")
    with pytest.raises(
        SystemDefinitionError, match=f"k of <Bond> in mine.xml .* finite number, but is '{value}'"
    ):
        load_system(folder)


def test_force_fields_of_openmm_may_have_scripts(folder):
    """implicit/obc2.xml has one; it is no file of the user's."""
    (folder / "mine.xml").write_text('<ForceField><Include file="implicit/obc2.xml"/></ForceField>')
    assert load_system(folder).n_atoms == 22


@pytest.fixture
def given(folder):
    """The same molecule by its System, and a function that writes the System with a part replaced."""
    text = (folder / "system.toml").read_text()
    sources = 'files = ["amber99sbildn.xml", "mine.xml"]\nconstraints = "h-bonds"'
    assert sources in text
    system = load_system("alanine-dipeptide").create_openmm_system()
    (folder / "system.toml").write_text(text.replace(sources, 'system_xml = "system.xml"'))

    def write(change=lambda system: None, old="", new=""):
        changed = openmm.XmlSerializer.clone(system)
        change(changed)
        content = openmm.XmlSerializer.serialize(changed)
        assert old in content
        (folder / "system.xml").write_text(content.replace(old, new, 1))
        return folder

    return write


def test_a_sound_system_is_taken(given):
    assert load_system(given()).n_atoms == 22


def add_nan(system):
    system.addForce(openmm.CustomExternalForce("sqrt(-1-x*x)"))
    system.getForce(system.getNumForces() - 1).addParticle(0, [])


def lose_an_atom(system):
    angles = next(force for force in system.getForces() if isinstance(force, openmm.HarmonicAngleForce))
    angles.setAngleParameters(0, 0, 2**31 - 1, 2, 1.9, 300.0)  # OpenMM checks the outer two


@pytest.mark.parametrize(
    ("change", "old", "new", "expected"),
    [
        (add_nan, "", "", r"end structure A has an energy of nan kJ/mol and \d+ forces that are not finite"),
        (
            lambda s: None,
            'type="HarmonicBondForce"',
            'type="HarmonicBandForce"',
            "not a serialised openmm.System",
        ),
        (lambda s: None, "<Constraint d=", '<Constraint d="-1" x=', "is -1.0 nm long: it should be positive"),
        (lambda s: None, 'p1="0"', 'p1=""', "p1 of <.*> should be a finite number, but is ''"),
        (
            lambda s: None,
            'type="HarmonicBondForce"',
            'type="PythonForce" function="80"',
            "may run Python code",
        ),
        (lose_an_atom, "", "", "it crashes: an index beyond the particles"),
        (lambda s: None, ' p1="0"', ' p1="4000"', "Illegal particle index .* 4000"),
        (lambda s: s.setParticleMass(4, 0), "", "", "particle 4 .* weighs 0 amu and is no virtual site"),
        (lambda s: s.setParticleMass(4, -12.011), "", "", "particle 4 .* weighs -12.011 amu"),
    ],
)
def test_systems_that_cannot_be_simulated(given, change, old, new, expected):
    folder = given(change, old, new)
    with pytest.raises(SystemDefinitionError, match=expected):
        load_system(folder)


DEEP = 50_000


@pytest.mark.parametrize(
    ("expression", "expected"),
    [
        ("0/0*x", "never ends to simplify an expression"),
        ("(" * DEEP + "x" + ")" * DEEP, "it crashes: .* thousands of parentheses"),
        ("(x", "unbalanced parentheses"),
    ],
    ids=["no number", "deep", "open"],
)
def test_expressions_that_would_hang_or_crash_openmm(given, expression, expected):
    def add(system):
        system.addForce(openmm.CustomExternalForce(expression))

    with pytest.raises(SystemDefinitionError, match=f"OpenMM makes no simulation of it: .*{expected}"):
        load_system(given(add))


def test_force_fields_are_tried_too(folder):
    energy = "<CustomBondForce energy='sqrt(-1)*r'><PerBondParameter name='k'/></CustomBondForce>"
    (folder / "mine.xml").write_text(f"<ForceField>{energy}</ForceField>")
    with pytest.raises(SystemDefinitionError, match="never ends to simplify an expression"):
        load_system(folder)


def test_elements_that_lie_too_deep(given):
    """OpenMM's reader recurses once for each, until its process crashes."""
    with pytest.raises(SystemDefinitionError, match="more than 100 elements lie in each other"):
        load_system(given(old="<Particles>", new="<a>" * DEEP + "</a>" * DEEP + "<Particles>"))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a = " + "9" * 5000, "cannot be read as TOML"),
        ("a = " + "[" * 5000 + "]" * 5000, "lie too deep in each other"),
        ("[run]\nsystem = 'x'\nseed = true", "run.seed: should not be true"),
        ("[run]\nsystem = 'x'\nseed = 9223372036854775808", "run.seed: should be smaller than 2\\^63"),
        ("[run]\nsystem = 'x'\ntimestep_ps = inf", "run.timestep_ps: should be a finite number"),
        (
            "[run]\nsystem = 'x'\n[geodesic]\nmin_log_snr = nan",
            "geodesic.min_log_snr: should be a finite number",
        ),
        ("[run]\nsystem = 'x'\ntimestep_ps = '0.002'", "run.timestep_ps: should be a valid number"),
        ("[run]\nsystem = ['" + "Z" * 5000 + "']", "run.system: should be a valid string, but got"),
        ("[" + "Z" * 5000 + "]", "unknown key"),
        ("\n".join(f"a{i} = 1" for i in range(100)), r"and \d\d more mistakes"),
    ],
)
def test_run_files_that_say_what_cannot_be(tmp_path, text, expected):
    (tmp_path / "run.toml").write_text(text)
    with pytest.raises(ConfigError, match=expected) as caught:
        read_toml(tmp_path / "run.toml", RunConfig, ConfigError)
    assert "Z" * (MOST_QUOTED + 1) not in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("bound", ["true", "'-40'", "nan", "9" * 30])
def test_bounds_are_numbers(folder, bound):
    file = folder / "system.toml"
    file.write_text(file.read_text().replace("phi_degree = [-180,", f"phi_degree = [{bound},", 1))
    with pytest.raises(SystemDefinitionError, match="phi_degree"):
        load_system(folder)


@pytest.mark.parametrize(
    "read", [load_arrays, read_json, lambda file: read_toml(file, RunConfig, ConfigError)]
)
def test_pipes_are_not_waited_for(tmp_path, read):
    os.mkfifo(tmp_path / "file")
    with pytest.raises((RunFolderError, ConfigError), match="a pipe or a device, not a file"):
        read(tmp_path / "file")


def test_infinite_ranges_of_states_stay(tmp_path):
    """An open range is no mistake: chignolin's ends are further apart than 1.5 nm."""
    assert np.isinf(load_system("chignolin").state_a.region.ranges["ends"][1])


@pytest.mark.parametrize(
    "value", [10**6000, "Z" * 500, ["Z"] * 500, {"a": "Z" * 500}], ids=lambda value: type(value).__name__
)
def test_quotes_are_short(value):
    assert len(quoted(value)) <= MOST_QUOTED


def test_what_libraries_quote_is_cut():
    said = reason_of(ValueError(f"no 'x', but \"{{'a': {'Z ' * 60}}}\" is \"there\", 'as' one sees"))
    assert said.startswith("no 'x', but \"{'a': Z Z ") and said.endswith('…" is "there", \'as\' one sees')
    assert max(map(len, said.split('"'))) <= MOST_QUOTED
    assert reason_of(ValueError("a\0b\n")) == "a b"


def test_words_longer_than_a_path_are_cut():
    assert shortened(f"a {'Z' * 5000} b") == f"a {'Z' * (MOST_QUOTED - 1)}… b"
    assert shortened("one\nsentence /some/path") == "one sentence /some/path"


def test_stored_json_names_its_file(tmp_path):
    file = tmp_path / "result.json"
    file.write_text('{"a": {"b": 1}}')
    assert read_json(file) == {"a": {"b": 1}}
    with pytest.raises(RunFolderError, match=r"result.json is damaged, it has no c"):
        read_json(file)["a"]["c"]
    for text in (
        "[]",
        "{",
        "[" * 100_000,
        "1" * 5000,
        "\udcff",
        '{"a": NaN}',
        '{"a": 1e999}',
        '{"a": 1, "a": 1}',
    ):
        file.write_bytes(text.encode(errors="surrogateescape"))
        with pytest.raises(RunFolderError, match=r"result.json"):
            read_json(file)


def test_stored_arrays_name_their_file_and_the_stage(tmp_path):
    (tmp_path / "run.toml").write_text("")
    (tmp_path / "paths").mkdir()
    file = tmp_path / "paths" / "paths.npz"
    save_arrays(file, x=np.arange(3))
    with pytest.raises(RunFolderError, match=r"paths.npz is damaged, it has no y: .*`tps paths .* --force`"):
        load_arrays(file)["y"]
    raw = file.read_bytes()
    for spoilt in (b"", raw[:-30], bytes(len(raw)), raw.replace(bytes([2, 0, 0]), bytes([7, 0, 0]))):
        file.write_bytes(spoilt)
        with pytest.raises(RunFolderError, match=r"paths.npz cannot be read as an npz file"):
            load_arrays(file)
    for strange in (np.array([1j]), np.array([np.datetime64("2026-01-01")])):
        save_arrays(file, x=strange)
        with pytest.raises(RunFolderError, match="x holds"):
            load_arrays(file)


#: Of n frames of d features: what may be there, and what is wrong with it.
_LAYOUT = {"values": "f n d", "weights": "F n", "walker": "n n", "ends": "i n 2", "name": "U", "more": "?b n"}
_FITTING = {
    "values": np.ones((3, 4)),
    "weights": np.array([1.0, np.nan, np.inf]),
    "walker": np.arange(3),
    "ends": np.full((3, 2), -1),
    "name": np.array("ps"),
}


@pytest.mark.parametrize(
    ("name", "array", "wrong"),
    [
        ("values", np.ones((3, 4), int), "holds int64, not finite numbers"),
        ("values", np.full((3, 4), np.nan), "holds a number that is not finite"),
        ("values", np.ones((2, 4)), r"is of shape"),
        ("values", np.ones(3), r"values is of shape \(3,\)"),
        ("weights", np.array([True, False, True]), "holds bool, not numbers"),
        ("walker", np.array([0, -2, 1]), "holds -2, which is no count"),
        ("walker", np.arange(3.0), "holds float64, not counts"),
        ("ends", np.zeros((3, 3), int), r"ends is of shape \(3, 3\)"),
        ("name", np.array(["ps"]), r"name is of shape \(1,\)"),
        ("more", np.zeros(2, bool), r"more is of shape \(2,\)"),
    ],
)
def test_stored_arrays_are_of_their_layout(tmp_path, name, array, wrong):
    file = tmp_path / "paths.npz"
    save_arrays(file, **_FITTING, beside=np.arange(9))
    assert list(load_arrays(file, layout=_LAYOUT)) == list(_FITTING)
    save_arrays(file, **_FITTING | {name: array})
    with pytest.raises(RunFolderError, match=wrong):
        load_arrays(file, layout=_LAYOUT)


def test_arrays_of_another_order_of_bytes_are_turned(tmp_path):
    """Torch takes none of these."""
    file = tmp_path / "paths.npz"
    save_arrays(file, x=np.arange(3.0).astype(">f8"))
    assert torch.as_tensor(load_arrays(file)["x"]).tolist() == [0, 1, 2]


@pytest.mark.parametrize(
    ("harm", "wrong"),
    [
        ({"unit": 5}, "'hit.unit' should be a valid string"),
        ({"value": "1"}, "'hit.value' should be a valid number"),
        ({"error": int("9" * 4000)}, "'hit.error'"),
        ({"definition": None}, "'hit.definition' should be a valid string"),
    ],
)
def test_stored_numbers_are_numbers_with_their_units(tmp_path, harm, wrong):
    number = {"value": 1.0, "error": None, "unit": "", "definition": "A share."}
    file = tmp_path / "result.json"
    file.write_text(json.dumps({"hit": number}))
    assert read_json(file, SaidNumbers)["hit"] == number
    file.write_text(json.dumps({"hit": number | harm}))
    with pytest.raises(RunFolderError, match=wrong):
        read_json(file, SaidNumbers)
    file.write_text(json.dumps({"hit": [1]}))
    with pytest.raises(RunFolderError, match="'hit' should be an object: make"):
        read_json(file, SaidNumbers)


def test_a_dcd_that_was_cut_off_is_not_shorter(tmp_path):
    file = tmp_path / "frames.dcd"
    write_dcd(file, np.random.default_rng(1).normal(size=(10, 5, 3)).astype(np.float32))
    check_dcd_length(file, 10)
    raw = file.read_bytes()
    frame = 3 * (5 * 4 + 8)
    file.write_bytes(raw[: -3 * frame])
    with pytest.raises(TrajectoryError, match="counts 10 frames, and 7 are there"):
        check_dcd_length(file, 7)
    with pytest.raises(
        RunFolderError, match=r"frames.dcd cannot be read .*counts 10 frames, and 7 are there"
    ):
        read_dcd(file)


def test_positions_that_are_no_numbers_are_seen(tmp_path):
    """Windows whose simulation failed hold such; paths and frames do not."""
    positions = np.ones((4, 5, 3), dtype=np.float32)
    positions[2, 1] = np.nan
    write_dcd(tmp_path / "frames.dcd", positions)
    assert np.isnan(read_dcd(tmp_path / "frames.dcd")).sum() == 3
    with pytest.raises(RunFolderError, match=r"frames.dcd is damaged, frame 2 has no finite positions"):
        read_finite_dcd(tmp_path / "frames.dcd")


def test_devices_that_are_not_there():
    check_device("cpu")
    for device in ("cuda:97", "abacus", "meta", ""):
        with pytest.raises(ParameterError, match=r"train.device = .* cannot be used here"):
            check_device(device)


def test_a_damaged_result_is_not_up_to_date(copy, tmp_path):
    """One byte of a trajectory, which no format notices; the digests in the manifest do."""
    file = copy / "paths" / "0001.dcd"
    raw = bytearray(file.read_bytes())
    raw[-20] ^= 1
    file.write_bytes(raw)
    states = {name: row["state"] for name, row in json.loads(tps("contents", copy, "--json").stdout).items()}
    assert states["geodesic"] == "up to date"
    assert states["paths"] == "damaged"
    assert states["analyse"] == "out of date"
    assert "`tps paths`, which is damaged" in complaint("analyse", copy)
    for command in (("paths", copy), ("export", copy, "-o", tmp_path / "out")):
        assert f"{file} is damaged: make it anew with `tps paths {copy} --force`" in complaint(*command)
    raw[-20] ^= 1
    file.write_bytes(raw)
    assert "up to date" in tps("paths", copy).stdout


def test_a_damaged_stage_is_made_again_with_force(copy):
    """The same seed gives the same bytes, so what comes after is up to date again."""
    file = copy / "geodesic" / "curve.npz"
    sound = file.read_bytes()
    file.write_bytes(sound[:-1])
    assert f"{file} is damaged: make it anew with `tps geodesic {copy} --force`" in complaint(
        "geodesic", copy
    )
    tps("geodesic", copy, "--force")
    states = {name: row["state"] for name, row in json.loads(tps("contents", copy, "--json").stdout).items()}
    assert set(states.values()) == {"up to date"}


def test_models_of_no_numbers(copy):
    file = copy / "model" / "model.safetensors"
    with safe_open(file, framework="pt") as opened:
        header = opened.metadata()
    state = load_file(file)
    name = sorted(state)[0]
    for value in (torch.full_like(state[name], float("nan")), state[name].to(torch.complex64)):
        save_file({**state, name: value}, file, metadata=header)
        with pytest.raises(ModelError, match="values that are not finite real numbers"):
            load_model(file)


def test_manifests_that_are_none(copy):
    file = copy / "manifest.json"
    sound = json.loads(file.read_text())
    for key, value in (
        ("stages", []),
        ("stages", {"paths": {}}),
        ("files", 3),
        ("format_version", "3" * 500),
    ):
        file.write_text(json.dumps({**sound, key: value}))
        assert "manifest.json" in complaint("contents", copy) or "another version" in complaint(
            "contents", copy
        )
