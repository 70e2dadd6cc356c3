"""A pretend CUDA device: tensors that say ``cuda:0``, whose numbers are computed on the CPU.

An operation that mixes devices raises as CUDA does. What would start a kernel, make the host wait, or copy from it is
counted in :data:`pretend_cuda.counts.COUNTS`. A copy from memory that is not pinned counts as blocking even if
``non_blocking`` was asked for. Not covered: speed, streams (they do nothing), NCCL, ``torch.compile``. Only for a
process of its own, started with the guard library (:mod:`pretend_cuda.guard`): importing this module changes torch.
"""

from __future__ import annotations

from contextlib import nullcontext
from importlib import import_module
from typing import Any

import torch
import torch.utils._pytree as pytree
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode, return_and_correct_aliasing

from pretend_cuda.counts import COUNTS

__all__ = ["PretendCuda", "PretendTensor", "set_memory"]

DEVICE = torch.device("cuda:0")
MEMORY = 140 * 10**9  # bytes that the device says are free

# What makes the host wait for a result, and how often.
_SYNCS = {
    "_local_scalar_dense": 1, "equal": 1, "is_nonzero": 1, "nonzero": 1, "masked_select": 1, "_unique2": 1,
    "unique_dim": 1, "unique_consecutive": 1, "bincount": 2, "_linalg_check_errors": 1, "_linalg_eigh": 1,
    "linalg_lstsq": 1, "allclose": 1, "histc": 1, "multinomial": 1,
}
_INDEXING = ("index", "index_put", "index_put_", "_index_put_impl_", "_unsafe_index", "_unsafe_index_put")
# Not tagged as pointwise, but takes a number on the CPU as the pointwise operations do.
_TAKES_HOST_SCALARS = ("where", "lerp", "lerp_", "addcmul", "addcmul_", "addcdiv", "addcdiv_", "fill", "fill_",
                       "masked_fill", "masked_fill_", "index_fill", "clamp", "searchsorted", "_foreach_mul_",
                       "_foreach_div_")
# What CUDA refuses after torch.use_deterministic_algorithms(True); sums of numbers in floating point only.
_NEVER_REPEATABLE = ("histc", "median", "put_", "cumsum", "bincount")
# Neither views nor kernels: memory is reserved, a tensor described anew, a number copied.
_NO_KERNEL = ("detach", "empty", "empty_like", "empty_strided", "new_empty", "new_empty_strided", "resize_", "set_",
              "_unsafe_view", "_reshape_alias", "_local_scalar_dense")
_PINNED: set[int] = set()


class PretendTensor(Tensor):
    """A tensor on the pretend device; ``host`` holds its numbers."""

    host: Tensor

    @staticmethod
    def __new__(cls, host: Tensor) -> PretendTensor:
        made = Tensor._make_wrapper_subclass(
            cls, host.size(), strides=host.stride(), storage_offset=host.storage_offset(), dtype=host.dtype,
            layout=host.layout, device=DEVICE, requires_grad=False)
        made.host = host
        return made

    def __repr__(self, **_: Any) -> str:
        return f"PretendTensor({self.host!r})"

    @classmethod
    def __torch_function__(cls, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name = getattr(function, "__name__", "")
        with torch._C.DisableTorchFunctionSubclass():
            if name == "__set__" and getattr(function, "__self__", None) is Tensor.data:
                target, value = args
                if not (isinstance(target, PretendTensor) and isinstance(value, PretendTensor)):
                    raise RuntimeError("pretend device: .data set to a tensor of another device")
                target.host = value.host.detach()
                return None
            if name in ("numpy", "__array__"):
                raise TypeError("can't convert cuda:0 device type tensor to numpy. Use Tensor.cpu() to copy the tensor "
                                "to host memory first.")
            if name == "data_ptr":
                return args[0].host.data_ptr()
            if name == "tolist":
                COUNTS.sync("tolist")
                return args[0].host.tolist()
            if name == "__deepcopy__":
                return _deepcopy(*args)
            return function(*args, **(kwargs or {}))

    @classmethod
    def __torch_dispatch__(cls, operation: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return _run(operation, args, kwargs or {})


class PretendCuda(TorchDispatchMode):
    """Inside this block ``device="cuda"`` makes tensors of the pretend device."""

    def __torch_dispatch__(self, operation: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return _run(operation, args, kwargs or {})


def set_memory(free: int) -> None:
    """Let the device say that so many bytes are free; nothing is limited by it."""
    global MEMORY
    MEMORY = free


def _run(operation: Any, args: Any, kwargs: Any) -> Any:
    name = operation._schema.name.removeprefix("aten::")
    if name in ("_to_copy", "copy_"):
        return _copied(name, args, kwargs)
    if name == "lift_fresh":
        return args[0]
    if name == "_pin_memory":
        pinned = args[0].clone()
        _PINNED.add(pinned.untyped_storage().data_ptr())
        return pinned
    if name == "is_pinned":
        return _is_pinned(args[0])
    tensors = [x for x in pytree.tree_leaves((args, kwargs)) if isinstance(x, Tensor)]
    mine = [x for x in tensors if isinstance(x, PretendTensor)]
    here = bool(mine)
    if kwargs.get("device") is not None:
        here = torch.device(kwargs["device"]).type == "cuda"
        kwargs = {**kwargs, "device": torch.device("cpu")}
    if mine and len(mine) < len(tensors):
        _check_mix(operation, name, args, tensors)
    if here:
        _refuse_unrepeatable(name, args)
        _count_waiting(operation, name, args, kwargs)
    kwargs = {key: value for key, value in kwargs.items() if key != "pin_memory"}
    out = operation(*pytree.tree_map(_host, args), **pytree.tree_map(_host, kwargs))
    if not here:
        return out
    inplace_view = torch.Tag.inplace_view in operation.tags
    if not operation.is_view and not inplace_view and name not in _NO_KERNEL:
        COUNTS.kernel(name)
    known = {id(x.host): x for x in mine}
    wrapped = pytree.tree_map(lambda x: _wrapped(x, known), out)
    if inplace_view and any(x.shape != x.host.shape for x in mine):
        return return_and_correct_aliasing(operation, args, kwargs, wrapped)
    return wrapped


def _copied(name: str, args: Any, kwargs: Any) -> Any:
    if name == "copy_":
        target, source = args[:2]
        to, waits = target.device, not (len(args) > 2 and args[2])
        _host(target).copy_(_host(source))
        out = target
    else:
        source = args[0]
        to = source.device if kwargs.get("device") is None else torch.device(kwargs["device"])
        waits = not kwargs.get("non_blocking")
        plain = {key: value for key, value in kwargs.items() if key not in ("device", "non_blocking")}
        made = torch.ops.aten._to_copy(_host(source), **plain)
        out = PretendTensor(made) if to.type == "cuda" else made
    if isinstance(source, PretendTensor):
        if to.type == "cuda":
            COUNTS.kernel(name)
        else:
            COUNTS.sync("copy to the host")
    elif to.type == "cuda":
        COUNTS.copy("copy to the device", blocking=waits or not _is_pinned(source))
    return out


def _check_mix(operation: Any, name: str, args: Any, tensors: list[Tensor]) -> None:
    """Raise where CUDA does when some arguments are on the host; count the copies of those that it takes."""
    if name in _INDEXING:
        if not isinstance(args[0], PretendTensor):
            raise RuntimeError(f"{operation}: indices should be either on cpu or on the same device as the indexed "
                               "tensor (cpu)")
        for index in args[1]:
            if isinstance(index, Tensor) and not isinstance(index, PretendTensor):
                COUNTS.copy("index on the host", blocking=True)
        value = args[2] if len(args) > 2 else None
        if isinstance(value, Tensor) and not isinstance(value, PretendTensor):
            if value.dim():
                raise RuntimeError(f"{operation}: values on the cpu, tensor on cuda:0")
            COUNTS.copy("value on the host", blocking=True)
        return
    hosts = [x for x in tensors if not isinstance(x, PretendTensor)]
    takes_scalars = torch.Tag.pointwise in operation.tags or name in _TAKES_HOST_SCALARS
    if not takes_scalars or any(x.dim() for x in hosts):
        places = [(tuple(x.shape), x.device.type) for x in tensors]
        raise RuntimeError(f"{operation}: Expected all tensors to be on the same device, but found at least two "
                           f"devices, cuda:0 and cpu! {places}")
    for argument, value in zip(operation._schema.arguments, args):
        written = argument.alias_info is not None and argument.alias_info.is_write
        if written and isinstance(value, Tensor) and not isinstance(value, PretendTensor):
            raise RuntimeError(f"{operation}: writes values of cuda:0 into a tensor on the cpu")


def _refuse_unrepeatable(name: str, args: Any) -> None:
    if name not in _NEVER_REPEATABLE or not torch.are_deterministic_algorithms_enabled():
        return
    if name == "bincount" and (len(args) < 2 or args[1] is None):
        return
    if args[0].is_floating_point() or name == "bincount":
        raise RuntimeError(f"{name} does not have a deterministic implementation, but you set "
                           "'torch.use_deterministic_algorithms(True)'.")


def _count_waiting(operation: Any, name: str, args: Any, kwargs: Any) -> None:
    if name in _SYNCS:
        COUNTS.sync(name, _SYNCS[name])
    elif name == "repeat_interleave" and operation._overloadname in ("Tensor", "self_Tensor"):
        if kwargs.get("output_size") is None:
            COUNTS.sync("repeat_interleave without output_size")
    elif name in _INDEXING:
        fills = name != "index" and len(args) > 2 and isinstance(args[2], Tensor) and args[2].numel() == 1
        for index in args[1]:
            if isinstance(index, Tensor) and index.dtype in (torch.bool, torch.uint8) and not fills:
                COUNTS.sync("index with a mask")


def _is_pinned(x: Tensor) -> bool:
    return not isinstance(x, PretendTensor) and x.untyped_storage().data_ptr() in _PINNED


def _host(x: Any) -> Any:
    return x.host if isinstance(x, PretendTensor) else x


def _wrapped(x: Any, known: dict[int, PretendTensor]) -> Any:
    if not isinstance(x, Tensor) or isinstance(x, PretendTensor):
        return x
    found = known.get(id(x))
    return PretendTensor(x) if found is None else found


def _deepcopy(x: PretendTensor, memo: dict[int, Any]) -> Any:
    copied: Any = PretendTensor(x.host.clone())
    if isinstance(x, torch.nn.Parameter):
        copied = torch.nn.Parameter(copied, x.requires_grad)
    memo[id(x)] = copied
    return copied


class _Stream:
    """Of torch.cuda.Stream and torch.cuda.Event what the package calls; everything is done in order."""

    def __init__(self, *_: Any, **__: Any) -> None: ...

    def wait_stream(self, _: Any) -> None: ...

    def wait_event(self, _: Any) -> None: ...

    def record(self, *_: Any) -> None: ...

    def record_event(self, *_: Any) -> _Stream:
        return self

    def synchronize(self) -> None:
        COUNTS.sync("synchronize")




def _pretend() -> None:
    """Let torch believe in the device: Python functions that ask the driver, and checks of exact types."""
    torch._C._set_only_lift_cpu_tensors(True)
    torch.__future__.set_overwrite_module_params_on_conversion(True)
    answers = {
        "_lazy_init": lambda: None, "is_available": lambda: True, "device_count": lambda: 1,
        "current_device": lambda: 0, "set_device": lambda device: None,
        "get_device_name": lambda device=None: "pretend device",
        "mem_get_info": lambda device=None: (MEMORY, 140 * 10**9),
        "is_bf16_supported": lambda *args, **kwargs: True,
        "synchronize": lambda device=None: COUNTS.sync("synchronize"),
        "Stream": _Stream, "Event": _Stream, "current_stream": lambda device=None: _Stream(),
        "stream": lambda stream: nullcontext(), "empty_cache": lambda: None,
    }
    for name, answer in answers.items():
        setattr(torch.cuda, name, answer)
    storage = Tensor.untyped_storage  # a hook of saved tensors calls it where __torch_function__ is off
    Tensor.untyped_storage = lambda x: storage(_host(x))
    Tensor.record_stream = lambda x, stream: None
    for module in ("torch.optim.optimizer", "torch.utils._foreach_utils"):
        import_module(module)._foreach_supported_types.append(PretendTensor)
    save = torch.save
    torch.save = lambda obj, *args, **kwargs: save(pytree.tree_map(lambda x: _host(x).detach().clone() if isinstance(
        x, PretendTensor) else x, obj), *args, **kwargs)


_pretend()
