"""The container launcher against an engine's HTTP interface, played by a small server."""

import http.server
import json
import pathlib
import re
import struct
import threading

import docker
import pytest

from secateur.utils import docker_plan, docker_run
from secateur.utils.errors import RunError

SCRIPT = "nets/resnet_at_digits_run.py"


class Engine(http.server.BaseHTTPRequestHandler):
    """Answers what the `docker` package asks; the server object holds what should happen and what was asked."""

    protocol_version = "HTTP/1.1"

    def log_message(self, *_):
        pass

    def answer(self, status, body=b"", kind="application/json"):
        body = body if isinstance(body, bytes) else json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def read(self):
        size = int(self.headers.get("Content-Length") or 0)
        if self.headers.get("Transfer-Encoding") == "chunked":
            while chunk := int(self.rfile.readline().strip() or b"0", 16):
                self.rfile.read(chunk + 2)
            self.rfile.readline()
        return self.rfile.read(size)

    def handle_one(self):
        path, body = re.sub(r"^/v[\d.]+", "", self.path), self.read()
        self.server.asked.append((self.command, path, body))
        state = self.server.state
        log = state["log"].encode()
        routes = [
            ("GET /_ping", lambda: self.answer(200, b"OK", "text/plain")),
            ("GET /version", lambda: self.answer(200, {"ApiVersion": "1.47"})),
            ("GET /info", lambda: self.answer(200, {"Runtimes": state["runtimes"]})),
            ("GET /images/json", lambda: self.answer(200, state["images"])),
            ("GET /images/", lambda: self.answer(200, {"Id": "sha256:1", "RepoTags": [state["tag"]]})),
            ("POST /build", lambda: self.answer(200, "".join(json.dumps(x) + "\n" for x in state["build"]).encode())),
            ("POST /containers/create", lambda: self.answer(201, {"Id": "c1", "Warnings": []})),
            ("POST /containers/c1/start", lambda: self.answer(204, kind="text/plain")),
            ("POST /containers/c1/wait", lambda: self.answer(200, {"StatusCode": state["code"]})),
            ("POST /containers/c1/kill", lambda: self.answer(204)),
            ("GET /containers/c1/json", lambda: self.answer(200, {"Id": "c1", "Config": {"Tty": False}})),
            ("GET /containers/c1/logs", lambda: self.answer(200, struct.pack(">BxxxL", 1, len(log)) + log)),
            ("DELETE /containers/c1", lambda: self.answer(204)),
        ]
        request = f"{self.command} {path}"
        if state.get("refused") and request.split("?")[0].endswith(f"/{state['refused']}"):
            self.answer(404, {"message": "network none-such not found"})
            return
        next(answer for start, answer in routes if request.startswith(start))()

    do_GET = do_POST = do_DELETE = handle_one  # noqa: N815, the names that http.server looks for


@pytest.fixture
def engine(monkeypatch, tmp_path):
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Engine)
    server.asked = []
    server.state = {
        "runtimes": {"runc": {}},
        "images": [],
        "tag": "secateur:cpu-1",
        "build": [{"stream": "Step 1/9 : FROM base\n"}, {"stream": "Successfully built 1\n"}],
        "code": 0,
        "log": "accuracy 99 %\n",
    }
    threading.Thread(target=server.serve_forever, daemon=True).start()
    monkeypatch.setenv("DOCKER_HOST", f"tcp://127.0.0.1:{server.server_address[1]}")
    monkeypatch.chdir(tmp_path)
    yield server
    server.shutdown()
    server.server_close()


def requests(engine, start):
    return [body for command, path, body in engine.asked if f"{command} {path}".startswith(start)]


def run(argv):
    with pytest.raises(SystemExit) as stopped:
        docker_run.main(argv)
    return stopped.value.code


def test_the_container_gets_the_command_the_folders_and_no_privileges(engine, tmp_path, capfd):
    (tmp_path / "pictures").mkdir()
    code = run(["-n=1", SCRIPT, "--learner", "fcf", "--data_dir_local=pictures", "--log_dir", "out"])
    assert code == 0
    assert "accuracy 99 %" in capfd.readouterr().err
    (created,) = requests(engine, "POST /containers/create")
    created = json.loads(created)
    command = ["--learner", "fcf", "--data_dir_local=pictures", "--log_dir", "out"]
    assert created["Cmd"] == ["-n", "1", "--device=cpu", f"{docker_plan.HOME}/{SCRIPT}", *command]
    assert created["WorkingDir"] == str(tmp_path)
    host = created["HostConfig"]
    places = {f"{tmp_path / name}:{tmp_path / name}:{mode}" for name, mode in (("pictures", "ro"), ("out", "rw"))}
    assert set(host["Binds"]) == places | {f"{tmp_path}/models:{tmp_path}/models:rw"}
    assert (tmp_path / "out").is_dir()
    assert host["CapDrop"] == ["ALL"]
    assert host["ShmSize"] == 1 << 30
    assert host["SecurityOpt"] == ["no-new-privileges"]
    assert not host.get("Privileged")
    assert created["User"] != "0:0" or pathlib.Path.home() == pathlib.Path("/root")
    assert requests(engine, "DELETE /containers/c1")


def test_exit_code_and_image_are_the_engines(engine):
    engine.state["code"] = 3
    assert run([SCRIPT]) == 3
    (query,) = [path for command, path, _ in engine.asked if path.startswith("/build")]
    assert "target=cpu" in query
    plan = docker_plan.plan_for([SCRIPT], has_nvidia=False)
    engine.state["images"] = [{"Id": "sha256:1", "RepoTags": [plan.image]}]
    engine.state["tag"] = plan.image
    engine.asked.clear()
    assert run([SCRIPT]) == 3
    assert not [path for _, path, _ in engine.asked if path.startswith("/build")]


def test_network_and_base_reach_the_engine_and_not_the_program(engine):
    assert run(["--network=host", "--base=local/base:1", SCRIPT, "--learner=fcf"]) == 0
    (query,) = [path for command, path, _ in engine.asked if path.startswith("/build")]
    assert "networkmode=host" in query
    assert "local%2Fbase%3A1" in query
    created = json.loads(requests(engine, "POST /containers/create")[0])
    assert created["HostConfig"]["NetworkMode"] == "host"
    assert created["Cmd"][3:] == [f"{docker_plan.HOME}/{SCRIPT}", "--learner=fcf"]
    plain = docker_plan.plan_for([SCRIPT], has_nvidia=False)
    assert plain.image != docker_plan.plan_for(["--base=local/base:1", SCRIPT], has_nvidia=False).image


def test_a_failed_build_shows_its_last_lines(engine, capsys):
    engine.state["build"] = [{"stream": "Step 2/9 : RUN pip\n"}, {"error": "no space left", "errorDetail": {}}]
    assert run([SCRIPT]) == 1
    shown = capsys.readouterr().err
    assert "Step 2/9 : RUN pip" in shown
    assert "error: the image could not be built (no space left)" in shown
    assert not requests(engine, "POST /containers/create")


def test_gpus_are_passed_through_where_the_engine_has_them(engine):
    engine.state["runtimes"]["nvidia"] = {}
    assert run(["--device=gpu", SCRIPT]) == 0
    created = json.loads(requests(engine, "POST /containers/create")[0])
    assert created["HostConfig"]["DeviceRequests"][0]["Capabilities"] == [["gpu"]]
    assert created["Cmd"][2] == "--device=gpu"


def test_who_uses_sudo_owns_what_the_container_writes(monkeypatch):
    monkeypatch.setattr(docker_run.os, "getuid", lambda: 0)
    assert docker_run._user({"SUDO_UID": "1001", "SUDO_GID": "1002"}) == "1001:1002"
    assert docker_run._user({}).startswith("0:")


@pytest.mark.parametrize(("runtimes", "says"), [({"runc": {}}, "GPUs: none"), ({"nvidia": {}}, "GPUs: all")])
def test_a_dry_run_shows_the_plan_and_does_nothing(engine, capsys, runtimes, says):
    engine.state["runtimes"] = runtimes
    assert run(["--dry_run", SCRIPT, "--learner=stripe"]) == 0
    shown = capsys.readouterr().out
    assert says in shown
    assert shown.rstrip().endswith(f"{SCRIPT} --learner=stripe")
    assert {command for command, _, _ in engine.asked} == {"GET"}


def test_a_dry_run_needs_no_engine(monkeypatch, capsys):
    monkeypatch.setenv("DOCKER_HOST", "tcp://127.0.0.1:1")
    monkeypatch.setattr(docker_run, "idle_gpus", lambda: [0])
    assert run(["--dry_run", SCRIPT]) == 0
    assert "GPUs: all" in capsys.readouterr().out


def test_help_needs_no_engine(capsys, monkeypatch):
    monkeypatch.setenv("DOCKER_HOST", "tcp://127.0.0.1:1")
    assert run(["--help"]) == 0
    assert "usage: run_docker.sh [-n N]" in capsys.readouterr().out


@pytest.mark.parametrize("request_name", ["create", "start"])
def test_what_the_engine_refuses_is_one_line(engine, capsys, request_name):
    engine.state["refused"] = request_name
    assert run([SCRIPT]) == 1
    assert "error: the container could not be" in (shown := capsys.readouterr().err)
    assert "network none-such not found" in shown
    assert bool(requests(engine, "DELETE /containers/c1")) == (request_name == "start")


def test_no_engine_and_no_permission(monkeypatch):
    monkeypatch.setenv("DOCKER_HOST", "tcp://127.0.0.1:1")
    with pytest.raises(RunError, match=r"no docker engine answers .* run_local\.sh"):
        docker_run.connect()

    def refuse(**_):
        raise docker.errors.DockerException("Error while fetching server API version: PermissionError(13)")

    monkeypatch.setattr(docker, "from_env", refuse)
    with pytest.raises(RunError, match="this user may not use the docker engine"):
        docker_run.connect()


def test_ctrl_c_reaches_the_program(engine):
    container = docker.from_env().containers.get("c1")
    docker_run._forward(container)(2, None)
    ((_, path, _),) = [row for row in engine.asked if "/kill" in row[1]]
    assert "signal=2" in path
