"""torch, and the GPUs that the driver and torch see."""

from __future__ import annotations

import csv
import functools
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator

from train.doctor.findings import Finding, State, run_python
from train.doctor.packages import requirement_of

SMI = ("nvidia-smi", "--query-gpu=name,memory.total,memory.free,driver_version", "--format=csv,noheader,nounits")
SMI_LIMIT_S = 20.0
# What trains is asked, not what is listed: a build without kernels for the GPU at hand fails at the first product.
TORCH = """
import json, torch
devices = []
for index in range(torch.cuda.device_count() if torch.cuda.is_available() else 0):
    torch.ones(8, 8, device=index) @ torch.ones(8, 8, device=index)
    torch.cuda.synchronize(index)
    with torch.cuda.device(index):
        bf16 = torch.cuda.is_bf16_supported(including_emulation=False)
    about = torch.cuda.get_device_properties(index)
    devices.append({"name": about.name, "memory": about.total_memory, "bf16": bf16})
torch.ones(8, 8) @ torch.ones(8, 8)
print(json.dumps({"version": torch.__version__, "cuda": torch.version.cuda or torch.version.hip, "devices": devices}))
"""


def has_gpu() -> bool:
    """Whether the NVIDIA driver answers and lists a GPU."""
    try:
        return bool(rows_of_driver())
    except RuntimeError:
        return False


def gpus() -> Iterator[Finding]:
    """What the NVIDIA driver says of the GPUs."""
    try:
        rows = rows_of_driver()
    except RuntimeError as error:
        mend = "in a container: docker run --gpus all; else reinstall the driver and restart the machine"
        yield Finding("GPUs", State.LIMITS, f"nvidia-smi fails: {error}", "training and vLLM on a GPU", mend)
        return
    if not rows:
        blocks = "models of more than some million parameters; the quickstart and `configs/tiny/` do without"
        yield Finding("GPUs", State.LIMITS, "none: there is no nvidia-smi that lists one", blocks)
    for number, (name, total, free, driver) in enumerate(rows):
        facts = {"name": name, "memory": _bytes(total), "free": _bytes(free), "driver": driver}
        yield Finding(f"GPU {number}", State.FINE, f"{name}, {free} of {total} MiB free, driver {driver}", facts=facts)


def torch_works(gpu_is_there: bool) -> Iterator[Finding]:
    """Whether torch can be imported and multiplies on each device. `gpu_is_there`: the driver lists one."""
    try:
        facts = run_python(TORCH)
    except RuntimeError as error:
        blocks = "everything: training, evaluation of models"
        yield Finding("torch works", State.BLOCKS, f"it fails: {error}", blocks, _reinstall())
        return
    devices = facts["devices"]
    build = f"built for {facts['cuda']}" if facts["cuda"] else "built for CPUs"
    if gpu_is_there and not devices:
        blocks = "training on the GPU, which torch does not see"
        yield Finding("torch works", State.LIMITS, f"on the CPU, {build}", blocks, _reinstall(), facts)
        return
    where = ", ".join(f"{device['name']} ({_precision(device['bf16'])})" for device in devices)
    yield Finding("torch works", State.FINE, f"on {where or 'the CPU (float32)'}, {build}", facts=facts)


def _reinstall() -> str:
    return f"{sys.executable} -m pip install --force-reinstall {shlex.quote(requirement_of('torch'))}"


def _precision(bf16: bool) -> str:
    return "bfloat16" if bf16 else "float16, no bfloat16 in hardware"


@functools.cache
def rows_of_driver() -> list[list[str]]:
    """Name, memory and free memory in MiB, and driver of each GPU; none where there is no nvidia-smi.

    Raises:
        RuntimeError: the driver does not answer; with its words.
    """
    if shutil.which(SMI[0]) is None:
        return []
    try:
        done = subprocess.run(SMI, capture_output=True, text=True, timeout=SMI_LIMIT_S, check=False)
    except subprocess.TimeoutExpired:
        raise RuntimeError(f"no answer within {SMI_LIMIT_S:.0f} s") from None
    if done.returncode != 0:
        raise RuntimeError((done.stdout + done.stderr).strip() or f"exit code {done.returncode}")
    return [row for row in csv.reader(done.stdout.splitlines(), skipinitialspace=True) if row]


def _bytes(mib: str) -> int | None:
    return int(mib) << 20 if mib.isdigit() else None
