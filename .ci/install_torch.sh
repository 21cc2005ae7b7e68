#!/usr/bin/env bash
# Install torch 2.13.0 with the given python: the CPU build where there is no GPU, if pip can find one.
set -euo pipefail
python=$1
wanted=2.13.0
if "$python" -c "import torch, sys; sys.exit(not torch.__version__.startswith('$wanted'))" 2>/dev/null; then exit 0; fi
if nvidia-smi >/dev/null 2>&1; then
    exec "$python" -m pip install --quiet "torch==$wanted"
fi
if [ -n "${TORCH_INDEX:-}" ]; then
    exec "$python" -m pip install --quiet "torch==$wanted" --index-url "$TORCH_INDEX"
fi
# a CPU build where pip finds one, else the general build, which brings the CUDA libraries
"$python" -m pip install --quiet "torch==$wanted+cpu" 2>/dev/null || "$python" -m pip install --quiet "torch==$wanted"
