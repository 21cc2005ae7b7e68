"""`rlcode export`: a LoRA adapter merged into its base model, which proves that it is that policy.

    rlcode export --adapter runs/grpo-1/adapter --output exports/coder
    rlcode export --adapter runs/grpo-1/adapter --output exports/coder-lora --adapter_only
    rlcode export --adapter runs/grpo-1/adapter --output exports/coder --push_to_hub me/coder

Written are safetensors, tokenizer with its chat template, generation config, a model card and the proof. A directory of
the output's name appears only when all of it is there and the proof holds.
"""

from __future__ import annotations

import argparse
import importlib.util
import sys
from pathlib import Path

from rlcode.errors import InputError

_DTYPES = ("auto", "float32", "bfloat16", "float16")
_ENGINES = ("transformers", "vllm")


def main(argv: list[str]) -> int:
    """Run the command and return 0.

    Raises:
        InputError: what was given can't be used. PolicyMismatchError: the proof failed. HubError: the export is made,
            but could not be uploaded.
    """
    args = _parser().parse_args(argv)
    from train.exporter import ExportOptions, export_adapter
    from train.hub_upload import check_repository, upload
    from train.model_card import CardOptions

    if args.push_to_hub:
        check_repository(args.push_to_hub)
    names = ("adapter", "output", "model", "dtype", "max_shard_size", "adapter_only", "device")
    options = ExportOptions(**{name: getattr(args, name) for name in names}, engines=engines_for(args))
    proof = export_adapter(options, CardOptions(args.run, args.eval_before, args.eval_after, args.license))
    print(f"{proof.kind} export in {args.output}: {proof.describe()}")
    if proof.is_rounded_away:
        print(
            f"warning: the adapter's update is too small for {proof.dtype}: {proof.update_kept:.0%} of it is in the "
            "merged weights, which say what the base says rather than the policy. Export it with --dtype float32 or "
            "--adapter_only, or train with a higher learning_rate",
            file=sys.stderr,
        )
    if args.push_to_hub:
        print(f"uploaded: {upload(args.output, args.push_to_hub, private=args.private)}")
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="rlcode export",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("--adapter", type=Path, required=True, help="directory of the LoRA adapter")
    parser.add_argument("--model", help="base model; default: the one that the adapter names")
    parser.add_argument("--output", type=Path, required=True, help="directory to make")
    parser.add_argument("--adapter_only", action="store_true", help="adapter and card, without the base's weights")
    parser.add_argument("--dtype", choices=_DTYPES, default="auto", help="of the weights (default: the base's)")
    parser.add_argument("--max_shard_size", default="5GB", help="of one file of weights (default 5GB)")
    parser.add_argument("--device", help="where to merge and try it; default: a GPU where there is one, else cpu")
    parser.add_argument(
        "--prove_engines",
        nargs="+",
        choices=_ENGINES,
        help="what loads it, transformers among them; default: vllm too where it is installed",
    )
    card = parser.add_argument_group("model card")
    card.add_argument("--run", type=Path, help="run that made the adapter; default: found from where the adapter is")
    card.add_argument(
        "--eval_before", type=Path, help="what `rlcode eval` wrote of the base; default: looked for in run"
    )
    card.add_argument("--eval_after", type=Path, help="what `rlcode eval` wrote of the adapter; default: likewise")
    card.add_argument("--license", help="identifier such as apache-2.0; default: what the base's card says")
    hub = parser.add_argument_group("upload")
    hub.add_argument("--push_to_hub", metavar="REPO", help="OWNER/NAME on the Hugging Face hub, made if need be")
    hub.add_argument("--private", action="store_true", help="make the repository a private one")
    return parser


def engines_for(args: argparse.Namespace) -> tuple[str, ...]:
    """What was asked for; else transformers, and vLLM where it is installed and can serve the export."""
    from sampling.adapters import read_adapter_config
    from sampling.vllm_settings import require_servable

    if args.prove_engines:
        return tuple(args.prove_engines)
    if importlib.util.find_spec("vllm") is None:
        return ("transformers",)
    if args.adapter_only:
        config = read_adapter_config(args.adapter)
        try:
            require_servable(args.adapter, config, max_lora_rank=max(config["r"], 512))
        except InputError:
            return ("transformers",)
    return _ENGINES
