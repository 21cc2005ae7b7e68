"""The model card of an export (`README.md`): what it is, how it was made, and what was measured.

What is not said on the command line is looked for: the run in the directories above the adapter (`run.json`), its
evaluations by the fingerprint of what was evaluated, the licence in the base's own card.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rlcode.run_directory import RunDirectory, write_atomically
from sampling.adapters import MERGE_FILE
from train.card_figures import Figures, find_figures, read_figures, table
from train.export_proof import Proof

_LEVELS = 4  # directories above an adapter in which its run is looked for
_SHOWN = (
    *("benchmark", "benchmark_file", "split", "exclude", "rollouts", "preset"),
    *("lora_r", "lora_alpha", "lora_dropout", "use_rslora", "use_dora", "load_in_4bit", "load_in_8bit"),
    *("loss_type", "loss_weights", "beta", "reference", "strategy", "strategy_options", "num_pairs", "num_generations"),
    *("reward_terms", "prompt_sampling", "group_filter", "max_completion_length", "learning_rate", "lr_scheduler_type"),
    *("num_train_epochs", "max_steps", "per_device_train_batch_size", "gradient_accumulation_steps", "optim", "seed"),
    *("methods", "rounds", "problems_per_round", "rollout", "dpo", "rft", "grpo", "validation"),
)
_METHODS = {
    "sft": "Supervised fine-tuning on programs that pass",
    "dpo": "DPO on preference pairs from judged programs, drawn by what the policy gets wrong",
    "grpo": "GRPO, rewarded by unit tests in a sandbox",
    "loop": "Rounds of rollouts and training, each from the last one's adapter (`rlcode run`)",
    "quickstart": "The quickstart: two rounds of DPO, then GRPO",
}


@dataclass(frozen=True)
class CardOptions:
    """What the card is told; all else is looked for."""

    run: Path | None = None
    eval_before: Path | None = None
    eval_after: Path | None = None
    licence: str | None = None
    figures: tuple[Figures, ...] = ()
    """Those at hand, base first; they stand in the place of evaluations."""


@dataclass(frozen=True)
class _Run:
    path: Path
    record: Mapping[str, Any]

    @property
    def config(self) -> Mapping[str, Any]:
        config: Mapping[str, Any] = self.record.get("config", {})
        return config


@dataclass(frozen=True)
class _Facts:
    """All that the card says."""

    proof: Proof
    licence: str | None
    runs: Sequence[_Run]
    figures: Sequence[Figures]
    merged_from: Mapping[str, Any] = field(default_factory=dict)


def write_card(path: Path, proof: Proof, adapter: Path, options: CardOptions) -> None:
    """Write the card of what was proven to `path`.

    Raises:
        InputError, DataError: an evaluation that was named can't be read. RunDirectoryError: `options.run` is none.
    """
    runs = list(_runs(adapter, options.run))
    figures = _figures(proof, adapter, options, runs)
    facts = _Facts(proof, _licence(proof.base_model, options), runs, figures, _merged_from(adapter))
    write_atomically(path, _text(facts))


def _runs(adapter: Path, named: Path | None) -> Iterator[_Run]:
    """The runs that made the adapter: the innermost first, then the one that it was a stage of."""
    for folder in adapter.resolve().parents[:_LEVELS]:
        if (folder / "run.json").is_file():
            yield _Run(folder, RunDirectory.read(folder))
    if named is not None and named.resolve() not in adapter.resolve().parents[:_LEVELS]:
        yield _Run(named, RunDirectory.read(named))


def _figures(proof: Proof, adapter: Path, options: CardOptions, runs: Sequence[_Run]) -> Sequence[Figures]:
    if options.figures:
        return options.figures
    found: dict[str, Figures] = {}
    for run in runs:
        found |= find_figures(run.path, adapter, proof)
    for name, folder in (("base", options.eval_before), ("trained", options.eval_after)):
        if folder is not None:
            found[name] = read_figures(name, folder)
    return [found[name] for name in ("base", "trained") if name in found]


def _licence(base: str, options: CardOptions) -> str | None:
    """What was said, or what the base's card says where it is at hand."""
    card = Path(base) / "README.md"
    if options.licence or not card.is_file():
        return options.licence
    from huggingface_hub import ModelCard

    licence = ModelCard.load(card, ignore_metadata_errors=True).data.get("license")
    return str(licence) if licence else None


def _merged_from(adapter: Path) -> Mapping[str, Any]:
    path = adapter / MERGE_FILE
    return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}


def _text(facts: _Facts) -> str:
    parts = [
        f"---\n{_metadata(facts)}\n---\n",
        f"# {_name(facts.proof.base_model)}, trained with rlcode\n",
        _what(facts),
        _how(facts),
        _measured(facts),
        _proven(facts.proof),
        _versions(facts.proof),
    ]
    return "\n".join(parts)


def _metadata(facts: _Facts) -> str:
    from huggingface_hub import ModelCardData

    is_adapter = facts.proof.kind == "adapter"
    return ModelCardData(
        base_model=None if Path(facts.proof.base_model).is_dir() else facts.proof.base_model,
        license=facts.licence,
        library_name="peft" if is_adapter else "transformers",
        pipeline_tag="text-generation",
        tags=["code", "rlcode", *(["lora"] if is_adapter else []), *(run.record["kind"] for run in facts.runs)],
    ).to_yaml()


def _what(facts: _Facts) -> str:
    proof = facts.proof
    kind = "A LoRA adapter on" if proof.kind == "adapter" else "A LoRA adapter merged into"
    licence = facts.licence or "not said; that of the base model applies"
    return (
        f"{kind} `{_name(proof.base_model)}` (fingerprint `{proof.base_fingerprint}`), policy version "
        f"{proof.policy_version}, in {proof.dtype}.\n\nLicence: {licence}.\n"
    )


def _how(facts: _Facts) -> str:
    lines = ["## How it was made", ""]
    for run in facts.runs:
        kind = str(run.record.get("kind"))
        lines += [f"{_METHODS.get(kind, kind)}.", "", "| setting | value |", "|---|---|"]
        lines += [f"| {name} | `{value}` |" for name, value in _settings(run.config)]
        lines.append("")
    if facts.merged_from:
        lines += [_describe_merge(facts.merged_from), ""]
    if not facts.runs and not facts.merged_from:
        lines += ["No record of the run was at hand.", ""]
    return "\n".join(lines)


def _settings(config: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    for name in _SHOWN:
        value = _without_folders(config.get(name))
        if value not in (None, [], {}):
            said = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
            yield name, said.replace("|", "\\|")


def _without_folders(value: Any) -> Any:
    """Where files lie on the machine of the run is nobody's business."""
    if isinstance(value, Mapping):
        return {key: _without_folders(one) for key, one in value.items()}
    if isinstance(value, list):
        return [_without_folders(one) for one in value]
    return _name(value) if isinstance(value, str) and Path(value).is_absolute() else value


def _describe_merge(merge: Mapping[str, Any]) -> str:
    parts = (
        f"`{_name(one['adapter'])}` (version {one['policy_version']}) × {one['weight']:g}" for one in merge["adapters"]
    )
    density = f", density {merge['density']:g}" if merge.get("density") is not None else ""
    return f"Merged from adapters by `{merge['method']}`{density}: {', '.join(parts)}."


def _measured(facts: _Facts) -> str:
    lines = ["## What was measured", ""]
    if not facts.figures:
        return "\n".join([*lines, "No evaluation was at hand.", ""])
    conditions = dict.fromkeys(one.conditions for one in facts.figures)
    return "\n".join([*lines, table(facts.figures), *(f"{one}." for one in conditions), ""])


def _proven(proof: Proof) -> str:
    rows = [
        ("target matrices that differ from the base", f"{proof.changed_matrices} of {proof.target_matrices}"),
        ("largest gap of a logit to base + adapter", f"{proof.logit_gap:.1e} (tolerance {proof.tolerance:.0e})"),
    ]
    if proof.update_kept is not None:
        rows.append((f"the adapter's update after rounding to {proof.dtype}", f"{proof.update_kept:.0%}"))
    if proof.trainer_gap is not None:
        rows.append(("gap to the trainer's log-probabilities", f"{proof.trainer_gap:.1e} nats per token"))
    for one in proof.engines:
        ties = f", {one.near_ties} answers part at near-ties" if one.near_ties else ""
        rows.append((f"same greedy tokens in {one.engine}", f"{one.same_tokens} of {one.tokens}{ties}"))
    lines = ["## What was proven", "", "| held against base + adapter | |", "|---|---|"]
    return "\n".join(
        [*lines, *(f"| {name} | {value} |" for name, value in rows), "", "All figures: `export_proof.json`.", ""]
    )


def _versions(proof: Proof) -> str:
    return "## Versions\n\n" + ", ".join(f"{name} {version}" for name, version in proof.versions.items()) + "\n"


def _name(path: str) -> str:
    """A hub name as it is, of a place on the disk the last part: `runs/r1/adapter` is `r1/adapter`."""
    if not Path(path).is_absolute() and not Path(path).exists():
        return path
    parts = Path(path).parts
    return "/".join(parts[-2:]) if parts[-1] in ("adapter", "model", "best_adapter") else parts[-1]
