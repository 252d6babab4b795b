"""Attention of tokens among themselves, or with the text.

Legend: B batch, L tokens, N keys, S heads, D channels of a head.
"""

from collections.abc import Callable

from jaxtyping import Float
from torch import Tensor, nn

from worldtune.models.norms import RMSNorm
from worldtune.models.rope import Rotation, rotate

Attend = Callable[[Tensor, Tensor, Tensor], Tensor]


def attend(
    q_BLSD: Float[Tensor, "b l s d"],
    k_BNSD: Float[Tensor, "b n s d"],
    v_BNSD: Float[Tensor, "b n s d"],
) -> Float[Tensor, "b l s d"]:
    """softmax(q k / sqrt(d)) v over all keys, head by head; no mask."""
    q, k, v = (x.transpose(1, 2) for x in (q_BLSD, k_BNSD, v_BNSD))
    return nn.functional.scaled_dot_product_attention(q, k, v).transpose(1, 2)


class Attention(nn.Module):
    """Multi-head attention with normalised queries and keys, without biases.

    The number of heads is read from the width of what the projections yield, so that
    projections cut by heads work unchanged. `attend` may be replaced from outside by a
    function of the same signature that spreads the heads over processes.
    """

    def __init__(self, channels: int, context_channels: int, head_dim: int) -> None:
        """Context channels are those of the keys' and values' side."""
        super().__init__()
        self.head_dim = head_dim
        self.q_proj = nn.Linear(channels, channels, bias=False)
        self.k_proj = nn.Linear(context_channels, channels, bias=False)
        self.v_proj = nn.Linear(context_channels, channels, bias=False)
        self.output_proj = nn.Linear(channels, channels, bias=False)
        self.q_norm = RMSNorm(head_dim)
        self.k_norm = RMSNorm(head_dim)
        self.attend: Attend = attend

    def forward(
        self,
        x_BLC: Float[Tensor, "b l c"],
        context_BNC: Float[Tensor, "b n e"],
        rotation: Rotation | None = None,
    ) -> Float[Tensor, "b l c"]:
        """Attend to the context; queries and keys are turned if a rotation is given."""
        heads = (-1, self.head_dim)
        q_BLSD = self.q_norm(self.q_proj(x_BLC).unflatten(-1, heads))
        k_BNSD = self.k_norm(self.k_proj(context_BNC).unflatten(-1, heads))
        v_BNSD = self.v_proj(context_BNC).unflatten(-1, heads)
        if rotation is not None:
            q_BLSD, k_BNSD = rotate(q_BLSD, rotation), rotate(k_BNSD, rotation)
        return self.output_proj(self.attend(q_BLSD, k_BNSD, v_BNSD).flatten(-2))
