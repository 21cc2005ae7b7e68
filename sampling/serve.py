"""`rlcode serve`: start one vLLM server as the engine `vllm-server` needs it.

It becomes `python -m vllm.entrypoints.openai.api_server` with LoRA, adapters loaded at run time, and the
log-probabilities of the distribution that was drawn from. On a CPU it takes the settings of the engine `vllm`.
"""

from __future__ import annotations

import argparse
import importlib.util
import os
import sys
from dataclasses import dataclass

from rlcode.errors import EngineError
from sampling.vllm_settings import CPU_ENVIRONMENT, HOW_TO_GET_VLLM, length_for, lora_rank

_DESCRIPTION = """Start one vLLM server for --engine vllm-server; it runs until it is stopped.

  rlcode serve --model Qwen/Qwen2.5-Coder-0.5B --port 8000
  rlcode rollout --engine vllm-server --engine_urls http://127.0.0.1:8000 ...

The server can load files and change its policy at anyone's request: let nobody reach it who is not trusted."""


@dataclass(frozen=True)
class ServerCommand:
    """What to execute, and the environment variables that it needs beside the present ones."""

    arguments: list[str]
    environment: dict[str, str]


def main(argv: list[str]) -> int:
    from sampling.adapters import weight_files

    args = _parser().parse_args(argv)
    if importlib.util.find_spec("vllm") is None:
        raise EngineError(f"vLLM is not installed; {HOW_TO_GET_VLLM}")
    weight_files(args.model)  # a model that does not exist is told now, not after a minute
    command = server_command(args, on_gpu=_has_gpu())
    print(f"vLLM starts on http://{args.host}:{args.port} (give this to --engine_urls)", flush=True)
    os.execve(command.arguments[0], command.arguments, {**os.environ, **command.environment})


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="rlcode serve", description=_DESCRIPTION, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--model", required=True, help="a directory or a hub name; the one that the run names too")
    parser.add_argument("--host", default="127.0.0.1", help="default 127.0.0.1: this machine alone")
    parser.add_argument("--port", type=int, default=8000, help="default 8000")
    parser.add_argument("--max_lora_rank", type=int, default=64, help="highest rank of an adapter (default 64)")
    parser.add_argument(
        "--max_loras", type=int, default=1, help="adapters at once (default 1; async GRPO: max_staleness + 2)"
    )
    parser.add_argument("--max_model_length", type=int, default=2048, help="prompt plus completion (default 2048)")
    parser.add_argument("--tensor_parallel_size", type=int, default=1, help="GPUs that share the model (default 1)")
    parser.add_argument("--gpu_memory_utilization", type=float, default=0.9, help="share of the GPU's memory")
    parser.add_argument("--dtype", default="auto", help="precision of the weights; auto: the model's, on a CPU float32")
    return parser


def server_command(args: argparse.Namespace, *, on_gpu: bool) -> ServerCommand:
    """The command line and environment of the server."""
    arguments = [sys.executable, "-m", "vllm.entrypoints.openai.api_server", "--model", args.model]
    arguments += ["--served-model-name", args.model, "--host", args.host, "--port", str(args.port)]
    arguments += ["--max-model-len", str(length_for(args.model, args.max_model_length)), "--seed", "0"]
    arguments += ["--enable-lora", "--max-lora-rank", str(lora_rank(args.max_lora_rank))]
    arguments += ["--max-loras", str(args.max_loras), "--max-cpu-loras", str(args.max_loras + 1)]
    arguments += ["--logprobs-mode", "processed_logprobs"]
    arguments += ["--generation-config", "vllm", "--disable-uvicorn-access-log"]
    # loads adapters, and resets the prefix cache after it
    environment = {"VLLM_ALLOW_RUNTIME_LORA_UPDATING": "1", "VLLM_SERVER_DEV_MODE": "1"}
    if on_gpu:
        arguments += ["--dtype", args.dtype, "--gpu-memory-utilization", str(args.gpu_memory_utilization)]
        arguments += ["--tensor-parallel-size", str(args.tensor_parallel_size)]
        return ServerCommand(arguments, environment)
    dtype = "float32" if args.dtype == "auto" else args.dtype
    arguments += ["--dtype", dtype, "--enforce-eager", "--no-enable-chunked-prefill"]
    arguments += ["--distributed-executor-backend", "uni"]
    # this alone lets its core compute by itself; with a worker process beside it both spin while they wait
    environment["VLLM_ENABLE_V1_MULTIPROCESSING"] = "0"
    defaults = {name: value for name, value in CPU_ENVIRONMENT.items() if name not in os.environ}
    return ServerCommand(arguments, {**defaults, **environment})


def _has_gpu() -> bool:
    import torch

    return torch.cuda.is_available()
