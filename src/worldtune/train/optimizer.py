"""AdamW over float32 masters, whatever the dtype of the network's weights."""

from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch.distributed.tensor import DTensor

from worldtune.errors import CheckpointError
from worldtune.parallel.pieces import local

MOMENTS = ("exp_avg", "exp_avg_sq")


class MasterAdamW:
    """AdamW (decoupled decay) whose weights, gradients and moments are float32.

    A float32 parameter is its own master. For any other dtype the master is a float32
    copy: each backward pass adds its gradient to the master's in float32 and frees the
    low-precision one, so accumulated micro-steps lose nothing; after a step the master is
    rounded into the parameter.

    Of a weight that is shared out over processes, this one's part is moved, as a plain tensor
    on the same memory: AdamW treats every number by itself. Such weights are float32, and are
    rounded where they are gathered.

    Sources: Loshchilov and Hutter 2019 (AdamW); Micikevicius et al. 2018 (master weights).
    """

    def __init__(
        self,
        parameters: Mapping[str, nn.Parameter],
        *,
        betas: tuple[float, float],
        eps: float,
        weight_decay: float,
    ) -> None:
        self._shared_out = {n: p for n, p in parameters.items() if isinstance(p, DTensor)}
        self.parameters = {name: _held(p) for name, p in parameters.items()}
        self.masters = {name: _master(p) for name, p in self.parameters.items()}
        self._hooks = [
            p.register_post_accumulate_grad_hook(_move_gradient_to(self.masters[name]))
            for name, p in self.parameters.items()
            if self.masters[name] is not p
        ]
        self._adam = torch.optim.AdamW(
            list(self.masters.values()),
            lr=0.0,
            betas=betas,
            eps=eps,
            weight_decay=weight_decay,
            fused=True,
        )

    def gradients(self) -> dict[str, Tensor]:
        """Float32 gradients that the last backward passes left, by name."""
        for name, weight in self._shared_out.items():
            self.masters[name].grad = None if weight.grad is None else local(weight.grad)
        return {name: m.grad for name, m in self.masters.items() if m.grad is not None}

    def step(self, learning_rate: float) -> None:
        """Move the masters once and round them into the network's weights."""
        for group in self._adam.param_groups:
            group["lr"] = learning_rate
        self._adam.step()
        self.write_back()

    @torch.no_grad()
    def write_back(self) -> None:
        """Round the masters into the network's weights."""
        for name, parameter in self.parameters.items():
            if self.masters[name] is not parameter:
                parameter.copy_(self.masters[name])

    def forget_gradients(self) -> None:
        """Drop all gradients, to start the next step from none."""
        for parameter in (*self._shared_out.values(), *self.parameters.values()):
            parameter.grad = None
        for master in self.masters.values():
            master.grad = None

    def moments(self) -> dict[str, dict[str, Tensor]]:
        """First and second moments by parameter name; empty before the first step."""
        return {
            kind: {
                name: self._adam.state[master][kind]
                for name, master in self.masters.items()
                if master in self._adam.state
            }
            for kind in MOMENTS
        }

    def steps_taken(self) -> int:
        """How many steps have moved the weights; AdamW's bias correction counts them."""
        counts = {int(state["step"].item()) for state in self._adam.state.values()}
        return max(counts, default=0)

    @torch.no_grad()
    def restore(
        self,
        masters: Mapping[str, Tensor],
        moments: Mapping[str, Mapping[str, Tensor]],
        steps_taken: int,
    ) -> None:
        """Take up a saved state; its names must be this optimiser's.

        Raises CheckpointError where a name is missing, new or of another shape.
        """
        _check_names("masters", self.masters, masters)
        for name, master in self.masters.items():
            master.copy_(masters[name])
        self.write_back()
        self._adam.state.clear()
        if steps_taken == 0:
            return
        for kind in MOMENTS:
            _check_names(kind, self.masters, moments[kind])
        for name, master in self.masters.items():
            self._adam.state[master] = {
                "step": torch.tensor(float(steps_taken), device=master.device),
                **{kind: moments[kind][name].to(master.device).clone() for kind in MOMENTS},
            }


def _held(parameter: nn.Parameter) -> nn.Parameter:
    """The parameter, or what this process holds of it."""
    if not isinstance(parameter, DTensor):
        return parameter
    assert parameter.dtype == torch.float32
    return nn.Parameter(local(parameter))


def _master(parameter: nn.Parameter) -> nn.Parameter:
    if parameter.dtype == torch.float32:
        return parameter
    return nn.Parameter(parameter.detach().float())


def _move_gradient_to(master: nn.Parameter):
    def move(parameter: Tensor) -> None:
        if parameter.grad is None:
            return
        gradient = parameter.grad.float()
        master.grad = gradient if master.grad is None else master.grad.add_(gradient)
        parameter.grad = None

    return move


def _check_names(what: str, ours: Mapping[str, Tensor], saved: Mapping[str, Tensor]) -> None:
    wrong = sorted(ours.keys() ^ saved.keys()) or [
        name for name in ours if ours[name].shape != saved[name].shape
    ]
    if wrong:
        raise CheckpointError(
            f"the saved {what} do not belong to this network: {len(wrong)} of {len(ours)} names "
            f"are missing, new or of another shape, first {wrong[0]!r}; resume with the settings "
            "that the run was started with"
        )
