"""The Dockerfile. The image itself is not built here."""

import json
import pathlib
import re
import shutil
import sys

import pytest
from binary import help_text
from manifests import DEPLOY, ROOT, dockerfile, run


def test_the_dockerfile_is_sound():
    run(pathlib.Path(sys.prefix) / "bin/hadolint", DEPLOY / "Dockerfile")


def test_the_image_is_small_and_nobody_s():
    instructions = dockerfile()
    assert instructions[0] == ("FROM", "gcr.io/distroless/cc-debian12:nonroot")
    user = next(rest for word, rest in instructions if word == "USER")
    assert user == "65532:65532"
    assert not any(word == "RUN" for word, _ in instructions), "there is no shell"
    entrypoint = json.loads(next(rest for word, rest in instructions if word == "ENTRYPOINT"))
    assert entrypoint == ["/colloquy"]
    assert "colloquy serve" in help_text()


def test_the_compiler_is_new_enough():
    used = re.search(r"^FROM rust:(\d+)\.(\d+)-", (DEPLOY / "Dockerfile").read_text(), re.M)
    needed = re.search(r'^rust-version = "(\d+)\.(\d+)', (ROOT / "Cargo.toml").read_text(), re.M)
    assert tuple(map(int, used.groups())) >= tuple(map(int, needed.groups()))


@pytest.fixture(scope="module")
def context(tmp_path_factory):
    """What the build sees: the ignore file lets through what it names."""
    folder = tmp_path_factory.mktemp("context")
    lines = [line for line in (DEPLOY / "Dockerfile.dockerignore").read_text().splitlines() if line and line[0] != "#"]
    assert lines[0] == "*" and all(line.startswith("!") for line in lines[1:])
    for line in lines[1:]:
        source = ROOT / line[1:]
        if source.is_dir():
            shutil.copytree(source, folder / line[1:], ignore=shutil.ignore_patterns("target", "node_modules"))
        else:
            shutil.copy(source, folder / line[1:])
    return folder


def test_the_build_sees_every_crate(context):
    metadata = json.loads(run("cargo", "metadata", "--format-version=1", "--no-deps", "--locked", "--offline", cwd=context))
    whole = json.loads(run("cargo", "metadata", "--format-version=1", "--no-deps", "--locked", "--offline", cwd=ROOT))
    assert {package["name"] for package in metadata["packages"]} == {package["name"] for package in whole["packages"]}


def test_the_build_sees_every_file_that_is_compiled_in(context):
    found = 0
    for source in [*context.glob("libs/**/*.rs"), *context.glob("services/**/*.rs")]:
        for text in re.findall(r'include_(?:str|bytes)!\((?:concat!\()?"([^"]+)"', source.read_text()):
            found += 1
            assert (source.parent / text).exists(), f"{source}: {text}"
    assert found > 0
