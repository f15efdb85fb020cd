"""What deploy/ and the page on clusters name exists: fields, flags, variables; and waits agree."""

from __future__ import annotations

import argparse
import importlib.util
import re
import shlex
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import pytest
import yaml

from fastrtc.cli import add_media_options
from fastrtc.cluster import command
from fastrtc.transports.webrtc import place
from tests.conftest import missing

ROOT: Final = Path(__file__).parents[1]
DEPLOY: Final = ROOT / "deploy"
KUBERAY: Final = DEPLOY / "kuberay.yaml"
COMPOSE: Final = DEPLOY / "compose.cluster.yaml"
IMAGE: Final = "voice-cluster"
DRAIN: Final = "RAY_GRACEFUL_SHUTDOWN_DRAIN_TIMEOUT_S"
PAGES: Final = [ROOT / "docs" / name for name in ("deploying/cluster.md", "reference/cluster.md")]
WITH_DEFAULT: Final = re.compile(r"\$\{(\w+):[-?]([^}]*)\}")
"""A variable in a compose file, with what holds where there is none."""


@pytest.fixture(name="service", scope="module")
def _service() -> dict[str, Any]:
    return next(it for it in yaml.safe_load_all(KUBERAY.read_text("utf-8")) if it)


@pytest.fixture(name="compose", scope="module")
def _compose() -> dict[str, Any]:
    filled = WITH_DEFAULT.sub(lambda it: it[2], COMPOSE.read_text("utf-8"))
    read: dict[str, Any] = yaml.safe_load(filled)
    return read


@pytest.fixture(name="app", scope="module")
def _app() -> Iterator[Any]:
    """What deploy/cluster_app.py deploys."""
    _needs_ray()
    sys.path.insert(0, str(DEPLOY))
    try:
        yield importlib.import_module("cluster_app").app
    finally:
        sys.path.remove(str(DEPLOY))
        sys.modules.pop("cluster_app", None)


def _needs_ray() -> None:
    if importlib.util.find_spec("ray") is None:
        missing("Ray, of the extra cluster")


def serve_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(exit_on_error=False)
    command.add_to(parser)
    add_media_options(parser)
    return parser


def commands_of(text: str, start: str) -> list[list[str]]:
    """The arguments of each command in a text that begins so."""
    found = re.findall(rf"^[ \t]*{start} +([^\n#]+)", text, re.M)
    return [shlex.split(line) for line in found]


def worker_pod(service: dict[str, Any]) -> dict[str, Any]:
    (group,) = service["spec"]["rayClusterConfig"]["workerGroupSpecs"]
    pod: dict[str, Any] = group["template"]["spec"]
    return pod


def environment(container: dict[str, Any]) -> dict[str, Any]:
    return {it["name"]: it.get("value") for it in container.get("env", [])}


def graceful(app: Any) -> float:
    """Seconds that Serve leaves a replica of the app to go."""
    return float(app._bound_deployment._deployment_config.graceful_shutdown_timeout_s)


@pytest.mark.parametrize("place", sorted(DEPLOY.glob("*.yaml")), ids=lambda it: it.name)
def test_a_yaml_file_is_yaml(place: Path) -> None:
    assert [it for it in yaml.safe_load_all(place.read_text("utf-8")) if it]


def test_serve_understands_what_the_manifest_tells_it(service: dict[str, Any]) -> None:
    _needs_ray()
    from ray.serve.schema import ServeDeploySchema

    given = yaml.safe_load(service["spec"]["serveConfigV2"])
    read = ServeDeploySchema.model_validate(given)
    (application,) = read.applications
    assert read.proxy_location.value == given["proxy_location"] == "EveryNode"
    assert application.import_path == "cluster_app:app"
    assert (DEPLOY / "cluster_app.py").is_file()


def test_the_app_of_the_cluster_serves_the_stream_of_the_image(app: Any) -> None:
    source = app._bound_deployment.init_args[0]
    module, _, name = source.partition(":")
    assert f"\n{name} = Stream(" in (DEPLOY / f"{module}.py").read_text("utf-8")


def test_a_pod_waits_as_long_as_its_calls_may_last(app: Any, service: dict[str, Any]) -> None:
    pod = worker_pod(service)
    drains = float(environment(pod["containers"][0])[DRAIN])
    assert graceful(app) < drains < pod["terminationGracePeriodSeconds"]


def test_an_old_cluster_waits_as_long_as_its_calls_may_last(
    app: Any, service: dict[str, Any]
) -> None:
    assert service["spec"]["rayClusterDeletionDelaySeconds"] >= graceful(app)


def test_the_pods_have_the_image_with_ray(service: dict[str, Any]) -> None:
    cluster = service["spec"]["rayClusterConfig"]
    groups = [cluster["headGroupSpec"], *cluster["workerGroupSpecs"]]
    images = {it["template"]["spec"]["containers"][0]["image"] for it in groups}
    assert images == {IMAGE}
    assert f"-t {IMAGE} ." in (DEPLOY / "cluster.Dockerfile").read_text("utf-8")


def test_the_range_of_ports_is_one(service: dict[str, Any], compose: dict[str, Any]) -> None:
    given = environment(worker_pod(service)["containers"][0])
    composed = compose["services"]["worker"]["environment"]
    for ports in (given[place.PORTS_VARIABLE], composed[place.PORTS_VARIABLE]):
        first, last = place.parse_ports(ports)
        assert last - first > 1_000


@pytest.mark.parametrize("file", [KUBERAY, COMPOSE], ids=lambda it: it.name)
def test_variables_of_ours_exist(file: Path) -> None:
    named = set(re.findall(r"FASTRTC_[A-Z]+(?:_[A-Z]+)*", file.read_text("utf-8")))
    assert named == {place.ADDRESS_VARIABLE, place.PORTS_VARIABLE}


def test_variables_of_ray_exist(compose: dict[str, Any]) -> None:
    _needs_ray()
    from ray._private import ray_constants
    from ray._private.authentication import authentication_token_setup as tokens

    given = compose["services"]["worker"]["environment"]
    assert hasattr(ray_constants, DRAIN)
    assert tokens.AUTH_MODE_ENV_VAR in given
    assert {it for it in given if it.startswith("RAY_")} == {
        DRAIN,
        tokens.AUTH_MODE_ENV_VAR,
        "RAY_AUTH_TOKEN",
    }


def test_every_container_of_compose_has_the_network_of_its_machine(
    compose: dict[str, Any],
) -> None:
    services = compose["services"]
    assert {it["network_mode"] for it in services.values()} == {"host"}
    assert {"head", "worker", "deploy"} <= services.keys()


def test_compose_waits_as_long_as_the_calls_may_last(app: Any, compose: dict[str, Any]) -> None:
    worker = compose["services"]["worker"]
    minutes = int(worker["stop_grace_period"].removesuffix("m"))
    assert graceful(app) < float(worker["environment"][DRAIN]) < minutes * 60


def test_ray_takes_what_it_is_started_with(
    compose: dict[str, Any], service: dict[str, Any]
) -> None:
    _needs_ray()
    from ray.scripts.scripts import start

    cluster = service["spec"]["rayClusterConfig"]
    given = [
        [f"--{name}={value}" for name, value in group["rayStartParams"].items()]
        for group in (cluster["headGroupSpec"], *cluster["workerGroupSpecs"])
    ]
    lines = [compose["services"][name]["command"] for name in ("head", "worker")]
    lines += PAGES[0].read_text("utf-8").splitlines()
    given += commands_of("\n".join(lines), "ray start")
    assert len(given) == 6
    for arguments in given:
        start.make_context("start", arguments)


def test_fastrtc_takes_what_it_is_called_with(compose: dict[str, Any]) -> None:
    pages = [it.read_text("utf-8") for it in PAGES]
    given = commands_of(
        "\n".join([compose["services"]["deploy"]["command"], *pages]), "fastrtc serve"
    )
    (image,) = re.findall(
        r"^CMD (\[.*\])", (DEPLOY / "cluster.Dockerfile").read_text("utf-8"), re.M
    )
    given.append(yaml.safe_load(image)[2:])
    assert len(given) == 6
    for arguments in given:
        assert serve_parser().parse_args(arguments).target.startswith("app")


def test_what_is_deployed_by_hand_has_the_grace_of_the_app(
    app: Any, compose: dict[str, Any]
) -> None:
    (arguments,) = commands_of(compose["services"]["deploy"]["command"], "fastrtc serve")
    assert serve_parser().parse_args(arguments).grace < graceful(app)


def test_the_reference_has_every_option_of_the_command() -> None:
    page = PAGES[1].read_text("utf-8")
    options = {name for action in serve_parser()._actions for name in action.option_strings}
    for option in sorted(options - {"-h", "--help"}):
        assert f"`{option}`" in page, option
