"""CLIP's text model under the names of transformers; needs nothing but torch."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import nn

from standalone.model.layers import LayerNorm, Linear, join_heads, split_heads
from standalone.model.packed import untrained_rows

WIDTH, LAYERS, HEADS, INNER = 96, 3, 4, 384
VOCABULARY, POSITIONS = 49408, 77


class Attention(nn.Module):
    """Attention to oneself and what comes before."""

    def __init__(self) -> None:
        super().__init__()
        self.k_proj, self.v_proj = Linear(WIDTH, WIDTH), Linear(WIDTH, WIDTH)
        self.q_proj, self.out_proj = Linear(WIDTH, WIDTH), Linear(WIDTH, WIDTH)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(batch, tokens, WIDTH) to the same."""
        layers = (self.q_proj, self.k_proj, self.v_proj)
        query, key, value = (split_heads(layer(x), HEADS) for layer in layers)
        found = F.scaled_dot_product_attention(query, key, value, is_causal=True)
        return self.out_proj(join_heads(found))


class FeedForward(nn.Module):
    """What each token thinks by itself."""

    def __init__(self) -> None:
        super().__init__()
        self.fc1, self.fc2 = Linear(WIDTH, INNER), Linear(INNER, WIDTH)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(batch, tokens, WIDTH) to the same."""
        x = self.fc1(x)
        return self.fc2(x * torch.sigmoid(1.702 * x))  # CLIP's quick GELU


class Layer(nn.Module):
    """Attention and feed forward."""

    def __init__(self) -> None:
        super().__init__()
        self.self_attn, self.layer_norm1 = Attention(), LayerNorm(WIDTH)
        self.mlp, self.layer_norm2 = FeedForward(), LayerNorm(WIDTH)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(batch, tokens, WIDTH) to the same."""
        x = x + self.self_attn(self.layer_norm1(x))
        return x + self.mlp(self.layer_norm2(x))


class Embeddings(nn.Module):
    """Of the tokens and of their places."""

    def __init__(self) -> None:
        super().__init__()
        self.token_embedding = nn.Embedding(VOCABULARY, WIDTH)
        self.position_embedding = nn.Embedding(POSITIONS, WIDTH)
        with torch.no_grad():
            self.token_embedding.weight.copy_(untrained_rows(VOCABULARY, WIDTH))
        nn.init.normal_(self.position_embedding.weight, std=0.02)

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        """(batch, tokens) to (batch, tokens, WIDTH)."""
        return self.token_embedding(tokens) + self.position_embedding.weight[: tokens.shape[1]]


class TextModel(nn.Module):
    """The small model's text model, as `tokenizer.TEXT_MODEL` has it."""

    def __init__(self) -> None:
        super().__init__()
        self.text_model = nn.Module()
        self.text_model.embeddings = Embeddings()
        self.text_model.encoder = nn.Module()
        self.text_model.encoder.layers = nn.ModuleList(Layer() for _ in range(LAYERS))
        self.text_model.final_layer_norm = LayerNorm(WIDTH)

    def forward(self, tokens: torch.Tensor, dtype: torch.dtype = torch.float32) -> torch.Tensor:
        """The states (batch, tokens, WIDTH) of captions (batch, tokens), in that precision."""
        x = self.text_model.embeddings(tokens).to(dtype)
        for layer in self.text_model.encoder.layers:
            x = layer(x)
        return self.text_model.final_layer_norm(x)
