"""The manifests against the types of the Kubernetes API."""

import json
import pathlib

import pytest
from kubernetes import client

from secateur.utils import kubernetes_job
from secateur.utils.cluster import Job
from secateur.utils.errors import UsageError
from secateur.utils.launch import ROOT

JOB = Job(
    ROOT / "nets/resnet_at_digits_run.py",
    ["--learner=fcf", "--data_dir_local=/data"],
    4,
    "gpu",
    "prune",
    "local/secateur:gpu",
    ["pictures:/data", "runs:/logs"],
)


def items(job=JOB):
    command, text = kubernetes_job.submission(job)
    assert command == ["kubectl", "create", "-f", "-"]
    return {item["kind"]: item for item in json.loads(text)["items"]}


@pytest.mark.parametrize(("kind", "name"), [("Service", "V1Service"), ("Job", "V1Job")])
@pytest.mark.parametrize("job", [JOB, JOB._replace(device="cpu", volumes=["runs:/logs"], nb_workers=1)])
def test_every_field_is_one_of_the_api(kind, name, job):
    """Read into the API's types and written again nothing is lost: unknown fields would be."""
    manifest, api = items(job)[kind], client.ApiClient()
    found = api.sanitize_for_serialization(api.deserialize(json.dumps(manifest), name, "application/json"))
    assert found == manifest


def test_workers_are_indexed_and_found_by_name():
    found = items()
    spec = found["Job"]["spec"]
    assert (spec["completions"], spec["parallelism"], spec["completionMode"]) == (4, 4, "Indexed")
    pod = spec["template"]["spec"]
    assert pod["subdomain"] == found["Service"]["metadata"]["name"]
    assert found["Service"]["spec"]["selector"].items() <= spec["template"]["metadata"]["labels"].items()
    (container,) = pod["containers"]
    environment = {entry["name"]: entry["value"] for entry in container["env"]}
    assert environment == {"SECATEUR_CLUSTER": "kubernetes", "SECATEUR_JOB": "prune", "SECATEUR_WORKERS": "4"}


def test_faults_count_by_worker_and_usage_errors_end_the_job():
    spec = items()["Job"]["spec"]
    assert spec["backoffLimit"] == 4 * kubernetes_job.BACKOFF_LIMIT
    # The API admits such a policy only for pods that are not restarted in place.
    assert spec["template"]["spec"]["restartPolicy"] == "Never"
    ends, ignored = spec["podFailurePolicy"]["rules"]
    assert (ends["action"], ends["onExitCodes"]["values"]) == ("FailJob", [2])
    assert ends["onExitCodes"]["containerName"] == spec["template"]["spec"]["containers"][0]["name"]
    assert (ignored["action"], ignored["onPodConditions"][0]["type"]) == ("Ignore", "DisruptionTarget")


def test_resources_folders_and_privileges():
    (container,) = items()["Job"]["spec"]["template"]["spec"]["containers"]
    assert container["resources"]["limits"] == {"nvidia.com/gpu": "1"}
    assert {mount["mountPath"] for mount in container["volumeMounts"]} == {"/data", "/logs"}
    assert container["workingDir"] == "/data"
    pod = items()["Job"]["spec"]["template"]["spec"]["securityContext"]
    assert (pod["runAsNonRoot"], pod["runAsUser"], pod["fsGroup"]) == (True, 1000, 1000)
    assert container["args"][-2:] == ["--learner=fcf", "--data_dir_local=/data"]
    assert container["securityContext"] == {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}}
    (alone,) = items(JOB._replace(device="cpu"))["Job"]["spec"]["template"]["spec"]["containers"]
    assert not alone["resources"]


@pytest.mark.parametrize(
    ("script", "inside"),
    [
        (ROOT / "nets/resnet_at_digits_run.py", "/opt/secateur/nets/resnet_at_digits_run.py"),
        (ROOT / "nets/mine/a_run.py", "/opt/secateur/nets/mine/a_run.py"),
        (pathlib.Path("/logs/scripts/resnet_at_digits_run.py"), "/logs/scripts/resnet_at_digits_run.py"),
    ],
)
def test_the_script_is_named_where_the_pods_have_it(script, inside):
    (container,) = items(JOB._replace(script=script))["Job"]["spec"]["template"]["spec"]["containers"]
    assert container["args"][1] == inside


@pytest.mark.parametrize("script", ["/home/me/resnet_at_digits_run.py", ROOT / "tools/search.py"])
def test_a_script_that_the_pods_do_not_have(script):
    with pytest.raises(UsageError, match=f"{script} is not in the image: save it under nets/"):
        kubernetes_job.submission(JOB._replace(script=pathlib.Path(script)))


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"image": ""}, "--image=IMAGE: name an image"),
        ({"name": "My_Job"}, "-j=My_Job: must be small letters"),
        ({"volumes": []}, "--volume=CLAIM:/FOLDER: name a persistent volume claim for models, logs and checkpoints"),
        ({"volumes": ["data"]}, "--volume=data: must be CLAIM:/FOLDER"),
    ],
)
def test_bad_values(changes, says):
    with pytest.raises(UsageError, match=says):
        kubernetes_job.submission(JOB._replace(**changes))
