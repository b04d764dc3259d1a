"""Windows of a map (N, h, w, C), for attention inside them (arXiv 2103.14030)."""

import torch
from torch import Tensor

# Added to the attention logits of tokens in different windows; Swin's value.
UNSEEN = -100.0


def split_windows(x: Tensor, window: tuple[int, int]) -> Tensor:
    """Cut (N, h, w, C) into windows (N x windows, tokens, C), row by row; h and w are multiples of the window's."""
    x = x.unflatten(2, (-1, window[1])).unflatten(1, (-1, window[0]))
    return x.permute(0, 1, 3, 2, 4, 5).flatten(3, 4).flatten(0, 2)


def join_windows(x: Tensor, window: tuple[int, int], *, size: tuple[int, int]) -> Tensor:
    """Put windows (N x windows, tokens, C) together to a map (N, h, w, C) of this size."""
    rows, columns = size[0] // window[0], size[1] // window[1]
    x = x.unflatten(0, (-1, rows, columns)).unflatten(3, window)
    return x.permute(0, 1, 3, 2, 4, 5).flatten(3, 4).flatten(1, 2)


def relative_index(window: tuple[int, int], *, side: int, device: torch.device) -> Tensor:
    """For every two tokens of a window, the row (tokens, tokens) of the table of a square window of this side that is theirs.

    A smaller window uses the middle of the table, where the same distances are.
    """
    rows = torch.arange(window[0], device=device)
    columns = torch.arange(window[1], device=device)
    down = (rows[:, None] - rows + side - 1) * (2 * side - 1)
    right = columns[:, None] - columns + side - 1
    return (down[:, None, :, None] + right[None, :, None, :]).flatten(2).flatten(0, 1)


def shift_mask(size: tuple[int, int], window: tuple[int, int], *, shift: tuple[int, ...], like: Tensor) -> Tensor:
    """What is added where tokens of a moved window were no neighbors before: (windows, tokens, tokens), 0 or -100.

    Moving a map by `shift` brings its first rows and columns behind its last ones.
    """
    down = _regions(size[0], window[0], shift[0], like.device)
    right = _regions(size[1], window[1], shift[1], like.device)
    regions = split_windows((3 * down[:, None] + right)[None, :, :, None], window)[..., 0]
    apart = regions[:, None, :] != regions[:, :, None]
    return apart.to(like.dtype) * UNSEEN


def _regions(length: int, window: int, shift: int, device: torch.device) -> Tensor:
    places = torch.arange(length, device=device)
    if shift == 0:
        return torch.zeros_like(places)
    return (places >= length - window).long() + (places >= length - shift).long()
