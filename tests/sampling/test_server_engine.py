"""Servers that come and go: nothing is lost, nothing is drawn from another policy, and errors say what to do."""

from __future__ import annotations

import json
import shutil
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Self

import httpx
import pytest
import torch
from safetensors.torch import load_file, save_file

from rlcode.errors import ConfigError, EngineError, InputError, PolicyMismatchError
from rlcode.types import Completion
from sampling import engine as engine_module
from sampling import server_group
from sampling.engine import EngineSettings, GenerationRequest, SamplingParams, open_engine
from sampling.server_engine import VllmServerEngine
from tests.random_models import make_adapter, make_model
from tests.sampling.servers import Server

SAMPLED = SamplingParams(max_completion_length=24, seed=3)


def settings(*urls: str, wait_s: float = 240) -> EngineSettings:
    return EngineSettings("vllm-server", urls=urls, server_wait_s=wait_s)


def wanted(tasks: int) -> list[GenerationRequest]:
    return [GenerationRequest(f"t{task}", index, (5 + task, 6, 7)) for task in range(tasks) for index in range(8)]


def by_key(completions: list[Completion]) -> dict[tuple[str, int], tuple[int, tuple[int, ...]]]:
    return {(c.task_id, c.index): (c.policy_version, c.token_ids) for c in completions}


def models_of(server: Server) -> list[str]:
    return [model["id"] for model in httpx.get(f"{server.url}/v1/models", trust_env=False).json()["data"]]


@pytest.fixture
def engine(vllm_server: Server, random_model: Path) -> Iterator[VllmServerEngine]:
    with VllmServerEngine(str(random_model), settings(vllm_server.url)) as engine:
        yield engine


def test_a_server_that_is_killed_and_started_again_in_the_middle_of_a_run_costs_no_completion(
    engine: VllmServerEngine, vllm_server: Server, random_adapter: Path
):
    engine.load_adapter(1, random_adapter)
    undisturbed = by_key(list(engine.generate(wanted(40), SAMPLED)))
    stream = engine.generate(wanted(40), SAMPLED)
    got = [next(stream) for _ in range(5)]
    vllm_server.kill()
    vllm_server.begin()  # it has forgotten the adapter
    got += list(stream)
    assert len(got) == 320
    assert by_key(got) == undisturbed
    assert {completion.policy_version for completion in got} == {1}


def test_the_work_of_a_server_that_is_gone_is_done_by_another_and_the_next_adapter_is_an_error(
    vllm_server: Server, random_model: Path, random_adapter: Path, tmp_path: Path
):
    second = Server(random_model, tmp_path / "log", "--max_lora_rank", "16")
    try:
        second.wait()
        with VllmServerEngine(str(random_model), settings(vllm_server.url, second.url, wait_s=3)) as engine:
            engine.load_adapter(1, random_adapter)
            stream = engine.generate(wanted(60), SAMPLED)
            got = [next(stream) for _ in range(5)]
            second.kill()
            got += list(stream)
            assert len(by_key(got)) == 480
            with pytest.raises(EngineError, match=rf"{second.url} did not answer for 3 s"):
                engine.load_adapter(2, make_adapter(tmp_path / "next", random_model, seed=4))
            assert {c.policy_version for c in engine.generate(wanted(1), SAMPLED)} == {1}
            assert not any(name.startswith("policy-v2") for name in models_of(vllm_server))
    finally:
        second.kill()


def test_an_old_adapter_is_unloaded_once_nothing_uses_it(
    engine: VllmServerEngine, vllm_server: Server, random_model: Path, random_adapter: Path, tmp_path: Path
):
    engine.load_adapter(1, random_adapter)
    engine.load_adapter(2, make_adapter(tmp_path / "next", random_model, seed=4))
    names = [name for name in models_of(vllm_server) if name.startswith("policy-")]
    assert [name.partition("-v")[2][:2] for name in names] == ["2-"]
    engine.close()
    assert models_of(vllm_server) == [str(random_model)]


def zeroed(adapter: Path, target: Path) -> Path:
    """The adapter with other weights than those that its record is of."""
    shutil.copytree(adapter, target)
    weights = load_file(target / "adapter_model.safetensors")
    name = next(name for name in weights if "lora_B" in name)
    weights[name].zero_()
    save_file(weights, target / "adapter_model.safetensors", metadata={"format": "pt"})
    return target


def test_a_wrong_adapter_is_refused_and_the_policy_before_it_goes_on(
    engine: VllmServerEngine, vllm_server: Server, random_model: Path, random_adapter: Path, tmp_path: Path
):
    engine.load_adapter(1, random_adapter)
    before = by_key(list(engine.generate(wanted(2), SAMPLED)))
    high = make_adapter(tmp_path / "high", random_model, rank=32)
    foreign = make_adapter(tmp_path / "foreign", make_model(tmp_path / "other", seed=1))
    for version, (path, error, words) in enumerate(
        [
            (high, InputError, "rank 32.*max_lora_rank 32"),
            (foreign, InputError, "another base model"),
            (
                zeroed(random_adapter, tmp_path / "changed"),
                PolicyMismatchError,
                "policy version 4 .*changed.*tolerance",
            ),
        ],
        start=2,
    ):
        with pytest.raises(error, match=words):
            engine.load_adapter(version, path)
    assert by_key(list(engine.generate(wanted(2), SAMPLED))) == before
    assert len(models_of(vllm_server)) == 2


def test_token_ids_and_prompts_that_the_server_can_not_take_are_named(engine: VllmServerEngine):
    with pytest.raises(InputError, match="out of vocabulary"):
        list(engine.generate([GenerationRequest("t", 0, (5, 70_000))], SAMPLED))
    with pytest.raises(InputError, match=r"task long has 128 tokens.*--max_model_length"):
        list(engine.generate([GenerationRequest("long", 0, (5,) * 128)], SAMPLED))
    assert len(list(engine.generate(wanted(1), SAMPLED))) == 8


def test_another_base_behind_the_url_is_refused(vllm_server: Server, tmp_path: Path, random_model: Path):
    other = make_model(tmp_path / "other", seed=1)
    with pytest.raises(
        InputError, match=rf"serves the model {random_model}, not {other}.*rlcode serve --model {other}"
    ):
        VllmServerEngine(str(other), settings(vllm_server.url))


def test_no_server_is_an_error_that_names_the_url_and_the_command(random_model: Path):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # and does not listen
        url = f"http://127.0.0.1:{taken.getsockname()[1]}"
        with pytest.raises(EngineError, match=rf"{url} did not answer for 1 s .*rlcode serve --model"):
            VllmServerEngine(str(random_model), settings(url, wait_s=1))
    with pytest.raises(ConfigError, match="--engine_urls"):
        VllmServerEngine(str(random_model), settings())


def test_a_server_that_takes_connections_and_answers_nothing_is_given_up_in_the_time_allowed(random_model: Path):
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()  # the kernel takes the connections
        url = f"http://127.0.0.1:{silent.getsockname()[1]}"
        with pytest.raises(EngineError, match=rf"{url} did not answer for 1 s \(ReadTimeout.*rlcode serve --model"):
            VllmServerEngine(str(random_model), replace(settings(url, wait_s=1), server_timeout_s=1))


@pytest.fixture
def answers(
    vllm_server: Server, monkeypatch: pytest.MonkeyPatch
) -> dict[str, Callable[[httpx.Response], httpx.Response]]:
    """Answers of the real server, changed: by path."""
    changes: dict[str, Callable[[httpx.Response], httpx.Response]] = {}
    send = httpx.AsyncClient.request

    async def request(self: httpx.AsyncClient, method: str, path: str, **options: object) -> httpx.Response:
        answer = await send(self, method, path, **options)
        return changes[path](answer) if path in changes else answer

    monkeypatch.setattr(httpx.AsyncClient, "request", request)
    return changes


def started(**changes: object) -> Callable[[httpx.Response], httpx.Response]:
    """What /server_info says of a server that was started in another way."""

    def change(answer: httpx.Response) -> httpx.Response:
        info = json.loads(answer.text)
        for path, value in changes.items():
            part = info["vllm_config"]
            *parents, last = path.split("__")
            for parent in parents:
                part = part[parent]
            part[last] = value
        return httpx.Response(200, json=info)

    return change


@pytest.mark.parametrize(
    ("path", "change", "words"),
    [
        ("/server_info", started(lora_config=None), "without --enable-lora"),
        ("/server_info", started(model_config__logprobs_mode="raw_logprobs"), "without --logprobs-mode"),
        ("/server_info", lambda answer: httpx.Response(404), "without VLLM_SERVER_DEV_MODE"),
        ("/v1/load_lora_adapter", lambda answer: httpx.Response(404), "without VLLM_ALLOW_RUNTIME_LORA_UPDATING"),
    ],
)
def test_a_server_that_was_started_otherwise_is_refused_with_the_command(
    vllm_server: Server, random_model: Path, random_adapter: Path, answers, path: str, change, words: str
):
    answers[path] = change
    with pytest.raises(InputError, match=rf"{words}.*rlcode serve"):
        open_engine(settings(vllm_server.url), str(random_model), random_adapter)


def test_a_request_that_loses_its_server_again_and_again_ends_the_run(engine: VllmServerEngine, answers):
    def fails_on_completions(answer: httpx.Response) -> httpx.Response:
        is_score = answer.json()["choices"][0].get("prompt_logprobs") is not None
        return answer if is_score else httpx.Response(500, json={"error": {"message": "out of memory"}})

    answers["/v1/completions"] = fails_on_completions
    with pytest.raises(EngineError, match=r"task .* lost its server 5 times.*out of memory"):
        list(engine.generate(wanted(1)[:1], SAMPLED))


def test_a_server_that_answers_nothing_is_waited_for_no_longer_than_allowed(
    vllm_server: Server, random_model: Path, answers
):
    with VllmServerEngine(str(random_model), settings(vllm_server.url, wait_s=1)) as engine:
        answers["/v1/completions"] = lambda answer: httpx.Response(500, json={"error": {"message": "out of memory"}})
        with pytest.raises(EngineError, match=r"did not answer for 1 s \(out of memory\)"):
            list(engine.generate(wanted(1)[:1], SAMPLED))


def test_a_server_that_hangs_ends_the_run_in_the_time_allowed_and_serves_again_when_it_is_free(
    vllm_server: Server, random_model: Path
):
    bounded = replace(settings(vllm_server.url, wait_s=1), server_timeout_s=15)
    with VllmServerEngine(str(random_model), bounded) as engine:
        request = wanted(1)[:1]
        before = list(engine.generate(request, SAMPLED))
        with vllm_server.hanging(), pytest.raises(EngineError, match=r"did not answer for 1 s \(ReadTimeout"):
            list(engine.generate(request, SAMPLED))
    with VllmServerEngine(str(random_model), settings(vllm_server.url)) as engine:
        assert by_key(list(engine.generate(request, SAMPLED))) == by_key(before)


@pytest.mark.parametrize(("visible", "gpus"), [("3,5", ["3", "5"]), (None, ["0", "1"]), ("7", ["7"]), ("", [])])
def test_the_gpus_of_this_machine_are_those_that_the_process_may_use(monkeypatch, visible, gpus) -> None:
    monkeypatch.setattr(torch.cuda, "device_count", lambda: len(gpus))
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    if visible is not None:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    assert server_group.gpus_of_this_machine() == gpus


def test_who_has_the_machine_to_himself_draws_from_a_server_on_each_gpu(
    vllm_server: Server, random_model: Path, random_adapter: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
):
    class ThisServer:
        """In place of a group that is started."""

        def __init__(self, model: str, settings: EngineSettings, logs: Path, gpus: list[str]) -> None:
            assert (gpus, logs, settings.max_lora_rank) == (["3", "5"], tmp_path / "run.vllm", 8)
            self.urls = (vllm_server.url,)
            self.said: list[str] = said

        def __enter__(self) -> Self:
            return self

        def __exit__(self, *exc: object) -> None:
            self.close()

        def close(self) -> None:
            self.said.append("closed")

    said: list[str] = []
    monkeypatch.setattr(server_group, "gpus_of_this_machine", lambda: ["3", "5"])
    monkeypatch.setattr(server_group, "ServerGroup", ThisServer)
    own = EngineSettings("vllm", max_lora_rank=4)
    with open_engine(own, str(random_model), random_adapter, run=tmp_path / "run") as engine:
        drawn = by_key(list(engine.generate(wanted(2), SAMPLED)))
        assert (engine.name, said) == ("vllm", [])
    assert said == ["closed"]
    with open_engine(settings(vllm_server.url), str(random_model), random_adapter) as engine:
        assert by_key(list(engine.generate(wanted(2), SAMPLED))) == drawn


def test_on_one_gpu_vllm_runs_in_this_process(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(server_group, "gpus_of_this_machine", lambda: ["0"])
    monkeypatch.setattr(engine_module, "_open_here", lambda settings, model: "here")
    assert open_engine(EngineSettings("vllm"), "base", run=tmp_path) == "here"


def test_a_process_that_may_open_few_files_raises_its_limit_or_asks_less_at_once() -> None:
    code = (
        "import resource as r, sys; from sampling.vllm_server import connections_for as c; hard = int(sys.argv[1]); "
        "r.setrlimit(r.RLIMIT_NOFILE, (512, hard)); print(c(1024), r.getrlimit(r.RLIMIT_NOFILE)[0])"
    )
    said = [
        subprocess.run([sys.executable, "-c", code, hard], capture_output=True, text=True, check=True).stdout.split()
        for hard in ("4096", "600")
    ]
    assert said == [["1024", "1280"], ["344", "600"]]
