"""The parts that the encoder and the objectives' decoders are built from: attention, block, positions."""

import torch
from torch import Tensor, nn
from torch.nn.functional import scaled_dot_product_attention


def attend(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    """Return softmax(q k^T / sqrt(d)) v, all (rows, tokens, d).

    Plain batched products on the CPU: at the sizes of the small encoders (64 tokens of 32) the fused kernel takes
    twice as long in bf16, forward and backward, and operation counters see nothing of it.
    """
    if query.device.type != "cpu":
        return scaled_dot_product_attention(query, key, value)
    scores = torch.bmm(query * query.shape[-1] ** -0.5, key.transpose(1, 2))
    return torch.bmm(scores.softmax(-1).to(value.dtype), value)


def _split_heads(joined: Tensor, parts: int, heads: int) -> Tensor:
    """(B, N, parts * D) -> (parts, B * heads, N, D / heads), in one copy."""
    batch, tokens, width = joined.shape
    split = joined.view(batch, tokens, parts, heads, width // (parts * heads))
    return split.permute(2, 0, 3, 1, 4).reshape(parts, batch * heads, tokens, width // (parts * heads))


def _join_heads(rows: Tensor, heads: int) -> Tensor:
    """(B * heads, N, d) -> (B, N, heads * d)."""
    return rows.unflatten(0, (len(rows) // heads, heads)).transpose(1, 2).flatten(2)


class SelfAttention(nn.Module):
    """Multi-head attention among the tokens of one set."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.qkv = nn.Linear(width, 3 * width)
        self.out = nn.Linear(width, width)

    def forward(self, tokens: Tensor) -> Tensor:
        """(B, N, width) -> (B, N, width)."""
        query, key, value = _split_heads(self.qkv(tokens), 3, self.heads)
        return self.out(_join_heads(attend(query, key, value), self.heads))


class CrossAttention(nn.Module):
    """Multi-head attention from one set of tokens to another."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.query = nn.Linear(width, width)
        self.key_value = nn.Linear(width, 2 * width)
        self.out = nn.Linear(width, width)

    def forward(self, tokens: Tensor, memory: Tensor) -> Tensor:
        """(B, N, width), (B, M, width) -> (B, N, width)."""
        (query,) = _split_heads(self.query(tokens), 1, self.heads)
        key, value = _split_heads(self.key_value(memory), 2, self.heads)
        return self.out(_join_heads(attend(query, key, value), self.heads))


def mlp(width: int, ratio: int = 4) -> nn.Sequential:
    """Two linear layers with a GELU between."""
    return nn.Sequential(nn.Linear(width, ratio * width), nn.GELU(), nn.Linear(ratio * width, width))


class Block(nn.Module):
    """A pre-norm transformer block."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(width)
        self.attention = SelfAttention(width, heads)
        self.norm2 = nn.LayerNorm(width)
        self.mlp = mlp(width)

    def forward(self, tokens: Tensor) -> Tensor:
        """(B, N, width) -> (B, N, width)."""
        tokens = tokens + self.attention(self.norm1(tokens))
        return tokens + self.mlp(self.norm2(tokens))


class CrossBlock(nn.Module):
    """A pre-norm block whose tokens look at a memory, not at each other."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(width)
        self.attention = CrossAttention(width, heads)
        self.norm2 = nn.LayerNorm(width)
        self.mlp = mlp(width)

    def forward(self, tokens: Tensor, memory: Tensor) -> Tensor:
        """(B, N, width), (B, M, width) -> (B, N, width)."""
        tokens = tokens + self.attention(self.norm1(tokens), memory)
        return tokens + self.mlp(self.norm2(tokens))


def grid_positions(width: int, grid: tuple[int, int]) -> Tensor:
    """Return fixed sine-cosine positions of the tokens of a grid, (rows * columns, width) (MAE, appendix A.1).

    The first half encodes the row, the second the column: sines, then cosines, at width / 4 frequencies.
    """
    if width % 4:
        raise ValueError(f"width must be a multiple of 4, got {width}")
    frequencies = 10000.0 ** -(torch.arange(width // 4, dtype=torch.float64) / (width // 4))
    angles = torch.arange(max(grid), dtype=torch.float64)[:, None] * frequencies  # (longer side, width / 4)
    axis = torch.cat([angles.sin(), angles.cos()], 1)  # (longer side, width / 2)
    rows, columns = axis[: grid[0]].repeat_interleave(grid[1], 0), axis[: grid[1]].repeat(grid[0], 1)
    return torch.cat([rows, columns], 1).float()


def initialise(module: nn.Module, generator: torch.Generator) -> None:
    """Draw every linear layer and convolution from Xavier's uniform distribution, biases zero (as MAE does).

    Embeddings are drawn from the normal distribution of variance 1 / width.
    """
    for part in module.modules():
        if isinstance(part, nn.Embedding):
            nn.init.normal_(part.weight, std=part.embedding_dim**-0.5, generator=generator)
        if isinstance(part, nn.Linear | nn.Conv2d):
            nn.init.xavier_uniform_(part.weight, generator=generator)
            if part.bias is not None:
                nn.init.zeros_(part.bias)
