"""What a training run takes, put together from its configuration: memory, batches, length, and what would make it fit.

The formulas are in `train/memory_plan.py` and `train/batch_plan.py`; here they get the fields of the training scripts.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any

from rlcode.errors import ConfigError
from train.arguments import PlanArguments
from train.batch_plan import (
    DRAW_BYTES,
    ROLLOUT_BYTES_PER_TOKEN,
    BatchPlan,
    RunLength,
    checkpoints_of,
    steps_of_pairs,
)
from train.memory_plan import (
    GIB,
    Demand,
    Engine,
    Layout,
    Memory,
    Verdict,
    engine_cache,
    estimate,
    judge,
    whole_logits,
)
from train.model_shapes import shape_of

_BYTES = {"float32": 4, "bfloat16": 2, "float16": 2, "auto": 2, None: 4}
"""Of a weight, by `dtype`; `auto` is taken for the 16 bits that models come in, and TRL's default is 32."""


@dataclass(frozen=True)
class Fields:
    """All fields of a training script by name."""

    method: str
    values: dict[str, Any]

    def __getattr__(self, name: str) -> Any:
        try:
            return self.values[name]
        except KeyError:
            raise AttributeError(name) from None


@dataclass(frozen=True)
class Plan:
    """What a run takes on devices with `device_memory` bytes."""

    demand: Demand
    device_memory: int
    memory: Memory
    batch: BatchPlan
    length: RunLength | None
    """None where it hangs on the number of problems."""
    notes: tuple[str, ...]

    @property
    def verdict(self) -> Verdict:
        return judge(self.memory, self.device_memory)

    def to_json(self) -> dict[str, Any]:
        """All figures, in bytes."""
        return {
            "verdict": str(self.verdict),
            "device_memory": self.device_memory,
            "device": self.memory.device(),
            "host": self.memory.host(),
            "memory": [dataclasses.asdict(line) for line in self.memory.lines],
            "batch": {**dataclasses.asdict(self.batch), "per_step": self.batch.per_step},
            "length": {**dataclasses.asdict(self.length), "disk": self.length.disk} if self.length else None,
            "notes": list(self.notes),
            "what_fits": list(what_fits(self)),
        }


def make_plan(args: PlanArguments, fields: Fields, layout: Layout | None = None) -> Plan:
    """The plan of a run; without a `layout`, as `args` say.

    Raises:
        ConfigError: the model's shape is not known, the file for accelerate can't be read, or batches are torn.
    """
    layout = layout or layout_of(args)
    demand = demand_of(args, fields, layout)
    memory = int(args.gpu_memory_gb * GIB)
    batch = batch_of(fields, layout.gpus)
    if fields.method == "grpo":
        _ = batch.groups  # refuses torn groups
    length = length_of(fields, batch, demand)
    return Plan(demand, memory, estimate(demand, memory), batch, length, tuple(_notes(args, fields, demand, memory)))


def layout_of(args: PlanArguments) -> Layout:
    """How the processes share the model, by the file for accelerate.

    Raises:
        ConfigError: it can't be read, or leaves the sharing to another file.
    """
    if args.accelerate_config is None:
        return Layout(gpus=args.gpus or 1)
    from accelerate.commands.config.config_args import load_config_from_file

    try:
        config = load_config_from_file(args.accelerate_config)
    except (OSError, ValueError) as error:
        raise ConfigError(f"--accelerate_config {args.accelerate_config} can't be read: {error}") from error
    gpus = args.gpus or config.num_processes
    kind = str(getattr(config.distributed_type, "value", config.distributed_type))
    if kind == "FSDP":
        offload = bool(config.fsdp_config.get("fsdp_offload_params"))
        return Layout(gpus, zero_stage=3, offload_optimizer=offload, offload_weights=offload)
    if kind != "DEEPSPEED":
        return Layout(gpus)
    deepspeed = config.deepspeed_config
    if "zero_stage" not in deepspeed:
        raise ConfigError(f"{args.accelerate_config} names no zero_stage; write DeepSpeed's settings into it")
    return Layout(
        gpus,
        zero_stage=int(deepspeed["zero_stage"]),
        deepspeed=True,
        offload_optimizer=deepspeed.get("offload_optimizer_device", "none") != "none",
        offload_weights=deepspeed.get("offload_param_device", "none") != "none",
    )


def demand_of(args: PlanArguments, fields: Fields, layout: Layout) -> Demand:
    """What training has to hold in memory."""
    shape, full = shape_of(fields.model_name_or_path, args.model_config), fields.full_finetuning
    compute = 2 if fields.bf16 or fields.fp16 else 4
    dtype = str(fields.dtype).removeprefix("torch.") if fields.dtype else None
    return Demand(
        shape=shape,
        layout=layout,
        adapter_parameters=shape.adapter_parameters(fields.lora_r, _targets(fields)),
        batch=fields.per_device_train_batch_size,
        per_item=2 if fields.method == "dpo" else 1,
        length=_length(args, fields),
        weight_bytes=compute if layout.deepspeed else _BYTES.get(dtype, 2),
        compute_bytes=compute,
        optimizer_bytes=2 if "8bit" in str(getattr(fields.optim, "value", fields.optim)) else 8,
        checkpointing=bool(fields.gradient_checkpointing),
        stored_scores=fields.attn_implementation == "eager",
        frozen_adapter=_frozen_adapter(fields),
        full=full,
        second_model=full and (fields.method == "dpo" or (fields.method == "grpo" and fields.beta > 0)),
        quantised_bits=4 if fields.load_in_4bit else 8 if fields.load_in_8bit else None,
        nested=fields.use_bnb_nested_quant,
        engine=_engine_of(fields),
        decoded=fields.engine_batch_size if _generates(fields) and fields.engine == "transformers" else 0,
    )


def _targets(fields: Fields) -> list[str] | None:
    targets = fields.lora_target_modules
    targets = [targets] if isinstance(targets, str) else targets
    return None if targets == ["all-linear"] else targets


def _length(args: PlanArguments, fields: Fields) -> int:
    if fields.method == "grpo":
        return args.prompt_tokens + fields.max_completion_length
    if fields.max_length is None:
        raise ConfigError("max_length is none, so nothing bounds a sequence's length; set it to plan")
    return int(fields.max_length)


def _frozen_adapter(fields: Fields) -> bool:
    """An adapter to go on with is the reference too, as it was; a new one has the base."""
    if fields.adapter is None or fields.full_finetuning or fields.method == "sft":
        return False
    return fields.reference == "previous_round" if fields.method == "dpo" else fields.beta > 0


def _generates(fields: Fields) -> bool:
    return fields.method == "grpo" or (fields.method == "dpo" and fields.quiz_steps > 0)


def _engine_of(fields: Fields) -> Engine | None:
    if fields.method == "grpo" and fields.use_vllm and fields.vllm_mode == "colocate":  # TRL's own
        length = fields.vllm_max_model_length or fields.engine_max_model_length
        return Engine(fields.vllm_gpu_memory_utilization, length)
    if not _generates(fields) or fields.engine != "vllm":
        return None
    return Engine(fields.engine_gpu_memory_utilization, fields.engine_max_model_length)


def batch_of(fields: Fields, processes: int) -> BatchPlan:
    """What an optimizer step is made of on so many processes."""
    per_device, accumulation = fields.per_device_train_batch_size, fields.gradient_accumulation_steps
    if fields.method == "dpo":
        return BatchPlan("pairs", per_device, accumulation, processes)
    if fields.method == "sft":
        return BatchPlan("examples", per_device, accumulation, processes)
    plan = BatchPlan("completions", per_device, accumulation, processes, fields.num_generations)
    generated = fields.generation_batch_size  # TRL has filled it in
    return plan if generated == plan.per_step else replace(plan, generated=generated)


def length_of(fields: Fields, batch: BatchPlan, demand: Demand) -> RunLength | None:
    """Steps, tokens and files of the run; None where they hang on the number of problems or programs: SFT and GRPO
    without `max_steps`."""
    if fields.method == "dpo":
        steps = steps_of_pairs(fields.num_pairs, batch.per_step, fields.num_train_epochs, fields.max_steps)
        tokens, generated, log = 2 * steps * batch.per_step * demand.length, 0, steps * batch.per_step * DRAW_BYTES
    elif fields.max_steps > 0 and fields.method == "sft":
        steps = fields.max_steps
        tokens, generated, log = steps * batch.per_step * demand.length, 0, 0
    elif fields.max_steps > 0:
        steps = fields.max_steps
        generated = steps * batch.per_step * fields.max_completion_length * _most_draws(fields)
        tokens, log = steps * batch.per_step * demand.length, generated * ROLLOUT_BYTES_PER_TOKEN
    else:
        return None
    saved = str(getattr(fields.save_strategy, "value", fields.save_strategy))
    every = {"no": None, "epoch": steps / max(1, fields.num_train_epochs)}.get(saved, fields.save_steps)
    states = demand.trained * (demand.trained_bytes + demand.optimizer_bytes)
    states += demand.trained * 4 if demand.layout.deepspeed else 0
    return RunLength(steps, tokens, generated, checkpoints_of(steps, every, fields.save_total_limit), states, log)


def _most_draws(fields: Fields) -> int:
    """How often a GRPO step may draw its batch, dropped groups' successors included."""
    return 1 + fields.max_refills if fields.group_filter and fields.engine != "trl" else 1


def _notes(args: PlanArguments, fields: Fields, demand: Demand, device_memory: int) -> Iterator[str]:
    logits = whole_logits(demand) / GIB
    yield f"whole logits of a forward pass would take {logits:.1f} GiB; TRL computes them in tiles"
    if demand.engine:
        cache = engine_cache(demand.engine, demand.shape, device_memory)
        if cache.sequences == 0:
            yield "vLLM's share has no room for one sequence; raise engine_gpu_memory_utilization"
        else:
            room = f"{cache.tokens:,} tokens, {cache.sequences:,} sequences of {demand.engine.max_length:,}"
            yield f"vLLM's cache: {room} at once ({cache.size / GIB:.1f} GiB)"
        if demand.layout.gpus > 1:
            yield "with several processes vLLM is a server on each GPU, with the whole model beside the trainer's part"
    if _generates(fields) and fields.engine == "vllm-server":
        yield "the servers' GPUs are not in this plan; each holds the whole model"
    if fields.method == "grpo" and _most_draws(fields) > 1:
        yield f"a step draws up to {_most_draws(fields)} batches where groups are dropped; the logs have them all"
    if fields.method != "dpo" and fields.max_steps <= 0:
        what = "problems" if fields.method == "grpo" else "programs that passed"
        yield f"without max_steps the number of steps hangs on the number of {what}"
    if demand.quantised_bits and _generates(fields) and fields.engine != "transformers":
        yield "vLLM holds the base in 16 bits, not quantised"


def what_fits(plan: Plan) -> Iterator[str]:
    """Single changes that would make the plan fit, simplest first; nothing where it fits as it is."""
    if plan.verdict != Verdict.DOES_NOT_FIT:
        return
    for text, change in _changes(plan.demand):
        changed = change(plan.demand)
        if judge(estimate(changed, plan.device_memory), plan.device_memory) != Verdict.DOES_NOT_FIT:
            yield text


Change = Callable[[Demand], Demand]


def _changes(demand: Demand) -> Iterator[tuple[str, Change]]:
    layout = demand.layout
    if not demand.checkpointing:
        yield "gradient_checkpointing: true", lambda one: replace(one, checkpointing=True)
    if demand.batch > 1:
        text = "per_device_train_batch_size: 1, with more gradient_accumulation_steps"
        yield text, lambda one: replace(one, batch=1)
    if demand.full:
        yield "no full_finetuning: LoRA", lambda one: replace(one, full=False, second_model=False)
    elif demand.quantised_bits is None and layout.zero_stage < 3:
        yield "load_in_4bit: true (QLoRA)", lambda one: replace(one, quantised_bits=4)
    if demand.engine:
        yield "engine: vllm-server, with its servers on other GPUs", lambda one: replace(one, engine=None)
    if demand.weight_bytes == 4 and not layout.deepspeed and not demand.full:
        yield "dtype: bfloat16", lambda one: replace(one, weight_bytes=2)
    if demand.quantised_bits:
        return  # it can't be split, nor put elsewhere
    for gpus in sorted({layout.gpus, 4, 8}):
        if layout.zero_stage < 3 and gpus > 1 and gpus >= layout.gpus:
            text = f"ZeRO stage 3 on {gpus} GPUs (configs/accelerate/zero3.yaml)"
            yield text, _spread(Layout(gpus, zero_stage=3, deepspeed=True))
    if not layout.offload_weights:
        text = "weights in host memory (configs/accelerate/zero3_offload.yaml), slow"
        yield text, _spread(Layout(layout.gpus, 3, deepspeed=True, offload_optimizer=True, offload_weights=True))


def _spread(layout: Layout) -> Change:
    """To a layout of DeepSpeed's, which has the weights in the precision of training."""
    return lambda one: replace(one, layout=layout, weight_bytes=one.compute_bytes)
