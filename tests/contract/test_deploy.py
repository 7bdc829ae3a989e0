"""deploy/ refers to nothing that is not there, listens to nobody else, and holds no secret."""

import json
import re
from pathlib import Path
from typing import Any

import yaml

import flows

ROOT = Path(__file__).parents[2]
DEPLOY = ROOT / "deploy"
VARIABLE = re.compile(r"\{\{\s*(\w+)\s*\}\}")


def compose() -> dict[str, Any]:
    return yaml.safe_load((DEPLOY / "compose.yaml").read_text())


def pool() -> dict[str, Any]:
    return json.loads((DEPLOY / "kubernetes-gpu-pool.json").read_text())


def test_services_wait_for_services_that_are_there_and_keep_what_they_hold():
    services, volumes = compose()["services"], compose()["volumes"]
    assert set(services) == {"postgres", "s3", "prefect", "mlflow", "worker"}
    for service in services.values():
        assert set(service.get("depends_on", [])) <= set(services)
        named = [volume.split(":")[0] for volume in service["volumes"]]
        assert all(name in volumes or name.startswith("..") for name in named)


def test_ports_are_on_loopback_and_secrets_come_from_outside():
    for service in compose()["services"].values():
        assert all(port.startswith("127.0.0.1:") for port in service.get("ports", []))
        for name, value in service.get("environment", {}).items():
            if re.search("PASSWORD|AUTH|SECRET|ACCESS_KEY", name):
                assert re.fullmatch(r"\$\{\w+:\?\}", str(value)), name


def test_our_services_are_as_quiet_as_we_are():
    quiet = {name: value for name, value in flows.SETTINGS.items() if "ANALYTICS" in name or "TELEMETRY" in name}
    for name in ("prefect", "mlflow", "worker"):
        environment = compose()["services"][name]["environment"]
        assert quiet.items() <= environment.items()


def test_the_address_of_a_service_is_that_of_one_that_is_there():
    services = compose()["services"]
    for service in services.values():
        for value in map(str, service.get("environment", {}).values()):
            if found := re.search(r"(?:@|http://)(\w+):(\d+)", value):
                assert found[1] in services
    assert "4200" in services["prefect"]["command"]
    assert "5000" in services["mlflow"]["command"]


def test_the_image_is_built_of_files_that_are_there():
    built = compose()["services"]["prefect"]["build"]
    assert (DEPLOY / built["context"] / built["dockerfile"]).resolve() == DEPLOY / "Dockerfile"
    assert (ROOT / "constraints.txt").exists()


def test_the_template_for_kubernetes_has_a_value_for_every_variable_and_uses_each():
    known = set(pool()["variables"]["properties"])
    used = set(VARIABLE.findall(json.dumps(pool()["job_configuration"])))
    assert used == known
    assert all(
        "default" in pool()["variables"]["properties"][name] or name in required() for name in known - {"env", "labels"}
    )


def required() -> list[str]:
    return pool()["variables"]["required"]


def test_a_stage_on_kubernetes_is_run_once_in_its_own_clone():
    job = pool()["job_configuration"]["job_manifest"]
    assert (job["apiVersion"], job["kind"]) == ("batch/v1", "Job")
    spec = job["spec"]["template"]["spec"]
    assert (job["spec"]["backoffLimit"], spec["restartPolicy"]) == (0, "Never")  # the workspace gives it to another
    [clone], [stage] = spec["initContainers"], spec["containers"]
    assert clone["command"][-1] == stage["workingDir"] == stage["env"][0]["value"]
    assert stage["env"][0]["name"] == "FROSTLINE_WORKSPACE"
    assert stage["resources"]["limits"]["nvidia.com/gpu"] == "{{ gpus }}"
    mounted = {mount["name"] for mount in clone["volumeMounts"] + stage["volumeMounts"]}
    assert mounted == {volume["name"] for volume in spec["volumes"]}


def test_every_deployment_names_a_flow_and_a_pool_that_are_there():
    import importlib

    from flows import schedule

    for deployment in yaml.safe_load((ROOT / "prefect.yaml").read_text())["deployments"]:
        path, name = deployment["entrypoint"].split(":")
        module = importlib.import_module(path.removesuffix(".py").replace("/", "."))
        parameters = getattr(module, name).parameters.properties
        assert set(deployment.get("parameters", {})) <= set(parameters)
        assert deployment["work_pool"]["name"] in schedule.POOLS
