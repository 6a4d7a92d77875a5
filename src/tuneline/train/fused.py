"""The inner parts of a model, computed in fewer passes while it is trained or asked: LoRA layers and RMS
norms.

They replace the `forward` of PEFT's and transformers' own modules, in place, and give what those give up to
rounding (a test compares them). Gradients flow to the adapter alone: frozen weights get none. What is not
known here stays as it was.
"""

from types import MethodType
from typing import Any

import torch
from peft.tuners.lora.layer import Linear as LoraLinear
from torch import Tensor, nn


def speed_up(network: nn.Module) -> int:
    """Replace what can be; returns how many modules were. Only for a frozen base with one LoRA adapter on
    it, or none."""
    changed = 0
    for module in network.modules():
        if isinstance(module, LoraLinear) and _plain_lora(module):
            module.forward = MethodType(_lora_forward, module)
            changed += 1
        elif (offset := _norm_offset(module)) is not None and not module.weight.requires_grad:
            module.forward = MethodType(_norm_forward_one if offset else _norm_forward, module)
            changed += 1
    return changed


class LoraProduct(torch.autograd.Function):
    """`x @ weight.T + bias + scale * (x @ a.T) @ b.T`; gradients for x, a and b only.

    x: [..., in]; weight: [out, in], of x's dtype; a: [rank, in] and b: [out, rank], float32, used in x's
    dtype (products are summed in float32 inside). Saves x and `x @ a.T`, where autograd would save x twice,
    in two dtypes.
    """

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None, a: Tensor, b: Tensor, scale: float
    ) -> Tensor:
        flat = x.reshape(-1, x.shape[-1])
        down, up = a.to(x.dtype), b.to(x.dtype)
        inner = flat @ down.T  # (tokens, rank)
        out = flat @ weight.T if bias is None else torch.addmm(bias, flat, weight.T)
        out.addmm_(inner, up.T, alpha=scale)
        ctx.save_for_backward(flat, inner, weight, down, up)
        ctx.scale, ctx.shape = scale, x.shape
        return out.view(*x.shape[:-1], -1)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        flat, inner, weight, down, up = ctx.saved_tensors
        g = grad.reshape(-1, grad.shape[-1])
        through = (g @ up).mul_(ctx.scale)  # (tokens, rank)
        grad_a = (through.T @ flat).float()
        grad_b = (inner.T @ g).T.float().mul_(ctx.scale)
        grad_x = None
        if ctx.needs_input_grad[0]:
            grad_x = (g @ weight).addmm_(through, down).view(ctx.shape)
        return grad_x, None, None, grad_a, grad_b, None


class RmsNorm(torch.autograd.Function):
    """`x / sqrt(mean(x^2) + eps) * gain` over the last dimension, in float32, given back in x's dtype;
    gradient for x only.

    x: [..., n]; gain: [n], float32.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, gain: Tensor, eps: float) -> Tensor:
        wide = x.float()
        size = torch.linalg.vector_norm(wide, dim=-1, keepdim=True)
        scale = torch.rsqrt(size.square_().div_(x.shape[-1]).add_(eps))
        ctx.save_for_backward(x, scale, gain)
        return (wide * scale).mul_(gain).to(x.dtype)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, None, None]:
        x, scale, gain = ctx.saved_tensors
        inward = grad.float() * gain
        unit = x.float() * scale
        share = torch.linalg.vecdot(inward, unit).unsqueeze(-1).div_(-x.shape[-1])
        return inward.addcmul_(unit, share).mul_(scale).to(grad.dtype), None, None


def _plain_lora(module: LoraLinear) -> bool:
    """Whether it is what LoraProduct computes: one active adapter, unmerged, no dropout, no variant."""
    active = list(module.active_adapters)
    if len(active) != 1 or module.merged_adapters or active[0] not in module.lora_A:
        return False
    name = active[0]
    return (
        isinstance(module.lora_dropout[name], nn.Identity)
        and module.lora_A[name].bias is None
        and module.lora_B[name].bias is None
        and name not in getattr(module, "lora_variant", {})
        and isinstance(module.get_base_layer(), nn.Linear)
    )


def _lora_forward(module: Any, x: Tensor, *_: Any, **__: Any) -> Tensor:
    name = module.active_adapters[0]
    layer = module.get_base_layer()
    product: Tensor = LoraProduct.apply(  # type: ignore[no-untyped-call]
        x,
        layer.weight,
        layer.bias,
        module.lora_A[name].weight,
        module.lora_B[name].weight,
        module.scaling[name],
    )
    return product


def _norm_offset(module: nn.Module) -> bool | None:
    """Whether a module is a norm whose gain is weight + 1 (Gemma), weight (most others), or no norm known
    here (None)."""
    kind = type(module).__name__
    if kind in ("Gemma3RMSNorm", "Gemma2RMSNorm", "GemmaRMSNorm"):
        return True
    return (
        False
        if kind in ("LlamaRMSNorm", "Phi3RMSNorm", "Qwen2RMSNorm", "Qwen3RMSNorm", "MistralRMSNorm")
        else None
    )


def _norm_forward_one(module: Any, x: Tensor) -> Tensor:
    normed: Tensor = RmsNorm.apply(x, module.weight.float() + 1.0, module.eps)  # type: ignore[no-untyped-call]
    return normed


def _norm_forward(module: Any, x: Tensor) -> Tensor:
    normed: Tensor = RmsNorm.apply(x, module.weight.float(), module.variance_epsilon)  # type: ignore[no-untyped-call]
    return normed
