"""What the framework adds to generation, and what it takes to bring a new policy to an engine.

Throughput: completions through the engine `vllm` against bare `vllm.LLM.generate`. Both run on one and the same
`vllm.LLM`, with the same prompts, parameters and seeds, in turns; every prompt is new to each of them, so that no
prefix is cached. The model is the quickstart's kind with random weights: so small that what is around it shows.

Loads: seconds and bytes of an adapter against merged weights, check included, for models of several sizes.

Run: python -m benchmarks.engines [--rounds 9] [--json FILE]
"""

from __future__ import annotations

import argparse
import itertools
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from benchmarks.measuring import in_new_process, spread
from rlcode.run_directory import write_json
from rlcode.tiny.corpus import make_corpus
from sampling.engine import EngineSettings, GenerationRequest, SamplingParams, open_engine, request_seed

MAX_LENGTH = 512
MAX_TOKENS = 64
PROMPTS = 32
COMPLETIONS = 4
RANK = 16
SIZES = ((96, 3), (256, 6), (512, 10), (768, 16))
"""Hidden size and layers of the models whose loads are measured."""
_numbers = itertools.count()


@dataclass(frozen=True)
class Run:
    """One system, one round: completion tokens per second of wall time and per second of processor time."""

    per_s: float
    per_cpu_s: float


@dataclass
class Throughput:
    """The two systems, round by round."""

    bare: list[Run] = field(default_factory=list)
    framework: list[Run] = field(default_factory=list)

    def ratios(self, figure: str) -> list[float]:
        """Framework to bare in each round, of `per_s` or `per_cpu_s`."""
        pairs = zip(self.framework, self.bare, strict=True)
        return [getattr(ours, figure) / getattr(bare, figure) for ours, bare in pairs]


def measure_throughput(rounds: int) -> Throughput:
    """`COMPLETIONS` for each of `PROMPTS` prompts in each round and by each system; a first round is not counted."""
    prompts = [prompt for prompt, _ in make_corpus(PROMPTS, 0, 1.0)]
    result = Throughput()
    with tempfile.TemporaryDirectory() as folder:
        model = make_model(Path(folder) / "model", *SIZES[0])
        _run_rounds(model, prompts, rounds, result)
    return result


def _run_rounds(model: Path, prompts: Sequence[str], rounds: int, result: Throughput) -> None:
    with open_engine(EngineSettings("vllm", max_model_length=MAX_LENGTH, max_lora_rank=8), str(model)) as engine:
        systems: list[tuple[Callable[..., int], list[Run]]] = [(_bare, result.bare), (_ours, result.framework)]
        for number in range(rounds + 1):
            for system, runs in systems if number % 2 else reversed(systems):
                requests = list(_requests(engine.tokenizer, prompts))
                run = _timed(system, engine, requests)
                if number:
                    runs.append(run)


def _timed(system: Callable[..., int], engine: Any, requests: list[GenerationRequest]) -> Run:
    wall, cpu = time.perf_counter(), time.process_time()
    tokens = system(engine, requests)
    return Run(tokens / (time.perf_counter() - wall), tokens / (time.process_time() - cpu))


def _requests(tokenizer: Any, prompts: Sequence[str]) -> Iterator[GenerationRequest]:
    for prompt in prompts:
        number = next(_numbers)
        ids = tuple(tokenizer(f"# {number}\n{prompt}")["input_ids"][: MAX_LENGTH - MAX_TOKENS])
        yield from (GenerationRequest(str(number), index, ids) for index in range(COMPLETIONS))


def _ours(engine: Any, requests: list[GenerationRequest]) -> int:
    params = SamplingParams(max_completion_length=MAX_TOKENS)
    return sum(len(completion.token_ids) for completion in engine.generate(requests, params))


def _bare(engine: Any, requests: list[GenerationRequest]) -> int:
    import vllm

    params = [
        vllm.SamplingParams(temperature=1.0, max_tokens=MAX_TOKENS, seed=request_seed(0, request), logprobs=0)
        for request in requests
    ]
    prompts = [{"prompt_token_ids": list(request.prompt_token_ids)} for request in requests]
    outputs = engine._llm.generate(prompts, params, use_tqdm=False)
    return sum(len(output.outputs[0].token_ids) for output in outputs)


# Loads.


@dataclass
class Loads:
    """One size of model: seconds of each load, and what is read for it."""

    parameters: int
    adapter_bytes: int
    merged_bytes: int
    adapter_s: list[float] = field(default_factory=list)
    merged_s: list[float] = field(default_factory=list)


def measure_loads(engine: str, hidden: int, layers: int, rounds: int) -> Loads:
    """Bring adapters of rank `RANK` to `engine`: as they are, and merged into their base."""
    with tempfile.TemporaryDirectory() as folder:
        model = make_model(Path(folder) / "model", hidden, layers)
        adapter = make_adapter(Path(folder) / "adapter", model)
        loads = Loads(
            parameters=_bytes(model, "model.safetensors") // 4,
            adapter_bytes=_bytes(adapter, "adapter_model.safetensors"),
            merged_bytes=_bytes(model, "model.safetensors"),
        )
        loads.adapter_s = in_new_process(_load_often, engine, "adapter", str(model), str(adapter), rounds)
        loads.merged_s = in_new_process(_load_often, engine, "merged", str(model), str(adapter), rounds)
    return loads


def _load_often(engine: str, sync: str, model: str, adapter: str, rounds: int) -> list[float]:
    """Seconds of each load; a first one is not counted."""
    seconds = []
    settings = EngineSettings(engine, sync=sync, max_model_length=MAX_LENGTH, max_lora_rank=RANK)
    with open_engine(settings, model) as opened:
        for version in range(1, rounds + 2):
            started = time.perf_counter()
            opened.load_adapter(version, Path(adapter))
            seconds.append(time.perf_counter() - started)
    return seconds[1:]


def make_model(path: Path, hidden: int, layers: int) -> Path:
    """A Qwen2 with random weights and the quickstart's tokenizer."""
    import torch
    from transformers import Qwen2Config, Qwen2ForCausalLM

    from train.tiny_model import train_tokenizer

    torch.manual_seed(0)
    tokenizer = train_tokenizer(list(make_corpus(200, 0, 1.0)))
    config = Qwen2Config(
        vocab_size=len(tokenizer),
        hidden_size=hidden,
        intermediate_size=4 * hidden,
        num_hidden_layers=layers,
        num_attention_heads=hidden // 32,
        num_key_value_heads=hidden // 32,
        max_position_embeddings=MAX_LENGTH,
        tie_word_embeddings=True,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
        bos_token_id=None,
        initializer_range=0.08,
    )
    Qwen2ForCausalLM(config).save_pretrained(path)
    tokenizer.save_pretrained(path)
    return path


def make_adapter(path: Path, model: Path) -> Path:
    """A LoRA adapter that changes what the model says, with its trainer's record."""
    import torch
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModelForCausalLM, AutoTokenizer

    from rlcode.types import to_json
    from sampling.adapters import write_adapter_metadata
    from sampling.identity import record_policy

    base = AutoModelForCausalLM.from_pretrained(model)
    policy = get_peft_model(base, LoraConfig(r=RANK, target_modules="all-linear", task_type="CAUSAL_LM"))
    for name, weight in policy.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(weight, std=0.02)
    policy.save_pretrained(path)
    record = record_policy(policy.eval(), AutoTokenizer.from_pretrained(model))
    write_adapter_metadata(path, str(model), 1, to_json(record))
    return path


def _bytes(directory: Path, name: str) -> int:
    return (directory / name).stat().st_size


# The report.


def main() -> None:
    arguments = parse_arguments()
    throughput = in_new_process(measure_throughput, arguments.rounds)
    show_throughput(throughput)
    loads = {
        engine: [measure_loads(engine, *size, arguments.load_rounds) for size in SIZES] for engine in arguments.engines
    }
    show_loads(loads)
    if arguments.json:
        figures = {"throughput": asdict(throughput), "loads": {e: list(map(asdict, rows)) for e, rows in loads.items()}}
        write_json(arguments.json, figures)


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=9, help="of generation")
    parser.add_argument("--load_rounds", type=int, default=3, help="loads of each kind")
    parser.add_argument("--engines", nargs="*", default=["vllm", "transformers"], help="whose loads are measured")
    parser.add_argument("--json", type=Path, help="write all figures to this file")
    return parser.parse_args()


def show_throughput(throughput: Throughput) -> None:
    count = PROMPTS * COMPLETIONS
    table = Table(title=f"Throughput: {count} completions of up to {MAX_TOKENS} tokens in each round")
    for heading in ("tokens per second of", "bare vllm.LLM.generate", "through the framework", "ratio"):
        table.add_column(heading)
    for figure, what in (("per_s", "wall time"), ("per_cpu_s", "processor time")):
        bare, ours = (
            statistics.median(getattr(run, figure) for run in runs) for runs in (throughput.bare, throughput.framework)
        )
        table.add_row(what, f"{bare:.0f}", f"{ours:.0f}", spread(throughput.ratios(figure)))
    Console(width=140).print(table)


def show_loads(loads: dict[str, list[Loads]]) -> None:
    table = Table(title=f"Bringing a policy to an engine: LoRA of rank {RANK} on all matrices, float32")
    for heading in ("engine", "parameters", "adapter, s", "merged, s", "adapter, MB", "merged, MB"):
        table.add_column(heading, justify="left" if heading == "engine" else "right")
    for engine, rows in loads.items():
        for row in rows:
            seconds = (spread(row.adapter_s), spread(row.merged_s))
            sizes = (f"{row.adapter_bytes / 1e6:.1f}", f"{row.merged_bytes / 1e6:.1f}")
            table.add_row(engine, f"{row.parameters / 1e6:.1f} M", *seconds, *sizes)
    Console(width=140).print(table)


if __name__ == "__main__":
    main()
