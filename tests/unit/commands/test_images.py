"""Images: what is sent of them, what a release keeps of one, and which are removed."""

from __future__ import annotations

import json
import re
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from devflow.commands import images
from devflow.engine.script import RunSecrets
from devflow.recipes.dockerfile import OPTIONS
from tests.support.machine import Machine, Ran

ID = "sha256:" + "a" * 64
DEFAULTS = {option.name: option.default for option in OPTIONS}
DOCKER = """\
case "$1 $2" in
  "image inspect") case $* in *devflow.tag*) echo 0123-4567 ;; *) echo "$DOCKER_ID" ;; esac ;;
  "image ls") cat "$DOCKER_IMAGES" ;;
esac
case "$1 $2" in "image inspect"|"image ls") ;; *) echo "$*" >>"$DOCKER_CALLS" ;; esac
"""


@pytest.fixture
def docker(machine: Machine) -> Machine:
    """The machine with a stand-in of docker that writes down what it is asked to change."""
    paths = f"DOCKER_ID={ID} DOCKER_CALLS={machine.folder}/calls DOCKER_IMAGES={machine.folder}/images\n"
    machine.tool("docker", paths + DOCKER)
    return machine


def calls(machine: Machine) -> list[str]:
    path = machine.folder / "calls"
    return path.read_text().splitlines() if path.exists() else []


class TestLayers:
    def test_a_layer_is_the_same_only_upon_the_same_ones(self) -> None:
        assert images.common_layers(["a", "b", "c"], [["a", "b", "x"], ["b", "c"], ["a"]]) == 2
        assert images.common_layers(["a", "b"], [["a", "b", "c"]]) == 2
        assert images.common_layers(["a"], []) == 0

    def test_files_of_the_lowest_layers_are_left_out(self) -> None:
        files = [f"blobs/sha256/{letter * 64}" for letter in "abc"]
        assert images.files_of(json.dumps([{"Layers": files}]), 2) == tuple(files[:2])

    def test_a_file_that_a_higher_layer_has_too_is_sent(self) -> None:
        files = [f"blobs/sha256/{letter * 64}" for letter in "aba"]
        assert images.files_of(json.dumps([{"Layers": files}]), 2) == (files[1],)

    @pytest.mark.parametrize(
        "manifest", ["", "{}", "[]", "[1]", '[{"Layers": 3}]', '[{"Layers": ["--checkpoint-action=exec=sh"]}]']
    )
    def test_nothing_is_left_out_where_it_is_not_understood(self, manifest: str) -> None:
        assert images.files_of(manifest, 1) == ()

    def test_the_archive_is_written_without_these_files(self) -> None:
        assert images.save(ID) == f"docker save {ID}"
        assert images.save(ID, ["blobs/sha256/b"]) == f"docker save {ID} | tar --delete -f - blobs/sha256/b"

    @pytest.mark.parametrize("image", ["", "sha256:", "latest", f"{ID}0", f"{ID}\n", "sha256:" + "g" * 64])
    def test_only_a_whole_id_is_one(self, image: str) -> None:
        assert images.is_id(ID)
        assert not images.is_id(image)


class TestBring:
    def bring(self, machine: Machine, **options: str) -> list[str]:
        given = f'echo {ID} >"$run/image"\n'
        ran = machine.run(given + images.BRING, options=DEFAULTS | options)
        assert ran.code == 0, ran.items
        return ran.lines

    def test_the_release_keeps_id_and_name(self, docker: Machine) -> None:
        self.bring(docker)
        kept = (docker.root / "releases" / "r2" / images.IMAGE_FILE).read_text()
        assert kept == f"{ID} devflow/e0e0e0e0:0123-4567\n"
        assert calls(docker) == [f"tag {ID} devflow/e0e0e0e0:0123-4567"]

    def test_variables_are_kept_as_docker_reads_them_and_those_of_several_lines_apart(self, docker: Machine) -> None:
        lines = "it's\n'two' lines"
        docker.secrets = RunSecrets({"NAME": "Ada  = $x 'y' ", "KEY": lines, "PASS": "hidden", "PATH": "/nowhere"})
        self.bring(docker, registry_user="ada", registry_password="PASS")
        folder = docker.root / "releases" / "r2"
        assert (folder / images.ENV_FILE).read_text() == "NAME=Ada  = $x 'y' \nPATH=/nowhere\n"
        assert (folder / images.ENV_FILE).stat().st_mode & 0o777 == 0o600
        assert (folder / images.MORE_FILE).stat().st_mode & 0o777 == 0o600
        ran = docker.run(f'. "$path/{images.MORE_FILE}"\nsh -c \'printf "%s|" "$KEY"\'\n', options=DEFAULTS)
        assert "\n".join(ran.lines) == f"{lines}|"

    def test_an_image_that_did_not_come_is_explained_in_the_panels_words(self, docker: Machine) -> None:
        told = 'echo 0 >"$run/told_image"\necho "The builder is away." >"$run/brought"\n'
        ran = docker.run(told + images.BRING, options=DEFAULTS)
        assert ran.code == 1
        assert ran.explained == "The builder is away."
        assert ("await", "image") in ran.frames


BUILT = """\
set -- "${2:-}" "$@"
case $2 in
  build)
    echo "begin $site" >>"$DOCKER_ORDER"; sleep "$BUILD_SECONDS"; echo "end $site" >>"$DOCKER_ORDER"
    while [ $# -gt 0 ]; do if [ "$1" = --iidfile ]; then echo "$DOCKER_ID" >"$2"; fi; shift; done ;;
  info) case $* in *DockerRootDir*) echo / ;; *) echo "$KERNEL" ;; esac ;;
  buildx) exit 1 ;;
  image) echo "$DOCKER_ID" ;;
esac
"""
GIVEN = (
    'export site; context=$root/context-$deployment; mkdir -p "$context"; echo "FROM x" >"$context/Dockerfile"\n'
    + ("commit=0123456789abcdef short=0123456789ab tag=0123 image_name=devflow/e:0123\n")
)


class TestBuild:
    @pytest.fixture
    def builder(self, docker: Machine) -> Machine:
        self.put(docker, kernel="true true")
        return docker

    def put(self, machine: Machine, *, kernel: str, seconds: float = 0) -> None:
        values = f"DOCKER_ID={ID}\nDOCKER_ORDER={machine.folder}/order\nKERNEL='{kernel}'\nBUILD_SECONDS={seconds}\n"
        machine.tool("docker", f'echo "$*" >>{machine.folder}/calls\n{values}{BUILT}')

    def build(self, machine: Machine, *, name: str = "shop production", deployment: str = "d2", **options: str) -> Ran:
        text = GIVEN + images.FUNCTIONS + images._ROOM + images._ARGUMENTS + images._BUILD
        return machine.run(text, options=DEFAULTS | {"build_disk": "1"} | options, name=name, deployment=deployment)

    def test_too_little_memory_is_told_before_anything_is_built(self, builder: Machine) -> None:
        ran = self.build(builder, build_free_memory="999999999")
        assert ran.code == 1
        assert re.fullmatch(
            r"Only \d+ MB of memory are free on web1; building an image wants 999999999 MB\. .*", ran.explained
        )
        assert not any(call.startswith("build") for call in calls(builder))

    def test_limits_of_the_build_are_the_builders(self, builder: Machine) -> None:
        ran = self.build(builder, build_free_memory="1", build_memory="512m", build_cpus="1.5")
        assert ran.code == 0, ran.items
        [built] = [call for call in calls(builder) if call.startswith("build --file")]
        assert " --memory 512m --memory-swap 512m --cpu-period 100000 --cpu-quota 150000 " in built

    @pytest.mark.parametrize(("kernel", "missing"), [("false true", "memory"), ("true false", "CPU")])
    def test_a_kernel_without_limits_is_told(self, builder: Machine, kernel: str, missing: str) -> None:
        self.put(builder, kernel=kernel)
        ran = self.build(builder, build_free_memory="1", build_memory="512m", build_cpus="1.5")
        assert f"Built without a limit of {missing}: the kernel of web1 has none for containers." in ran.lines
        [built] = [call for call in calls(builder) if call.startswith("build --file")]
        assert ("--memory" in built, "--cpu-quota" in built) == (missing != "memory", missing != "CPU")

    def test_one_builds_after_the_other_and_is_told_for_whom_it_waits(self, builder: Machine) -> None:
        self.put(builder, kernel="true true", seconds=2)
        order = builder.folder / "order"
        with ThreadPoolExecutor(1) as pool:
            first = pool.submit(self.build, builder, name="blog production", deployment="d3", build_free_memory="1")
            deadline = time.monotonic() + 10
            while not order.exists() and time.monotonic() < deadline:
                time.sleep(0.05)
            second = self.build(builder, build_free_memory="1")
            assert (first.result().code, second.code) == (0, 0)
        assert order.read_text().splitlines() == [
            f"{word} {site}" for site in ("blog production", "shop production") for word in ("begin", "end")
        ]
        assert "Waiting for the build of blog production, or another build on web1 to end." in second.lines
        assert not (builder.home / ".devflow" / "building").exists()


class TestPrune:
    def test_images_of_kept_releases_stay(self, docker: Machine) -> None:
        kept, old = ("sha256:" + letter * 64 for letter in "bc")
        (docker.folder / "images").write_text(f"{kept} devflow/e0e0e0e0:1\n{old} devflow/e0e0e0e0:2\n")
        folder = docker.root / "releases" / "r1"
        folder.mkdir(parents=True)
        (folder / images.IMAGE_FILE).write_text(f"{kept} devflow/e0e0e0e0:1\n")
        ran = docker.run(images.PRUNE)
        assert calls(docker) == ["image rm devflow/e0e0e0e0:2"]
        assert ran.lines == ["Removed the image devflow/e0e0e0e0:2"]

    def test_only_images_of_this_environment_are_looked_at(self) -> None:
        assert '"devflow/$environment"' in images.PRUNE
        assert "prune" not in images.PRUNE
        assert "--force" not in images.PRUNE


def test_a_user_outside_of_the_group_is_told_the_line(machine: Machine) -> None:
    machine.tool("docker", 'echo "permission denied while trying to connect to the Docker daemon socket" >&2; exit 1')
    machine.tool("id", 'case $1 in -un) echo deploy ;; *) echo "deploy www-data" ;; esac')
    ran = machine.run(images.CHECK_DOCKER)
    assert ran.code == 1
    assert ran.explained.endswith("sudo usermod -aG docker deploy")


def test_a_daemon_that_is_being_restarted_is_waited_for(machine: Machine) -> None:
    machine.tool(
        "docker", f'[ -e {machine.folder}/up ] || {{ touch {machine.folder}/up; echo "Cannot connect" >&2; exit 1; }}'
    )
    machine.tool("sleep", ":")
    assert machine.run(images.CHECK_DOCKER).code == 0
