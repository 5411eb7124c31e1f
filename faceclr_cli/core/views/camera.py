"""Views like pictures of security cameras: gray, blurred and of low resolution."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from faceclr_cli.core.views.augmentation import Views, flatten_views
from faceclr_cli.core.views.blur import blur
from faceclr_cli.core.views.resolution import reduce_resolution

_OWN_DRAWS = 3
_SMALLEST = 12 / 112  # Side of the smallest face, as a share of the side of the view.
_MOST_BLUR = 2 / 112  # Largest sigma of the blur, as a share of the side of the view.
_GRAY = (0.299, 0.587, 0.114)


@dataclass(frozen=True, kw_only=True)
class CameraViews:
    """Random views; some of them are converted to gray, blurred, shrunk and enlarged again.

    Attributes:
        views: Makes the unchanged views.
        size: Their side in pixels.
        share: Probability of such a view.
    """

    views: Views
    size: int
    share: float

    @property
    def draws(self) -> int:
        """See `Views`."""
        return self.views.draws + _OWN_DRAWS

    @torch.no_grad()
    def __call__(self, crops: Tensor, drawn: Tensor) -> Tensor:
        """See `Views`."""
        result = self.views(crops, drawn[..., _OWN_DRAWS:])
        own = flatten_views(drawn)[:, :_OWN_DRAWS]
        # Decided on the CPU, so that selecting views does not synchronize with the GPU.
        chosen = (own[:, 0] < self.share).nonzero()[:, 0]
        if len(chosen):
            _, shrink, sigma = own[chosen].to(result.device, non_blocking=True).unbind(dim=1)
            chosen = chosen.to(result.device, non_blocking=True)
            weights = torch.tensor(_GRAY, device=result.device)[:, None, None]
            gray = (result[chosen] * weights).sum(dim=1, keepdim=True).expand(-1, 3, -1, -1)
            small = reduce_resolution(
                blur(gray, self.size * _MOST_BLUR * sigma + 1e-3),
                (self.size * _SMALLEST**shrink).round().clamp(min=1),
            )
            result[chosen] = small
        return result
