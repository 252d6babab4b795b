"""The transformer written out in float64: loops over cameras, heads and patches."""

import math

import torch
from torch import Tensor

from tests.reference.rope import angles
from worldtune.models.config import TransformerConfig

Weights = dict[str, Tensor]


def run(
    weights: Weights,
    config: TransformerConfig,
    latents: Tensor,
    time: Tensor,
    text: Tensor,
    *,
    condition_mask: Tensor | None = None,
    padding_mask: Tensor | None = None,
    fps: Tensor | None = None,
    view_indices: Tensor | None = None,
    frame_repeat: Tensor | None = None,
) -> Tensor:
    """Sample by sample; time is [B,T]."""
    weights = {name: weight.detach().double() for name, weight in weights.items()}
    outs = []
    for b in range(len(latents)):
        channels = [latents[b].double()]
        _, frames, rows, columns = latents[b].shape
        if config.condition_mask:
            none = torch.zeros(1, frames, rows, columns, dtype=torch.float64)
            channels.append(none if condition_mask is None else condition_mask[b].double())
        if config.padding_mask:
            channels.append(_padding(padding_mask, b, frames, rows, columns))
        if config.view_channels:
            channels.append(
                _views(weights, config, b, frames, view_indices, frame_repeat)[
                    :, :, None, None
                ].expand(-1, -1, rows, columns)
            )
        rate = fps[b].item() if fps is not None and config.rope_fps_modulation else None
        outs.append(_sample(weights, config, torch.cat(channels), time[b], text[b].double(), rate))
    return torch.stack(outs)


def _padding(mask: Tensor | None, b: int, frames: int, rows: int, columns: int) -> Tensor:
    out = torch.zeros(1, frames, rows, columns, dtype=torch.float64)
    if mask is not None:
        sheet = mask[b if len(mask) > 1 else 0, 0]
        for i in range(rows):
            for j in range(columns):
                pixel = (i * sheet.shape[0] // rows, j * sheet.shape[1] // columns)
                out[0, :, i, j] = sheet[pixel]
    return out


def _views(
    weights: Weights,
    config: TransformerConfig,
    b: int,
    frames: int,
    indices: Tensor | None,
    repeat: Tensor | None,
) -> Tensor:
    table, held = weights["view_embeddings.weight"], frames // config.num_views
    columns = []
    for frame in range(frames):
        view = frame // held
        row = view if indices is None else int(indices[b, frame])
        vector = table[min(row, len(table) - 1)]
        if config.repeat_frame_embedding:
            times = 0.0 if repeat is None else repeat[b, view].item()
            vector = vector + weights["repeat_frame_embedding.weight"][:, 0] * times
            vector = vector + weights["repeat_frame_embedding.bias"]
        columns.append(vector)
    return torch.stack(columns, dim=1)


def _sample(
    w: Weights,
    config: TransformerConfig,
    stacked: Tensor,
    time: Tensor,
    text: Tensor,
    fps: float | None,
) -> Tensor:
    p, q = config.patch_spatial, config.patch_temporal
    _, frames, rows, columns = stacked.shape
    grid = (frames // q, rows // p, columns // p)
    patches = [
        stacked[:, t * q : (t + 1) * q, i * p : (i + 1) * p, j * p : (j + 1) * p].reshape(-1)
        for t in range(grid[0])
        for i in range(grid[1])
        for j in range(grid[2])
    ]
    x = torch.stack(patches) @ w["x_embedder.proj.1.weight"].T
    per_frame = grid[1] * grid[2]
    width = config.model_channels

    step = torch.arange(width // 2, dtype=torch.float64) / (width // 2)
    angle = time.double()[:, None] * 10_000.0**-step
    wave = torch.cat((angle.cos(), angle.sin()), dim=1)
    inner = _silu(wave @ w["t_embedder.1.linear_1.weight"].T)
    offsets = inner @ w["t_embedder.1.linear_2.weight"].T
    normed = _silu(_rms(wave, w["t_embedding_norm.weight"]))

    held = grid[0] // config.num_views
    turn = angles(
        config.head_dim,
        (held, *grid[1:]),
        (config.rope_ratio_t, config.rope_ratio_h, config.rope_ratio_w),
        fps,
    ).repeat(config.num_views, 1)
    table = _table(w, config, (held, *grid[1:]))
    texts = text.chunk(config.num_views)

    for i in range(config.num_blocks):
        name = f"blocks.{i}"
        if table is not None:
            x = x + table.repeat(config.num_views, 1)
        shift, scale, gate = _modulation(
            w, f"{name}.adaln_modulation_self_attn", normed, offsets, per_frame, 3
        )
        y = _layer_norm(x) * (1 + scale) + shift
        x = x + gate * _attention(w, f"{name}.self_attn", config.head_dim, y, y, turn)
        shift, scale, gate = _modulation(
            w, f"{name}.adaln_modulation_cross_attn", normed, offsets, per_frame, 3
        )
        y = _layer_norm(x) * (1 + scale) + shift
        seen = [
            _attention(w, f"{name}.cross_attn", config.head_dim, part, caption, None)
            for part, caption in zip(y.chunk(config.num_views), texts, strict=True)
        ]
        x = x + gate * torch.cat(seen)
        shift, scale, gate = _modulation(
            w, f"{name}.adaln_modulation_mlp", normed, offsets, per_frame, 3
        )
        y = (_layer_norm(x) * (1 + scale) + shift) @ w[f"{name}.mlp.layer1.weight"].T
        y = 0.5 * y * (1 + torch.erf(y / math.sqrt(2)))
        x = x + gate * (y @ w[f"{name}.mlp.layer2.weight"].T)

    shift, scale = _modulation(
        w, "final_layer.adaln_modulation", normed, offsets[:, : 2 * width], per_frame, 2
    )
    values = (_layer_norm(x) * (1 + scale) + shift) @ w["final_layer.linear.weight"].T
    out = torch.zeros(config.out_channels, frames, rows, columns, dtype=torch.float64)
    for token, value in enumerate(values):
        t, rest = divmod(token, per_frame)
        i, j = divmod(rest, grid[2])
        patch = value.reshape(p, p, q, config.out_channels)
        for a in range(p):
            for b in range(p):
                for c in range(q):
                    out[:, t * q + c, i * p + a, j * p + b] = patch[a, b, c]
    return out


def _modulation(
    w: Weights, name: str, normed: Tensor, offsets: Tensor, per_frame: int, parts: int
) -> tuple[Tensor, ...]:
    values = normed @ w[f"{name}.1.weight"].T @ w[f"{name}.2.weight"].T + offsets
    return values.repeat_interleave(per_frame, dim=0).chunk(parts, dim=1)


def _attention(
    w: Weights, name: str, head_dim: int, x: Tensor, context: Tensor, turn: Tensor | None
) -> Tensor:
    q, k, v = (
        side @ w[f"{name}.{letter}_proj.weight"].T
        for letter, side in (("q", x), ("k", context), ("v", context))
    )
    heads = []
    for h in range(q.shape[1] // head_dim):
        part = slice(h * head_dim, (h + 1) * head_dim)
        one = _rms(q[:, part], w[f"{name}.q_norm.weight"])
        two = _rms(k[:, part], w[f"{name}.k_norm.weight"])
        if turn is not None:
            one, two = _turn(one, turn), _turn(two, turn)
        share = torch.softmax(one @ two.T / math.sqrt(head_dim), dim=1)
        heads.append(share @ v[:, part])
    return torch.cat(heads, dim=1) @ w[f"{name}.output_proj.weight"].T


def _turn(x: Tensor, angle: Tensor) -> Tensor:
    a, b = x.chunk(2, dim=1)
    return torch.cat((a * angle.cos() - b * angle.sin(), b * angle.cos() + a * angle.sin()), 1)


def _table(w: Weights, config: TransformerConfig, grid: tuple[int, int, int]) -> Tensor | None:
    if config.position_table == "none":
        return None
    width = config.model_channels
    rows = []
    for t in range(grid[0]):
        for i in range(grid[1]):
            for j in range(grid[2]):
                if config.position_table == "learned":
                    place = zip("thw", (t, i, j), strict=True)
                    e = sum(w[f"extra_pos_embedder.pos_emb_{axis}"][n] for axis, n in place)
                    assert isinstance(e, Tensor)
                    rows.append(e / (1e-6 + e.square().mean().sqrt()))
                else:
                    side = 2 * (width // 6)
                    dims = (width - 2 * side, side, side)
                    rows.append(
                        torch.cat([_wave(n, d) for n, d in zip((t, i, j), dims, strict=True)])
                    )
    return torch.stack(rows)


def _wave(place: int, channels: int) -> Tensor:
    half = channels // 2
    angle = [place * 10_000.0 ** (-k / half) for k in range(half)]
    values = [math.sin(a) for a in angle] + [math.cos(a) for a in angle]
    return torch.tensor(values, dtype=torch.float64)


def _silu(x: Tensor) -> Tensor:
    return x / (1 + torch.exp(-x))


def _rms(x: Tensor, weight: Tensor) -> Tensor:
    return x / (x.square().mean(-1, keepdim=True) + 1e-6).sqrt() * weight


def _layer_norm(x: Tensor) -> Tensor:
    centred = x - x.mean(-1, keepdim=True)
    return centred / (centred.square().mean(-1, keepdim=True) + 1e-6).sqrt()
