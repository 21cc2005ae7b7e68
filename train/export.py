"""`rlcode export`: merge a LoRA adapter into its base model, and prove that the result is that policy.

The proof: every matrix that the adapter targets differs from the base's; on fixed prompts the logits of the merged
model, loaded again from disk, agree with those of base + adapter; and its log-probabilities agree with what the
adapter's trainer wrote down, as in any engine. A directory with the output's name appears only when the proof holds;
the figures lie in it as `export_proof.json`. An adapter of a quantised base is merged into the base in full.
"""

from __future__ import annotations

import argparse
import shutil
import tempfile
from pathlib import Path
from typing import Any

from rlcode.errors import InputError, PolicyMismatchError
from rlcode.run_directory import package_versions, write_json

_PROOF_PROMPTS = ("def solve(xs):\n", "import math\n\n\ndef area(r: float) -> float:\n", "# Sort the list.\n")
# Largest difference of a logit that rounding explains: merging rounds W + BA once more. Relative to the largest logit.
_TOLERANCE = {"float32": 1e-3, "bfloat16": 5e-2, "float16": 1e-2}


def main(argv: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="rlcode export", description="Merge a LoRA adapter into its base model.")
    parser.add_argument("--adapter", type=Path, required=True, help="directory of the LoRA adapter")
    parser.add_argument("--model", help="base model; default: the one that the adapter names")
    parser.add_argument("--output", type=Path, required=True, help="directory to make")
    parser.add_argument("--dtype", choices=sorted(_TOLERANCE), default="float32", help="precision of the weights")
    args = parser.parse_args(argv)
    proof = export_merged(args.adapter, args.output, model=args.model, dtype=args.dtype)
    print(f"merged checkpoint in {args.output}: {describe(proof)}")
    return 0


def describe(proof: dict[str, Any]) -> str:
    """The proof in one line."""
    return (
        f"{proof['changed_matrices']} of {proof['target_matrices']} target matrices differ from the base, logits agree "
        f"with base + adapter to {proof['logit_gap']:.1e}"
        + ("" if proof["trainer_gap"] is None else f", with the trainer to {proof['trainer_gap']:.1e} nats per token")
    )


def export_merged(adapter: Path, output: Path, *, model: str | None = None, dtype: str = "float32") -> dict[str, Any]:
    """Write the merged checkpoint with tokenizer and generation config to `output`, and return the proof.

    Raises:
        InputError: the output exists, or adapter and base don't belong together.
        PolicyMismatchError: the proof failed; nothing is left at `output`.
    """
    from sampling.adapters import check_adapter, read_adapter_config

    if output.exists():
        raise InputError(f"{output} exists; choose another --output or move it away")
    base = model or read_adapter_config(adapter).get("base_model_name_or_path")
    if not base:
        raise InputError(f"adapter {adapter} does not name its base model; name it with --model")
    check_adapter(adapter, base)
    output.parent.mkdir(parents=True, exist_ok=True)
    unproven = Path(tempfile.mkdtemp(dir=output.parent, prefix=f".{output.name}-unproven-"))
    try:
        proof = _write_and_prove(base, adapter, unproven, dtype)
        unproven.chmod(0o755)
        unproven.rename(output)
    except BaseException:
        shutil.rmtree(unproven, ignore_errors=True)
        raise
    return proof


def _write_and_prove(base: str, adapter: Path, output: Path, dtype: str) -> dict[str, Any]:
    import torch
    from peft import PeftModel
    from transformers import AutoModelForCausalLM, AutoTokenizer

    from sampling.adapters import adapter_version
    from sampling.decoding import sequence_logprobs
    from sampling.identity import LoadedPolicy

    tokenizer = AutoTokenizer.from_pretrained(base)
    weights = AutoModelForCausalLM.from_pretrained(base, dtype=getattr(torch, dtype)).eval()
    exported = LoadedPolicy(adapter_version(adapter), adapter, "the merged checkpoint", dtype)
    sequences = exported.sequences(tokenizer)
    of_base = [sequence_logprobs(weights, sequence) for sequence in sequences]
    try:
        policy = PeftModel.from_pretrained(weights, str(adapter)).eval()
    except (ValueError, RuntimeError) as error:
        raise InputError(f"adapter {adapter} can't be put on {base}: {error}") from error
    expected = _logits(policy, tokenizer)
    targets = [name.removeprefix("base_model.model.") for name, _ in _lora_layers(policy)]
    before = {name: layer.get_base_layer().weight.detach().clone() for name, layer in _lora_layers(policy)}
    merged = policy.merge_and_unload(safe_merge=True)
    merged.save_pretrained(output)
    tokenizer.save_pretrained(output)

    loaded = AutoModelForCausalLM.from_pretrained(output, dtype=getattr(torch, dtype)).eval()
    modules = dict(loaded.named_modules())
    changed = sum(
        not torch.equal(modules[target].weight, weight) for target, weight in zip(targets, before.values(), strict=True)
    )
    proof = {
        "base_model": base,
        "adapter": str(adapter),
        "dtype": dtype,
        "target_matrices": len(targets),
        "changed_matrices": changed,
        "logit_gap": _largest_gap(expected, _logits(loaded, tokenizer)),
        "tolerance": _TOLERANCE[dtype],
        "versions": package_versions(),
    }
    _check(proof)
    proof["trainer_gap"] = exported.check([sequence_logprobs(loaded, one) for one in sequences], of_base)
    write_json(output / "export_proof.json", proof)
    return proof


def _lora_layers(policy: Any) -> list[tuple[str, Any]]:
    return [(name, layer) for name, layer in policy.named_modules() if hasattr(layer, "lora_A")]


def _logits(model: Any, tokenizer: Any) -> list[Any]:
    import torch

    with torch.no_grad():
        return [model(**tokenizer(prompt, return_tensors="pt")).logits.float() for prompt in _PROOF_PROMPTS]


def _largest_gap(expected: list[Any], got: list[Any]) -> float:
    """Largest difference of a logit, as a share of the largest logit."""
    gaps = [((a - b).abs().max() / a.abs().max()).item() for a, b in zip(expected, got, strict=True)]
    return float(max(gaps))


def _check(proof: dict[str, Any]) -> None:
    if proof["changed_matrices"] != proof["target_matrices"]:
        raise PolicyMismatchError(
            f"{proof['target_matrices'] - proof['changed_matrices']} of {proof['target_matrices']} matrices that the "
            f"adapter {proof['adapter']} targets are those of the base after merging: an adapter that was not trained?"
        )
    if not proof["logit_gap"] <= proof["tolerance"]:
        raise PolicyMismatchError(
            f"the merged model's logits differ from base + adapter by {proof['logit_gap']:.2e} (relative; tolerance "
            f"{proof['tolerance']:.0e}); try --dtype float32"
        )
