"""Whether a training script would take a command line: `python -m train.stage_check dpo --config … [--field value]`.

The loop asks before its first stage, in a process of its own, since TRL's configurations take hold of the GPU.
"""

from __future__ import annotations

import sys

from rlcode.cli import run_main
from rlcode.config import parse_config
from rlcode.errors import ConfigError

DORA = "dora"
"""Said of a policy that vLLM takes as merged weights alone."""


def main(argv: list[str]) -> int:
    """Parse what is for the script that is named first, and print `DORA` where its adapter will be such a one.

    Raises:
        ConfigError: it would be refused.
    """
    from trl import DPOConfig, GRPOConfig, ModelConfig, SFTConfig

    from train.arguments import GrpoArguments, PairArguments, PolicyArguments, SftArguments
    from train.precision import with_precision

    method, *words = argv
    own: dict[str, list[type]] = {
        "dpo": [PairArguments, PolicyArguments],
        "rft": [SftArguments, PolicyArguments],
        "grpo": [GrpoArguments],
    }
    training = {"dpo": DPOConfig, "rft": SFTConfig, "grpo": GRPOConfig}[method]
    parts = parse_config(own[method], with_precision(words), prog=method, others=lambda: [ModelConfig, training])
    if any(getattr(part, "full_finetuning", False) for part in parts):
        raise ConfigError(
            "rlcode run hands adapters from stage to stage, and full_finetuning has none; run the "
            "training scripts one after the other, or leave it out"
        )
    if any(getattr(part, "use_dora", False) for part in parts):
        print(DORA)
    return 0


if __name__ == "__main__":
    sys.exit(run_main(main))
