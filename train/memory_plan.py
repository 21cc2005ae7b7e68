"""How much memory training takes on each device: an estimate from the model's shape, made before a GPU is spent.

What is counted and by which source:
- Weights, gradients and Adam's states, and how ZeRO's stages split them: Rajbhandari et al. 2020 (arXiv 1910.02054),
  section 3.1 and figure 1. With LoRA only the adapter has gradients and states.
- Activations: counted tensor by tensor for a layer of this kind, after the manner of Korthikanti et al. 2022 (arXiv
  2205.05198), section 4. Their 34 s b h is for a GELU MLP of 4 h with dropout; here the MLP is gated, attention has
  grouped queries and keeps no scores, norms compute in 32 bits, and there is no dropout.
- Logits: TRL 1.16 computes log-probabilities in tiles, so batch × length × vocabulary values never exist at once.
- A cache of keys and values: 2 × layers × key values × bytes for each token.
- Quantised bases: bitsandbytes keeps 4 or 8 bits of each value of a linear map. In 4 bits, 64 values share a scale of
  32 bits, which with nested quantisation has 8 bits (Dettmers et al. 2023, arXiv 2305.14314, section 3); in 8 bits, a
  row has one. Embeddings, norms and the output matrix stay as they are.

Not counted: temporary buffers of kernels and of communication, and fragmentation. `RUNTIME` stands for some of it, and
a plan that fills more than `COMFORTABLE` of a device is called tight. Imports nothing heavy.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum

from train.model_shapes import ModelShape

GIB = 2**30
RUNTIME = 1 * GIB
"""Context, loaded kernels and workspaces of one process on a device: an assumption, not a measurement."""
_ENGINE_WEIGHT_BYTES = 2
"""Of a parameter in vLLM, which holds weights in 16 bits."""
COMFORTABLE = 0.9
"""Share of a device above which a plan is tight, since fragmentation and buffers are not counted."""

_FLOAT32 = 4
_TILE_TOKENS, _TILE_VOCABULARY = 4096, 32_768
"""Of TRL's log-probabilities in tiles (`trl/kernels/chunked_logprob.py`, `trl/trainer/utils.py` in 1.16)."""
_LIVE_PARAMETERS = 10**9
"""What ZeRO-3 keeps gathered at most: DeepSpeed's default for `stage3_max_live_parameters`."""


@dataclass(frozen=True)
class Layout:
    """How a run is spread over devices. Stage 0 is whole copies, 3 stands for FSDP2 too."""

    gpus: int = 1
    zero_stage: int = 0
    deepspeed: bool = False
    """It keeps a copy of what is trained in 32 bits, and all else in the precision of training."""
    offload_optimizer: bool = False
    offload_weights: bool = False

    def shards(self, from_stage: int) -> int:
        """In how many parts something is split that a stage and those above it split."""
        return self.gpus if self.zero_stage >= from_stage else 1


@dataclass(frozen=True)
class Engine:
    """vLLM on the training device."""

    share: float
    """Of the device's memory."""
    max_length: int
    """Tokens of the longest prompt with its completion."""


@dataclass(frozen=True)
class Demand:
    """What is to be held in memory."""

    shape: ModelShape
    layout: Layout
    adapter_parameters: int
    batch: int
    """Pairs or completions in one forward pass on one device."""
    length: int
    """Tokens of each."""
    per_item: int = 1
    """Sequences for each of the batch: DPO has two for a pair."""
    weight_bytes: int = 2
    """Of one weight of the base."""
    compute_bytes: int = 2
    """Of one activation."""
    optimizer_bytes: int = 8
    """Of the optimizer's own states for each trained parameter; Adam has two in 32 bits."""
    checkpointing: bool = True
    """Layers are computed again in the backward pass, and only their inputs are kept."""
    stored_scores: bool = False
    """Attention keeps its scores (`attn_implementation: eager`)."""
    frozen_adapter: bool = False
    """A second adapter is the reference; without one the base is, which takes nothing."""
    full: bool = False
    """All weights are trained, and there is no adapter."""
    second_model: bool = False
    """With full fine-tuning: a frozen copy of the whole model is the reference."""
    quantised_bits: int | None = None
    """Of a weight of the base's linear maps: 4 or 8."""
    nested: bool = False
    """4 bits only: the scales are quantised too."""
    engine: Engine | None = None
    decoded: int = 0
    """Sequences that the trainer's own model writes at once; 0: another engine does."""

    @property
    def sequences(self) -> int:
        """In one forward pass on one device."""
        return self.batch * self.per_item

    @property
    def tokens(self) -> int:
        """Of one forward pass on one device, padding included."""
        return self.sequences * self.length

    @property
    def adapter_bytes(self) -> int:
        """Of one parameter of the adapter: DeepSpeed takes the precision of training, PEFT 32 bits."""
        return self.compute_bytes if self.layout.deepspeed else _FLOAT32

    @property
    def trained(self) -> int:
        """Parameters that have a gradient."""
        return self.shape.parameters() if self.full else self.adapter_parameters

    @property
    def trained_bytes(self) -> int:
        """Of one of them, and of its gradient."""
        return self.weight_bytes if self.full else self.adapter_bytes

    @property
    def base(self) -> int:
        """Bytes of the base's weights."""
        if self.quantised_bits is None:
            return self.shape.parameters() * self.weight_bytes
        linears = self.shape.all_linears()
        values = sum(one.count * one.inputs * one.outputs for one in linears)
        rows = sum(one.count * one.outputs for one in linears)
        scales = rows * _FLOAT32 if self.quantised_bits == 8 else _scales(values, nested=self.nested)
        return (self.shape.parameters() - values) * self.weight_bytes + values * self.quantised_bits // 8 + scales


def _scales(values: int, *, nested: bool) -> int:
    """Bytes of the scales of values in 4 bits: one for 64, and where they are nested one of 32 bits for 256 of them."""
    scales = values // 64
    return scales + scales // 256 * _FLOAT32 if nested else scales * _FLOAT32


class Phase(StrEnum):
    """When memory is taken. Steps and generation take turns, so only the larger of the two counts."""

    ALWAYS = "always"
    STEP = "training step"
    GENERATION = "generation"


@dataclass(frozen=True)
class Line:
    """One entry of the estimate, in bytes for each device; `host` is in the machine's memory, for each device too."""

    name: str
    device: int
    note: str
    phase: Phase = Phase.ALWAYS
    host: int = 0


@dataclass(frozen=True)
class Memory:
    """The whole estimate."""

    lines: tuple[Line, ...]

    def device(self) -> int:
        """Bytes on each device at the worst moment."""
        step, generation = (self._of(phase) for phase in (Phase.STEP, Phase.GENERATION))
        return self._of(Phase.ALWAYS) + max(step, generation)

    def host(self) -> int:
        """Bytes in the machine's memory for each device, beside the processes themselves."""
        return sum(line.host for line in self.lines)

    def _of(self, phase: Phase) -> int:
        return sum(line.device for line in self.lines if line.phase == phase)


def estimate(demand: Demand, device_memory: int) -> Memory:
    """The memory of each device with `device_memory` bytes, of which vLLM takes its share."""
    return Memory((*_states(demand), *_step(demand), *_generation(demand), *_engine(demand, device_memory), _RUNTIME))


_RUNTIME = Line("runtime", RUNTIME, "assumed: context, kernels, workspaces")


def _states(demand: Demand) -> Iterator[Line]:
    layout, trained = demand.layout, demand.trained
    bits = f" in {demand.quantised_bits} bits" if demand.quantised_bits else ""
    note = f"{demand.shape.parameters():,} parameters{bits}, {'trained' if demand.full else 'frozen'}"
    yield _placed("model weights", _split(demand.base, layout.shards(3)), layout.offload_weights, note)
    size = 0 if demand.full else _split(trained * demand.adapter_bytes, layout.shards(3))
    note = "none" if demand.full else f"{trained:,} parameters, trained"
    yield _placed("adapter", size, layout.offload_weights and not demand.full, note)
    note = "of all weights" if demand.full else "of the adapter"
    yield Line("gradients", _split(trained * demand.trained_bytes, layout.shards(2)), note)
    master = _FLOAT32 if layout.deepspeed and layout.zero_stage else 0
    states = _split(trained * (demand.optimizer_bytes + master), layout.shards(1))
    yield _placed("optimizer states", states, layout.offload_optimizer, "Adam's, and a 32-bit copy" if master else "")
    yield Line("reference", *_reference(demand))
    if layout.zero_stage == 3:
        live = min(demand.shape.parameters(), _LIVE_PARAMETERS) * demand.weight_bytes
        yield Line("gathered weights", live, "layers in use, at most a billion parameters", Phase.STEP)


def _reference(demand: Demand) -> tuple[int, str]:
    """Bytes of what a policy is compared with, and what that is."""
    shards = demand.layout.shards(3)
    if demand.full:
        return (_split(demand.base, shards), "a frozen copy of the model") if demand.second_model else (0, "none")
    if demand.frozen_adapter:
        return _split(demand.adapter_parameters * demand.adapter_bytes, shards), "a frozen copy of the adapter"
    return 0, "the base without adapter"


def _placed(name: str, size: int, offloaded: bool, note: str) -> Line:
    return Line(name, 0, f"{note} (in host memory)", host=size) if offloaded else Line(name, size, note)


def _split(size: int, parts: int) -> int:
    return -(-size // parts)


def _step(demand: Demand) -> Iterator[Line]:
    layer, layers = layer_activations(demand), demand.shape.layers
    if demand.checkpointing:
        kept = layers * demand.tokens * demand.shape.hidden * demand.compute_bytes
        note = f"inputs of {layers} layers, and one layer computed again"
        yield Line("activations", kept + layer, note, Phase.STEP)
    else:
        yield Line("activations", layers * layer, f"of {layers} layers; no gradient checkpointing", Phase.STEP)
    yield Line("log-probabilities", head_activations(demand), "in tiles of the vocabulary", Phase.STEP)


def layer_activations(demand: Demand) -> int:
    """Bytes that one layer keeps for its backward pass, with frozen weights and LoRA on all linear maps.

    For each token: the inputs of both norms in 32 bits and their outputs, queries, keys, values, attention's output,
    and in the MLP gate, activated gate, up and their product. LoRA's own inner activations (rank values) are left out.
    """
    shape, size = demand.shape, demand.compute_bytes
    norms = 2 * shape.hidden * (_FLOAT32 + size)
    attention = size * (2 * shape.queries + 2 * shape.keys)
    scores = shape.heads * demand.length * (size + _FLOAT32) if demand.stored_scores else 0
    mlp = (4 if shape.gated else 2) * shape.intermediate * size
    return demand.tokens * (norms + attention + scores + mlp)


def head_activations(demand: Demand) -> int:
    """Bytes of the final norm, its gradient in 32 bits, and one tile of logits."""
    hidden = demand.tokens * demand.shape.hidden * (2 * _FLOAT32 + demand.compute_bytes)
    tile = min(demand.tokens, _TILE_TOKENS) * min(demand.shape.vocabulary, _TILE_VOCABULARY) * demand.compute_bytes
    return hidden + tile


def whole_logits(demand: Demand) -> int:
    """Bytes of batch × length × vocabulary logits in 32 bits: what a trainer without tiles would take."""
    return demand.tokens * demand.shape.vocabulary * _FLOAT32


def cache_per_token(shape: ModelShape, value_bytes: int = 2) -> int:
    """Bytes of one token's keys and values over all layers."""
    return 2 * shape.layers * shape.keys * value_bytes


def _generation(demand: Demand) -> Iterator[Line]:
    if not demand.decoded:
        return
    cache = demand.decoded * demand.length * cache_per_token(demand.shape, demand.compute_bytes)
    note = f"{demand.decoded} sequences of {demand.length:,} tokens"
    yield Line("keys and values", cache, note, Phase.GENERATION)
    if demand.layout.zero_stage == 3:
        whole = demand.shape.parameters() * demand.weight_bytes
        yield Line("whole weights", whole, "gathered on every device to generate", Phase.GENERATION)


def _engine(demand: Demand, device_memory: int) -> Iterator[Line]:
    if demand.engine:
        taken = int(demand.engine.share * device_memory)
        yield Line("vLLM", taken, f"{demand.engine.share:g} of the device: its own weights and cache")


@dataclass(frozen=True)
class Cache:
    """What of vLLM's share is left for keys and values."""

    size: int
    """Bytes; below zero where not even the weights fit."""
    tokens: int
    sequences: int
    """Of the longest kind; of shorter ones more fit."""


def engine_cache(engine: Engine, shape: ModelShape, device_memory: int) -> Cache:
    """vLLM's cache on a device of its own or on one that it shares: its share without weights and runtime."""
    left = int(engine.share * device_memory) - shape.parameters() * _ENGINE_WEIGHT_BYTES - RUNTIME
    tokens = max(0, left) // cache_per_token(shape)
    return Cache(left, tokens, tokens // engine.max_length)


class Verdict(StrEnum):
    """What an estimate says of a device."""

    FITS = "fits"
    TIGHT = "tight"
    DOES_NOT_FIT = "does not fit"


def judge(memory: Memory, device_memory: int) -> Verdict:
    """Whether the estimate fits on a device with `device_memory` bytes."""
    if memory.device() > device_memory:
        return Verdict.DOES_NOT_FIT
    return Verdict.FITS if memory.device() <= COMFORTABLE * device_memory else Verdict.TIGHT
