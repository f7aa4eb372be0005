"""bf16 where the CPU multiplies it natively, fp32 elsewhere."""

from functools import cache

import torch


@cache
def fast_dtype(device: str = "cpu") -> torch.dtype:
    """Return the type that matrix products should run in on this machine.

    Processors without avx512_bf16, AMX or Arm's bf16 emulate it and are slower than in fp32.
    """
    kind = torch.device(device).type
    if kind == "cuda":
        return torch.bfloat16 if torch.cuda.is_bf16_supported(including_emulation=False) else torch.float32
    if kind != "cpu":
        return torch.float32
    capabilities = torch.cpu.get_capabilities()
    native = any(capabilities.get(name, False) for name in ("avx512_bf16", "amx_bf16", "bf16"))
    return torch.bfloat16 if native and torch.ops.mkldnn._is_mkldnn_bf16_supported() else torch.float32


def autocast(device: torch.device | str = "cpu") -> torch.autocast:
    """Return a context in which matrix products run in `fast_dtype`.

    Without a cache of the weights it casts: that is one for all threads, and emptied by whichever leaves first.
    """
    bfloat16 = fast_dtype(str(device)) == torch.bfloat16
    return torch.autocast(torch.device(device).type, torch.bfloat16, enabled=bfloat16, cache_enabled=False)
