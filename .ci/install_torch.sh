#!/usr/bin/env bash
# Install torch 2.13.0 with the given python: the CPU build where there is no GPU, if pip can find one.
set -euo pipefail
python=$1
wanted=2.13.0
if "$python" -c "import torch, sys; sys.exit(not torch.__version__.startswith('$wanted'))" 2>/dev/null; then exit 0; fi
if nvidia-smi >/dev/null 2>&1; then
    exec "$python" -m pip install --quiet "torch==$wanted"
fi
# a CPU build that pip already finds (a local one, a mirror's) comes first, then PyTorch's own index
"$python" -m pip install --quiet "torch==$wanted+cpu" 2>/dev/null ||
    "$python" -m pip install --quiet "torch==$wanted" --index-url "$TORCH_INDEX"
